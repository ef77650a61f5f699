"""SIGTERM and Ctrl-C: everything is saved, and the next start goes on."""

import signal
import time

import pytest

from gencnp_jax.explainers import ExplainedDataset
from gencnp_jax.runtime import preemption
from tests import tiny
from tests.promises import pod, program

pytestmark = pytest.mark.long

# Stage -> what there is to see of it before the signal.
_BEGUN = {
  'target': lambda path: 4 in pod.steps(path, 'target'),
  'gencnp': lambda path: 4 in pod.steps(path, 'gencnp'),
  'evaluate': lambda path: (path / 'evaluate/gencnp.json').exists(),
}


@pytest.mark.parametrize('count', [1, 2])
@pytest.mark.parametrize('stage', _BEGUN)
def test_sigterm_saves_and_the_next_start_goes_on(
  tmp_path, cache, undisturbed, stage, count
):
  """To one process alone: all of two stop, at the same step."""
  options = {'count': count, 'devices': 2 // count, 'cache': cache}
  path = tmp_path / 'run'
  with pod.train(path, '--pause=.3', **options) as run:
    run.until(lambda: _BEGUN[stage](path))
    run.send(signal.SIGTERM, to=[count - 1])
    assert run.codes(60) == [preemption.EXIT_CODE] * count, run.said()
    assert 'Preempted: ' in run.said()
    if stage != 'evaluate':
      # Within a dispatch: not the end of an epoch of four steps.
      saved = run.said().split('Preempted: step ')[1].split()[0]
      steps = path / stage / 'checkpoints'
      assert saved in [p.name for p in steps.iterdir()]
  with pod.train(path, **options) as run:
    run.finish()
    if stage == 'evaluate':
      assert 'gencnp.json is there: not measured again' in run.said()
  whole = undisturbed(devices=2 // count, count=count)
  assert pod.outcome(path) == pod.outcome(whole)


@pytest.mark.parametrize('count', [1, 2])
def test_sigterm_while_a_data_set_is_explained(tmp_path, cache, count):
  options = {'count': count, 'devices': 2 // count, 'cache': cache}
  out = tmp_path / 'explained'
  with pod.Pod('explain', out, '--pause=.3', **options) as run:
    run.until(lambda: (out / 'shard_00001.npz').exists())
    run.send(to=[count - 1])
    assert run.codes(60) == [preemption.EXIT_CODE] * count, run.said()
  there = {p.name: p.stat().st_mtime_ns for p in out.glob('shard_*.npz')}
  assert 2 <= len(there) < 7
  with pod.Pod('explain', out, **options) as run:
    run.finish()
  # What was there is kept, and the rest is what one call finds.
  for name, written in there.items():
    assert (out / name).stat().st_mtime_ns == written
  found = ExplainedDataset.open(out).load()
  expected = tiny.generative()(tiny.images(program.IMAGES), batch_size=8)
  assert len(found) == program.IMAGES
  for a, b in zip(found.masks, expected.masks):
    assert (a == b).mean() > 0.999  # Another device count, other last bits.


@pytest.mark.parametrize('count', [1, 2])
def test_sigterm_does_not_wait_for_a_long_block(tmp_path, cache, count):
  """A block of DGR takes minutes, and nothing of it could be kept."""
  out = tmp_path / 'explained'
  with pod.Pod('explain', out, count=count, cache=cache, SLOW='1') as run:
    run.until(lambda: (out / '.lock').exists())
    time.sleep(15)  # Compiled, and computing.
    start = time.monotonic()
    run.send(to=[count - 1])
    assert run.codes(60) == [preemption.EXIT_CODE] * count, run.said()
    assert time.monotonic() - start < 5


def test_ctrl_c_leaves_a_usable_workdir(tmp_path, cache, undisturbed):
  path = tmp_path / 'run'
  with pod.train(path, '--pause=.3', cache=cache) as run:
    run.until(lambda: 4 in pod.steps(path, 'gencnp'))
    run.send(signal.SIGINT)
    assert run.codes(60) == [130]
    assert 'Interrupted. What was saved is whole' in run.said()
    assert 'Traceback' not in run.said()
  with pod.train(path, cache=cache) as run:
    run.finish()
  assert pod.outcome(path) == pod.outcome(undisturbed())

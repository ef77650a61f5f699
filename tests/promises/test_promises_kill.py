"""kill -9 at any moment: the next start completes, bit for bit."""

import pathlib
import random
import signal
import time

import pytest

from tests.promises import pod

pytestmark = pytest.mark.long

_SEED = 20261125
_MOMENTS = 20
_STAGES = ('target', 'gencnp', 'evaluate', 'report')
_PAUSE = '--pause=.1'


def _begun(path, stage):
  """Whether a stage has begun, as far as its workdir shows."""
  if stage == 'report':
    return (path / 'evaluate/results.json').exists()
  before = {'target': 'config.json', 'gencnp': 'target/done.json'}
  return (path / before.get(stage, 'gencnp/done.json')).exists()


def _length(cache, path):
  """Returns how long each stage of a run takes."""
  times = {}
  with pod.train(path, _PAUSE, cache=cache) as run:
    for stage in _STAGES:
      run.until(lambda s=stage: _begun(path, s))
      times[stage] = time.monotonic()
    run.finish()
  ends = [*list(times.values())[1:], time.monotonic()]
  return {s: end - times[s] for s, end in zip(_STAGES, ends)}


@pytest.fixture(scope='module')
def lengths(tmp_path_factory, cache, undisturbed):
  undisturbed()  # What is compiled is in the cache from here on.
  return _length(cache, tmp_path_factory.mktemp('timed'))


@pytest.mark.parametrize('moment', range(_MOMENTS))
def test_after_kill_nine_a_restart_ends_as_if_nothing_happened(
  tmp_path, cache, undisturbed, lengths, moment
):
  """Moments are drawn within each stage in turn, five each; seed in the log."""
  stage = _STAGES[moment % len(_STAGES)]
  after = random.Random(_SEED + moment).uniform(0, lengths[stage])
  print(f'seed {_SEED + moment}: kill {after:.2f} s into stage {stage}')
  path = tmp_path / 'run'
  with pod.train(path, _PAUSE, cache=cache) as run:
    run.until(lambda: _begun(path, stage))
    time.sleep(after)
    run.send(signal.SIGKILL)
    assert run.codes() in ([-signal.SIGKILL], [0])
  with pod.train(path, cache=cache) as run:
    run.finish()
  assert pod.outcome(path) == pod.outcome(undisturbed())
  assert not _half_written(path)


def test_one_of_two_killed_ends_both_and_both_go_on(
  tmp_path, cache, undisturbed
):
  options = {'count': 2, 'devices': 1, 'cache': cache}
  path = tmp_path / 'run'
  with pod.train(path, _PAUSE, **options) as run:
    run.until(lambda: 8 in pod.steps(path, 'target'))
    run.send(signal.SIGKILL, to=[0])
    assert 0 not in run.codes(120)  # By the runtime's heartbeats.
  with pod.train(path, **options) as run:
    run.finish()
  assert pod.outcome(path) == pod.outcome(undisturbed(1, 2))


def _half_written(path):
  """Returns temporary files that no run will finish."""
  return [
    p
    for p in pathlib.Path(path).rglob('.*')
    if p.is_file() and p.name not in ('.lock',)
  ]

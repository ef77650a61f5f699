"""Several processes: the same run, one message, never a hang."""

import json
import re
import time

import numpy as np
import pytest

from gencnp_jax.explainers import ExplainedDataset
from gencnp_jax.runtime import run_log
from tests import tiny
from tests.promises import pod, program

pytestmark = pytest.mark.long


def _losses(path, stage):
  records = run_log.read(path / stage / 'log.jsonl')
  return [(r['step'], r['split'], r['loss']) for r in records]


@pytest.mark.parametrize('shape', [(2, 2), (4, 1), (1, 1)])
def test_processes_and_devices_give_the_same_run(undisturbed, shape):
  """Data order, augmentation and batch statistics are the global batch's."""
  one, many = undisturbed(4, 1), undisturbed(*shape)
  # A neuron within rounding of the threshold may fall on the other side: that
  # moves the penalty of one of 64 images by one of its neurons.
  flip = tiny.config().gencnp.beta / (64 * tiny.NEURONS)
  for stage, flips in (('target', 0), ('gencnp', 3)):
    a, b = _losses(one, stage), _losses(many, stage)
    assert [r[:2] for r in a] == [r[:2] for r in b]
    np.testing.assert_allclose(
      [r[2] for r in a],
      [r[2] for r in b],
      rtol=1e-5,
      atol=flips * flip,
    )


def test_two_processes_twice_are_bitwise_the_same(tmp_path, cache, undisturbed):
  with pod.train(tmp_path / 'run', count=2, devices=2, cache=cache) as run:
    run.finish()
  assert pod.outcome(tmp_path / 'run') == pod.outcome(undisturbed(2, 2))


@pytest.mark.parametrize('present', [0, 1])
def test_one_worker_alone_says_so(tmp_path, present):
  with pod.train(
    tmp_path / 'run', '--cluster_timeout=5', count=2, present=[present]
  ) as run:
    start = time.monotonic()
    assert run.codes(60) == [1]
    assert time.monotonic() - start < 30
    said = run.said()
  assert 'did not meet within 5 s' in said
  assert f'This is process {present}.' in said
  assert 'Start the same command on every worker' in said
  assert not (tmp_path / 'run').exists()


def test_other_settings_are_named(tmp_path, cache):
  """Both processes end, and one of them says why."""
  port = pod.free_port()
  flags = [f'--coordinator=127.0.0.1:{port}', '--num_processes=2']
  path = tmp_path / 'run'
  with (
    pod.train(path, *flags, '--process_id=0', cache=cache) as first,
    pod.train(
      path, *flags, '--process_id=1', '--config.gencnp.beta=9.0', cache=cache
    ) as second,
  ):
    assert first.codes(60) == second.codes(60) == [1]
    assert 'config.gencnp.beta is 9.0, there 30.0' in first.said()
    assert 'Error' not in second.said()
  assert not path.exists()


def test_a_disk_of_each_host_is_noticed(tmp_path, cache):
  """The same relative path, in two working directories."""
  folders = [tmp_path / 'a', tmp_path / 'b']
  for folder in folders:
    folder.mkdir()
  with pod.train('run', count=2, folders=folders, cache=cache) as run:
    assert run.codes(60) == [1, 1]
    assert 'process 1 does not see what process 0 writes there' in run.said()


@pytest.mark.parametrize('who', [0, 1])
def test_what_happens_to_one_ends_all(tmp_path, cache, who):
  with pod.train(
    tmp_path / 'run', '--pause=.1', count=2, cache=cache, FAIL_IN=str(who)
  ) as run:
    start = time.monotonic()
    codes = run.codes(120)
    said = run.said(0) + run.said(1)
  assert 0 not in codes and time.monotonic() - start < 90
  assert 'RuntimeError: as the test wanted' in run_said(said)
  assert 'Check failed' not in said  # No stack trace of the runtime.


def run_said(text):
  return re.sub(r'\x1b\[[0-9;]*m', '', text)


def test_the_second_run_in_a_workdir_is_refused(tmp_path, cache):
  path = tmp_path / 'run'
  with pod.train(path, '--pause=.3', cache=cache) as first:
    first.until(lambda: pod.steps(path, 'target'))
    with pod.train(path, cache=cache) as second:
      assert second.codes(60) == [1]
      assert 'in use by process' in second.said()
    assert first.processes[0].poll() is None


@pytest.mark.parametrize('count, devices', [(1, 1), (1, 3), (2, 2), (3, 1)])
def test_each_image_is_explained_and_measured_once(
  tmp_path, cache, undisturbed, count, devices
):
  """50 images, in batches that neither size divides."""
  options = {'count': count, 'devices': devices, 'cache': cache}
  out = tmp_path / 'explained'
  with pod.Pod('explain', out, **options) as run:
    run.finish()
  opened = ExplainedDataset.open(out)
  assert len(opened) == sum(len(s) for s in opened.shards()) == program.IMAGES
  logits = [row.tobytes() for row in opened.load().logits]
  assert len(set(logits)) == program.IMAGES
  path = tmp_path / 'run'
  with pod.train(
    path,
    f'--config.target.workdir={undisturbed()}',
    '--config.gencnp.epochs=1.0',
    '--config.target.batch_size=12',
    '--config.gencnp.batch_size=12',
    '--config.evaluate.batch_size=7',
    **options,
  ) as run:
    run.finish()
  results = json.loads((path / 'evaluate/results.json').read_text())
  assert [row['images'] for row in results['rows']] == [50, 50]
  with np.load(path / 'evaluate/details.npz') as details:
    assert len(details['sparsity']) == 50
  whole = pod.outcome(undisturbed())['rows'][0]
  assert results['rows'][0]['target_accuracy'] == whole['target_accuracy']

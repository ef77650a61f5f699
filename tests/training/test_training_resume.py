"""Going on after a kill, a damaged checkpoint, or on other devices."""

import json
import signal

import jax
import numpy as np
import pytest

from gencnp_jax.runtime import checkpoints, devices, preemption, run_log
from gencnp_jax.training import loop, step
from tests.training import tiny


def _records(path):
  """All that is logged but how fast it was."""
  records = run_log.read(path / 'log.jsonl')
  for record in records:
    record.pop('images_per_second', None)
  return [json.dumps(r, sort_keys=True) for r in records]


def _checksums(state):
  return checkpoints.checksums(devices.to_host(state))


@pytest.fixture(scope='module')
def straight(tmp_path_factory):
  """Two epochs of each kind without a break: kind -> (path, checksums)."""
  runs = {}
  for kind in ('target', 'gencnp'):
    path = tmp_path_factory.mktemp(kind)
    runs[kind] = path, _checksums(tiny.run(path, kind, epochs=2.0))
  return runs


def test_after_sigkill_it_goes_on_bit_for_bit(straight, tmp_path):
  """The kill falls into the writing of step 3."""
  run = f'target:{tmp_path}'
  with tiny.in_a_process(run, epochs=2.0, kill_at=3) as process:
    said = process.communicate(timeout=1200)[0]
  assert process.returncode == -signal.SIGKILL, said
  assert [json.loads(r)['step'] for r in _records(tmp_path)][-1] == 3
  with checkpoints.Checkpoints(tmp_path / 'checkpoints', {}) as saved:
    assert saved.latest() in (1, 2, 3)
  state = tiny.run(tmp_path, epochs=2.0)
  path, expected = straight['target']
  assert _checksums(state) == expected
  assert _records(tmp_path) == _records(path)


class _Interrupted(checkpoints.Checkpoints):
  """Ends the run before step 5 is saved."""

  def save(self, step, *trees):
    if step == 5:
      raise KeyboardInterrupt
    super().save(step, *trees)


def test_an_interrupted_distillation_goes_on_bit_for_bit(straight, tmp_path):
  saved = _Interrupted(tmp_path / 'checkpoints', {})
  with pytest.raises(KeyboardInterrupt):
    tiny.run(tmp_path, 'gencnp', saved=saved, epochs=2.0)
  state = tiny.run(tmp_path, 'gencnp', epochs=2.0)
  path, expected = straight['gencnp']
  assert _checksums(state) == expected
  assert _records(tmp_path) == _records(path)


def test_a_finished_run_is_left_as_it_is(straight):
  path, expected = straight['target']
  before = (path / 'log.jsonl').read_text()
  assert _checksums(tiny.run(path, epochs=2.0)) == expected
  assert (path / 'log.jsonl').read_text() == before


def test_past_a_damaged_checkpoint_the_step_is_done_again(tmp_path):
  whole = _checksums(tiny.run(tmp_path))
  (tmp_path / 'checkpoints' / '4' / 'about' / 'metadata').unlink()
  assert _checksums(tiny.run(tmp_path)) == whole
  assert (tmp_path / 'damaged-4').is_dir()
  with checkpoints.Checkpoints(tmp_path / 'checkpoints', {}) as saved:
    assert saved.latest() == 4


@pytest.fixture(scope='module')
def one_device(tmp_path_factory):
  """One epoch of each kind on one device, and one that four devices began."""
  path = tmp_path_factory.mktemp('one_device')
  tiny.run(path / 'begun', epochs=0.5)
  kinds = {'target': 'target', 'gencnp': 'gencnp', 'begun': 'target'}
  runs = [f'{kind}:{path / name}' for name, kind in kinds.items()]
  with tiny.in_a_process(*runs, devices=1) as process:
    said = process.communicate(timeout=1200)[0]
  assert process.returncode == 0, said
  return path


@pytest.mark.parametrize('name', ['target', 'gencnp', 'begun'])
def test_four_devices_are_one(straight, one_device, name):
  """Batch statistics, augmentation and swap partners are the global batch's.

  One device also goes on from what four have saved.
  """
  path, _ = straight['gencnp' if name == 'gencnp' else 'target']
  four = [json.loads(record) for record in _records(path)][:8]
  one = [json.loads(record) for record in _records(one_device / name)]
  assert len(one) == 8  # Four steps, of training and of validation.
  for a, b in zip(four, one):
    assert a.keys() == b.keys() and a['split'] == b['split']
    for key in a.keys() - {'split'}:
      np.testing.assert_allclose(a[key], b[key], rtol=1e-5, err_msg=key)


@pytest.fixture(scope='module')
def by_epoch(tmp_path_factory):
  """Two epochs that save and look once in each."""
  path = tmp_path_factory.mktemp('by_epoch')
  return path, _checksums(tiny.run(path, every=0, epochs=2.0))


def test_a_preempted_run_goes_on_in_the_middle_of_an_epoch(
  by_epoch, tmp_path, monkeypatch
):
  """With the sums of its epoch: parameters and log are those of one run."""
  asked = []

  def requested():
    asked.append(1)
    return len(asked) > 7

  with monkeypatch.context() as patch:
    patch.setattr(preemption, 'requested', requested)
    with pytest.raises(preemption.Preempted) as ended:
      tiny.run(tmp_path, every=0, epochs=2.0)
  assert ended.value.saved == 'step 6 of 8 is saved'
  path, expected = by_epoch
  assert _checksums(tiny.run(tmp_path, every=0, epochs=2.0)) == expected
  assert _records(tmp_path) == _records(path)


def test_a_run_that_ends_in_its_validation_makes_up_for_it(
  by_epoch, tmp_path, monkeypatch
):
  """The state is saved before, and the line of the log is written after."""

  def ends(*unused):
    raise preemption.Preempted()

  with monkeypatch.context() as patch:
    patch.setattr(loop, 'evaluate', ends)
    with pytest.raises(preemption.Preempted) as ended:
      tiny.run(tmp_path, every=0, epochs=2.0)
  assert ended.value.saved == 'step 4 of 8 is saved'
  path, expected = by_epoch
  assert [json.loads(r)['split'] for r in _records(tmp_path)] == ['train']
  assert _checksums(tiny.run(tmp_path, every=0, epochs=2.0)) == expected
  assert _records(tmp_path) == _records(path)


def test_no_memory_for_a_step_names_the_setting(tmp_path, monkeypatch):
  def compiled(*unused, **named):
    def run(*arguments):
      raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: out of memory')

    return run

  monkeypatch.setattr(step, 'compiled', compiled)
  with pytest.raises(ValueError, match='batch_size=8: the devices have no mem'):
    tiny.run(tmp_path)

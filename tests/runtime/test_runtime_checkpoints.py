"""Checkpoints: what comes back, and what a damaged one does."""

import json
import logging
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gencnp_jax.runtime import checkpoints, devices

_OPTIMISER = optax.chain(
  optax.clip_by_global_norm(1.0), optax.adam(optax.constant_schedule(0.1))
)


def _state(step):
  """Variables and training of a step, replicated over four devices."""
  rng = np.random.default_rng(step)
  params = {
    'conv': {'kernel': rng.normal(size=(3, 3, 16, 16)).astype(np.float32)},
    'low': jnp.asarray(rng.normal(size=5), jnp.bfloat16),
    'scale': np.float32(step),
  }
  variables = {
    'params': params,
    'batch_stats': {'seen': np.arange(4), 'on': np.array([True, False])},
  }
  # Moments that are not zero, so that the largest file is that of the arrays.
  moments = jax.tree.map(lambda x: x + step, _OPTIMISER.init(params))
  training = {'step': jnp.int32(step), 'opt_state': moments}
  return devices.replicate((variables, training))


def _save(directory, *steps):
  with checkpoints.Checkpoints(directory, {'name': 'test'}) as saved:
    for step in steps:
      saved.save(step, *_state(step))


def _restore(directory):
  shapes = jax.eval_shape(lambda: _state(0))
  with checkpoints.Checkpoints(directory, {}) as saved:
    return saved.restore(*shapes)


def _assert_is_step(restored, step):
  assert restored[0] == step
  expected = devices.to_host(_state(step))
  assert jax.tree.structure(restored[1:3]) == jax.tree.structure(expected)
  for a, b in zip(jax.tree.leaves(restored[1:3]), jax.tree.leaves(expected)):
    assert isinstance(a, np.ndarray) and a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)


def _data_files(step, item='variables'):
  """The files with the arrays' bytes; which of equal ones is read may vary."""
  files = [f for f in step.joinpath(item).rglob('d/*') if f.is_file()]
  largest = max(f.stat().st_size for f in files)
  return [f for f in files if f.stat().st_size > largest // 2]


def _flip(step):
  for path in _data_files(step):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _truncate(step):
  for path in _data_files(step, 'training'):
    path.write_bytes(path.read_bytes()[:50])


def _remove(step):
  for path in _data_files(step):
    path.unlink()


def _truncate_about(step):
  path = step / 'about' / 'metadata'
  path.write_bytes(path.read_bytes()[:-20])


def _empty(step):
  step.rename(step.parent.parent / 'elsewhere')
  step.mkdir()


_DAMAGES = {
  'flipped bit': _flip,
  'truncated arrays': _truncate,
  'missing arrays': _remove,
  'missing about': lambda step: (step / 'about' / 'metadata').unlink(),
  'truncated about': _truncate_about,
  'empty directory': _empty,
}


@pytest.fixture
def directory(tmp_path):
  return tmp_path / 'stage' / 'checkpoints'


def test_everything_comes_back_and_two_are_kept(directory):
  _save(directory, 1, 5, 7)
  _assert_is_step(_restore(directory), 7)
  assert sorted(p.name for p in directory.iterdir()) == ['5', '7']
  about = checkpoints.read_about(directory)
  assert about['name'] == 'test' and about['format'] == checkpoints.FORMAT
  variables = checkpoints.read_variables(directory, _state(0)[0])
  expected = devices.to_host(_state(7)[0])
  jax.tree.map(np.testing.assert_array_equal, variables, expected)


def test_nothing_saved_is_none(directory):
  assert _restore(directory) is None


@pytest.mark.parametrize('damage', _DAMAGES)
def test_falls_back_past_a_damaged_one(directory, damage, caplog):
  _save(directory, 3, 6)
  _DAMAGES[damage](directory / '6')
  with caplog.at_level(logging.ERROR):
    _assert_is_step(_restore(directory), 3)
  assert str(directory / '6') in caplog.text
  assert 'damaged-6' in caplog.text
  assert not (directory / '6').exists()
  assert (directory.parent / 'damaged-6').is_dir()
  # The step can be saved again, and is the newest from then on.
  _save(directory, 6)
  _assert_is_step(_restore(directory), 6)


def test_a_silent_flip_is_caught_by_its_checksum(directory):
  """Orbax itself restores the flipped value without a word."""
  _save(directory, 1)
  kernel = _state(1)[0]['params']['conv']['kernel']
  paths = _data_files(directory / '1')
  originals, like = [p.read_bytes() for p in paths], _state(0)[0]
  silent = 0
  for place in range(400, min(map(len, originals)), 2000):
    for path, original in zip(paths, originals):
      content = bytearray(original)
      content[place] ^= 64
      path.write_bytes(content)
    with pytest.raises(checkpoints.CheckpointError) as error:
      checkpoints.read_variables(directory, like)
    silent += "['kernel'] fails its checksum" in str(error.value)
  assert kernel.nbytes > 9000 and silent > 0
  for path, original in zip(paths, originals):
    path.write_bytes(original)
  checkpoints.read_variables(directory, like)


def test_the_same_step_may_be_damaged_again(directory):
  _save(directory, 3)
  for _ in range(3):
    _save(directory, 6)
    _flip(directory / '6')
    _assert_is_step(_restore(directory), 3)
  aside = sorted(p.name for p in directory.parent.glob('damaged-*'))
  assert aside == ['damaged-6', 'damaged-6-2', 'damaged-6-3']


def test_none_good_is_an_error_each_time(directory, caplog):
  """A run must not take the folder for a new one and start over."""
  _save(directory, 3, 6)
  _truncate_about(directory / '3')
  _truncate(directory / '6')
  for _ in range(2):
    with (
      caplog.at_level(logging.ERROR),
      pytest.raises(checkpoints.CheckpointError, match=r'\[3, 6\]'),
    ):
      _restore(directory)
  assert str(directory / '3') in caplog.text
  assert str(directory / '6') in caplog.text


def test_foreign_files_are_left_alone(directory):
  _save(directory, 2)
  (directory / 'notes.txt').write_text('mine')
  (directory / 'old').mkdir()
  (directory / '7.orbax-checkpoint-tmp').mkdir()
  _assert_is_step(_restore(directory), 2)
  checkpoints.read_variables(directory, _state(0)[0])
  _save(directory, 4)
  _assert_is_step(_restore(directory), 4)
  assert (directory / 'notes.txt').read_text() == 'mine'
  assert (directory / 'old').is_dir()


@pytest.mark.parametrize('name', ['9', '0009', '9-copy', '٩', '9.5', '-9'])
@pytest.mark.parametrize('kind', ['folder', 'file'])
def test_a_foreign_name_is_never_restored(directory, name, kind):
  """It is set aside, or left alone, and the step before is used."""
  _save(directory, 3)
  foreign = directory / name
  if kind == 'folder':
    foreign.mkdir()
    foreign /= 'notes.txt'
  foreign.write_text('mine')
  _assert_is_step(_restore(directory), 3)
  found = [p.read_text() for p in directory.parent.rglob('*notes*')]
  found += [p.read_text() for p in directory.glob(name) if p.is_file()]
  assert found == ['mine']
  _save(directory, 6)
  _assert_is_step(_restore(directory), 6)


@pytest.mark.parametrize('step', [4, 5])
def test_a_step_that_is_not_past_the_newest_is_refused(directory, step):
  _save(directory, 5)
  with pytest.raises(checkpoints.CheckpointError, match=f'step {step} was not'):
    _save(directory, step)
  _assert_is_step(_restore(directory), 5)


def test_devices_that_differ_are_not_saved(directory):
  variables, training = _state(1)
  forgotten = devices.data_parallel(lambda x: x.mean(), (0,), None)
  variables['params']['scale'] = forgotten(np.arange(4.0)[:, None])
  with checkpoints.Checkpoints(directory, {}) as saved:
    with pytest.raises(AssertionError, match='scale'):
      saved.save(1, variables, training)
    assert saved.latest() is None


def test_another_model_is_not_restored(directory):
  """Orbax would give the arrays as they are stored, of whatever shape."""
  _save(directory, 1, 2)
  wide = jax.eval_shape(lambda: _state(0)[0])
  wide['params']['conv']['kernel'] = jax.ShapeDtypeStruct(
    (3, 3, 16, 32), jnp.float32
  )
  with pytest.raises(checkpoints.CheckpointError, match=r'kernel.*\(3, 3, 16,'):
    checkpoints.read_variables(directory, wide)
  fewer = {'params': wide['params']}
  with pytest.raises(checkpoints.CheckpointError, match='not of this model'):
    checkpoints.read_variables(directory, fewer)
  with (
    checkpoints.Checkpoints(directory, {}) as saved,
    pytest.raises(checkpoints.CheckpointError, match='none of the'),
  ):
    saved.restore(wide, jax.eval_shape(lambda: _state(0)[1]))
  # The wrong question damages nothing.
  _assert_is_step(_restore(directory), 2)


def test_reading_says_what_is_there_instead(directory):
  like = _state(0)[0]
  for read in (
    checkpoints.read_about,
    lambda path: checkpoints.read_variables(path, like),
  ):
    with pytest.raises(checkpoints.CheckpointError, match='missing or empty'):
      read(directory)
  directory.mkdir(parents=True)
  with pytest.raises(checkpoints.CheckpointError, match='missing or empty'):
    checkpoints.read_about(directory)
  (directory / 'log.jsonl').touch()
  (directory / 'checkpoints').mkdir()
  with pytest.raises(
    checkpoints.CheckpointError, match=r'holds checkpoints, log\.jsonl'
  ):
    checkpoints.read_about(directory)


def test_another_format_is_named(directory):
  _save(directory, 1)
  path = directory / '1' / 'about' / 'metadata'
  about = json.loads(path.read_text())
  path.write_text(json.dumps({**about, 'format': 99}))
  with pytest.raises(checkpoints.CheckpointError, match=r'format 99.*format 1'):
    checkpoints.read_about(directory)
  with pytest.raises(checkpoints.CheckpointError, match='format 99'):
    checkpoints.read_variables(directory, _state(0)[0])


_OTHER_DEVICES = """
import sys, chex
chex.set_n_cpu_devices(int(sys.argv[2]))
import jax, numpy as np
from gencnp_jax.runtime import checkpoint_files, checkpoints, devices
assert jax.device_count() == int(sys.argv[2])
about = checkpoints.read_about(sys.argv[1])
like = {'params': {'conv': {'kernel': np.zeros((3, 3, 16, 16), np.float32)},
                   'low': np.zeros(5, jax.numpy.bfloat16),
                   'scale': np.float32(0)},
        'batch_stats': {'seen': np.zeros(4, np.int32), 'on': np.zeros(2, bool)}}
tree = checkpoints.read_variables(sys.argv[1], like)
tree = devices.to_host(devices.replicate(tree))
tree_read = checkpoint_files.as_read(tree)
assert checkpoints.checksums(tree_read) == about['checksums']['variables']
print(float(tree['params']['scale']))
"""


@pytest.mark.parametrize('count', [1, 2, 8])
def test_other_device_counts_open_what_four_saved(directory, count):
  _save(directory, 9)
  done = subprocess.run(
    [sys.executable, '-c', _OTHER_DEVICES, str(directory), str(count)],
    capture_output=True,
    text=True,
    cwd=pathlib.Path(__file__).parents[2],
    env={'JAX_PLATFORMS': 'cpu', 'PATH': '/usr/bin:/bin'},
    timeout=600,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  assert done.stdout.split()[-1] == '9.0'

"""What two processes must agree upon; each is started as a program.

python -m tests.runtime.agreements PORT PROCESS FOLDER
"""

import pathlib
import sys

import jax
import jax.numpy as jnp
import numpy as np

from gencnp_jax.runtime import (
  blocks,
  checkpoints,
  cluster,
  devices,
  files,
  processes,
  workdir,
)


def _raises(kind, ask, message):
  try:
    processes.from_first(ask)
  except kind as error:
    assert message in str(error)
  else:
    raise AssertionError(f'no {kind}')


def _refuse():
  raise ValueError('will not do')


def _full():
  raise OSError(28, 'No space left on device')


def _ask(folder, mine):
  """What the first says is what all hear, once, and errors likewise."""
  asked = folder / f'asked-{mine}'
  said = processes.from_first(lambda: [asked.touch(), {'mine': mine}, (1,)])
  assert said == [None, {'mine': 0}, [1]] and asked.exists() == (mine == 0)
  _raises(ValueError, _refuse, 'will not do')
  _raises(OSError, _full, 'No space left')
  # Within, the first is on its own.
  nested = processes.from_first(
    lambda: [processes.from_first(lambda: 1), *processes.from_all(2)]
  )
  assert nested == [1, 2]
  assert processes.from_all(mine) == [0, 1]
  processes.check_same('thing', {'a': 1, 'b': [2]}, 'Mend it.')
  try:
    processes.check_same('thing', {'a': 1, 'b': mine}, 'Mend it.')
  except processes.ClusterError as error:
    assert 'process 1 on' in str(error) and 'b is 1, there 0' in str(error)
    assert str(error).endswith('Mend it.')
  else:
    raise AssertionError('no ClusterError')


def _write(folder, mine):
  """The first writes, and it is there for all on return."""
  path = folder / 'sub' / 'file.txt'
  files.write_text(path, f'of {mine}')
  assert path.read_text() == 'of 0'
  with workdir.open_workdir(folder / 'run') as opened:
    workdir.check_config(opened, {'a': 1}, free=())
    assert (opened / 'config.json').exists()


def _rows():
  """Every row once, in all processes, whatever the batch."""
  x = np.arange(22, dtype=np.float32).reshape(11, 2)

  def shifted(shift, x):
    return {'sum': x.sum(-1) + shift, 'big': x > 5, 'low': x.astype(jnp.uint8)}

  for batch_size in (1, 3, 8, 100):
    out = blocks.collect_rows(shifted, 0.5, x, batch_size=batch_size)
    np.testing.assert_array_equal(out['sum'], x.sum(-1) + 0.5)
    np.testing.assert_array_equal(out['big'], x > 5)
    assert out['low'].dtype == np.uint8


def _save(folder, mine):
  """What is saved by all is restored by all; what differs is not saved."""
  step = devices.data_parallel(lambda w, x: w + x.sum(), (None, 0), None)
  # Not reduced: each process has another value.
  block = np.full((jax.local_device_count(), 1), mine, np.float32)
  different = step(devices.replicate(np.float32(1)), block)
  equal = devices.replicate(np.arange(3.0, dtype=np.float32))
  training = devices.replicate(np.int32(4))
  with checkpoints.Checkpoints(folder / 'checkpoints', {}) as saved:
    saved.save(4, {'w': equal}, training, {'sums': {'loss': [0.1, 2.0]}})
    try:
      saved.save(5, {'w': different}, training)
    except processes.ClusterError as error:
      assert "['w']" in str(error)
    else:
      raise AssertionError('no ClusterError')
  with checkpoints.Checkpoints(folder / 'checkpoints', {}) as saved:
    step, variables, _, progress = saved.restore({'w': equal}, training)
  assert step == 4 and progress == {'sums': {'loss': [0.1, 2.0]}}
  np.testing.assert_array_equal(variables['w'], [0, 1, 2])


def main(port, mine, folder):
  cluster.start(f'127.0.0.1:{port}', 2, mine, timeout=60)
  assert processes.is_first() == (mine == 0)
  folder = pathlib.Path(folder)
  _ask(folder, mine)
  _write(folder, mine)
  _rows()
  _save(folder, mine)
  processes.wait('the end')
  print('agreed')


if __name__ == '__main__':
  main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])

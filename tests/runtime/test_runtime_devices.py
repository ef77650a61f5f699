"""Devices: every row once and in order, rings over devices, replicas."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gencnp_jax.runtime import devices


def _scale(factors, x, y):
  """Row-wise, of rank 2 and 1, and in need of the replicated tree."""
  return {
    'pair': factors['a'] * x + factors['b'][0],
    'sum': (x.sum(-1) + y).astype(jnp.float32),
  }


_FACTORS = {'a': 3.0, 'b': (np.float32(0.5),)}


def _rows(n):
  x = np.arange(2 * n, dtype=np.float32).reshape(n, 2)
  return x, np.arange(n, dtype=np.int32)


def test_the_suite_has_four_devices():
  assert jax.device_count() == 4


@pytest.mark.parametrize('n', [1, 3, 4, 11, 16])
@pytest.mark.parametrize('batch_size', [1, 3, 8, 100])
def test_map_rows_gives_each_row_once_and_in_order(n, batch_size):
  x, y = _rows(n)
  seen = []
  for part, out in devices.map_rows(
    _scale, _FACTORS, x, y, batch_size=batch_size
  ):
    assert part.stop - part.start == len(out['sum'])
    assert part.stop - part.start <= -(-batch_size // 4) * 4
    assert isinstance(out['pair'], np.ndarray)
    np.testing.assert_array_equal(out['pair'], 3 * x[part] + 0.5)
    np.testing.assert_array_equal(out['sum'], x[part].sum(-1) + y[part])
    seen += range(part.start, part.stop)
  assert seen == list(range(n))


def test_collect_rows_joins_and_keeps_types():
  x, y = _rows(10)

  def types(_, x, y):
    return x > 5, y.astype(jnp.bfloat16), y

  big, low, same = devices.collect_rows(types, None, x, y, batch_size=4)
  assert big.dtype == bool and low.dtype == jnp.bfloat16
  assert same.dtype == np.int32
  np.testing.assert_array_equal(big, x > 5)
  np.testing.assert_array_equal(same, y)


def test_a_batch_does_not_outgrow_the_data():
  """One image must not cost a batch of a thousand."""
  shapes = []

  def note(_, x):
    shapes.append(x.shape)
    return x

  devices.collect_rows(note, None, np.zeros((5, 3)), batch_size=1000)
  assert set(shapes) == {(2, 3)}  # Eight rows on four devices.


def test_a_function_is_compiled_once():
  traces = []

  def count(_, x):
    traces.append(x.shape)
    return x

  for n in (8, 7, 5):
    devices.collect_rows(count, None, np.zeros((n, 2)), batch_size=8)
  assert traces == [(2, 2)]


@pytest.mark.parametrize(
  ('arrays', 'batch_size', 'message'),
  [
    ((np.zeros((0, 2)),), 4, 'empty'),
    ((np.zeros((3, 2)), np.zeros(2)), 4, r'\[3, 2\]'),
    ((np.zeros((3, 2)),), 0, 'batch_size=0'),
  ],
)
def test_map_rows_refuses(arrays, batch_size, message):
  with pytest.raises(ValueError, match=message):
    devices.collect_rows(lambda _, *a: a, None, *arrays, batch_size=batch_size)


def test_share_divides_or_names_what_would():
  assert devices.share(12) == 3
  for wrong, legal in (
    (6, (4, 8)),
    (1, (4, 8)),
    (0, (4, 8)),
    (129, (128, 132)),
  ):
    with pytest.raises(ValueError, match=f'batch_size={wrong}') as error:
      devices.share(wrong)
    assert all(f' {size}' in str(error.value) for size in legal)
    for size in legal:
      devices.share(size)
  with pytest.raises(ValueError, match=r'target\.batch_size=2'):
    devices.share(2, 'target.batch_size')


def test_split_rows_puts_devices_first():
  rows = np.arange(3 * 8).reshape(3, 8)  # Three steps of a batch of eight.
  cut = devices.split_rows(rows, axis=1)
  assert cut.shape == (4, 3, 2)
  for device in range(4):
    np.testing.assert_array_equal(
      cut[device], rows[:, 2 * device : 2 * device + 2]
    )
  first = devices.split_rows(np.arange(8))
  np.testing.assert_array_equal(first.ravel(), np.arange(8))


@pytest.mark.parametrize('processes', [1, 2, 4])
def test_processes_share_the_rows_of_a_batch(processes, monkeypatch):
  monkeypatch.setattr(jax, 'process_count', lambda: processes)
  rows = []
  for index in range(processes):
    monkeypatch.setattr(jax, 'process_index', lambda i=index: i)
    rows += list(range(8))[devices.process_rows(8)]
  assert rows == list(range(8))


@pytest.mark.parametrize('rows', [1, 3])
def test_rows_are_numbered_and_shifted_over_the_global_batch(rows):
  x = np.random.default_rng(0).normal(size=(4, rows, 2)).astype(np.float32)

  def fn(x):
    return devices.global_row_numbers(rows), devices.next_row(x)

  numbers, shifted = devices.data_parallel(fn, (0,), (0, 0))(x)
  np.testing.assert_array_equal(np.ravel(numbers), np.arange(4 * rows))
  np.testing.assert_array_equal(
    np.reshape(shifted, (-1, 2)), np.roll(x.reshape(-1, 2), -1, axis=0)
  )


def test_next_row_has_a_gradient():
  """Of row r it goes to row r + 1, also over the border of a device."""
  x = np.arange(8, dtype=np.float32).reshape(4, 2)
  weights = np.arange(10, 18, dtype=np.float32).reshape(4, 2)

  def fn(x, w):
    return jax.grad(lambda x: jnp.sum(devices.next_row(x) * w))(x)

  gradient = devices.data_parallel(fn, (0, 0))(x, weights)
  np.testing.assert_array_equal(np.ravel(gradient), np.roll(weights.ravel(), 1))


def _step(reduce, state, x):
  """A step on replicated state, with or without its pmean."""
  gradient = x.mean()
  if reduce:
    gradient = jax.lax.pmean(gradient, devices.AXIS)
  return {'w': state['w'] - gradient, 'n': state['n'] + 1}


@pytest.mark.parametrize('reduce', [True, False])
def test_a_forgotten_pmean_is_noticed(reduce):
  state = devices.replicate({'w': jnp.ones(3), 'n': jnp.int32(0)})
  step = devices.data_parallel(
    functools.partial(_step, reduce), (None, 0), None
  )
  state = step(state, np.arange(8, dtype=np.float32).reshape(4, 2))
  if reduce:
    devices.assert_replicas_equal(state)
    np.testing.assert_allclose(devices.to_host(state)['w'], 1 - 3.5)
  else:
    with pytest.raises(AssertionError, match=r"\['w'\]"):
      devices.assert_replicas_equal(state)


def test_equal_replicas_may_hold_nan_and_any_type():
  devices.assert_replicas_equal(
    devices.replicate(
      {
        'nan': jnp.full(2, jnp.nan),
        'low': jnp.full(2, jnp.nan, jnp.bfloat16),
        'bits': jnp.array([True]),
        'number': 3,
        'host': np.zeros(2),
      }
    )
  )


def test_to_host_copies_the_first_device():
  tree = {'a': jnp.arange(3, dtype=jnp.bfloat16), 'b': (2.5, None)}
  host = devices.to_host(devices.replicate(tree))
  assert isinstance(host['a'], np.ndarray) and host['a'].dtype == jnp.bfloat16
  np.testing.assert_array_equal(host['a'], np.arange(3))
  assert host['b'] == (2.5, None)


def test_what_is_on_the_host_outlives_donation():
  """A checkpoint is written while the next step takes the state's memory."""
  step = devices.data_parallel(
    lambda s, x: s + jax.lax.psum(x.sum(), devices.AXIS),
    (None, 0),
    None,
    donate_argnums=(0,),
  )
  state = devices.replicate(jnp.zeros(1000))
  ones = np.ones((4, 1), np.float32)
  state = step(state, ones)
  kept = devices.to_host(state)
  for _ in range(3):
    state = step(state, ones)
  np.testing.assert_array_equal(kept, np.full(1000, 4.0))
  np.testing.assert_array_equal(devices.to_host(state), np.full(1000, 16.0))


def _exhausted(limit, seen):
  """Doubles its rows, and has no memory for more than `limit` a device."""

  def run(block):
    if block.shape[1] > limit:
      raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: out of memory')
    seen.append(block.shape[1])
    return 2 * block

  return run


@pytest.mark.parametrize('batch_size', [4, 13, 40])
def test_a_batch_without_memory_goes_on_in_halves(batch_size, caplog):
  rows, seen = np.arange(41.0), []
  found = list(
    devices.map_blocks(_exhausted(3, seen), rows, batch_size=batch_size)
  )
  parts = [part for part, _ in found]
  assert parts[0].start == 0 and parts[-1].stop == 41
  assert all(a.stop == b.start for a, b in itertools.pairwise(parts))
  np.testing.assert_array_equal(
    np.concatenate([result for _, result in found]), 2 * rows
  )
  said = [r.getMessage() for r in caplog.records if 'memory' in r.getMessage()]
  assert bool(said) == (batch_size > 12)
  assert max(seen) <= 3


def test_memory_that_runs_out_later_loses_and_repeats_nothing():
  """Errors show where results are fetched: a batch late, with one after it."""

  class Lost:
    def __array__(self, *args, **kwargs):
      raise jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: later')

  calls = []

  def run(block):
    calls.append(block.shape[1])
    return Lost() if len(calls) == 3 else block

  found = list(devices.map_blocks(run, np.arange(50.0), batch_size=8))
  np.testing.assert_array_equal(
    np.concatenate([result for _, result in found]), np.arange(50.0)
  )
  assert calls[0] == 2 and calls[-1] == 1


def test_one_row_that_has_no_memory_is_an_error():
  with pytest.raises(jax.errors.JaxRuntimeError, match='out of memory'):
    list(devices.map_blocks(_exhausted(0, []), np.arange(9.0), batch_size=8))


def test_other_errors_of_the_device_are_not_tried_again():
  def run(block):
    raise jax.errors.JaxRuntimeError('INTERNAL: no')

  with pytest.raises(jax.errors.JaxRuntimeError, match='INTERNAL'):
    list(devices.map_blocks(run, np.arange(9.0), batch_size=8))

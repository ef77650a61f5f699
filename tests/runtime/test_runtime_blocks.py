"""Blocks: every row once and in order, and what memory does to them."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gencnp_jax.runtime import blocks


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


@pytest.mark.parametrize('n', [1, 3, 4, 11, 16])
@pytest.mark.parametrize('batch_size', [1, 3, 8, 100])
def test_map_rows_gives_each_row_once_and_in_order(n, batch_size):
  x, y = _rows(n)
  seen = []
  for part, out in blocks.map_rows(
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

  big, low, same = blocks.collect_rows(types, None, x, y, batch_size=4)
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

  blocks.collect_rows(note, None, np.zeros((5, 3)), batch_size=1000)
  assert set(shapes) == {(2, 3)}  # Eight rows on four devices.


def test_a_function_is_compiled_once():
  traces = []

  def count(_, x):
    traces.append(x.shape)
    return x

  for n in (8, 7, 5):
    blocks.collect_rows(count, None, np.zeros((n, 2)), batch_size=8)
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
    blocks.collect_rows(lambda _, *a: a, None, *arrays, batch_size=batch_size)


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
    blocks.map_blocks(_exhausted(3, seen), rows, batch_size=batch_size)
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

  found = list(blocks.map_blocks(run, np.arange(50.0), batch_size=8))
  np.testing.assert_array_equal(
    np.concatenate([result for _, result in found]), np.arange(50.0)
  )
  assert calls[0] == 2 and calls[-1] == 1


def test_one_row_that_has_no_memory_is_an_error():
  with pytest.raises(ValueError, match='no memory for one image'):
    list(blocks.map_blocks(_exhausted(0, []), np.arange(9.0), batch_size=8))


def test_other_errors_of_the_device_are_not_tried_again():
  def run(block):
    raise jax.errors.JaxRuntimeError('INTERNAL: no')

  with pytest.raises(jax.errors.JaxRuntimeError, match='INTERNAL'):
    list(blocks.map_blocks(run, np.arange(9.0), batch_size=8))

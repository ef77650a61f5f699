"""Devices. The only file that says pmap.

State is a plain replicated tree without a device axis (`in_axes=None`,
`out_axes=None`); what is split over the devices has a leading device axis.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from jax.sharding import Mesh, NamedSharding, PartitionSpec

AXIS = 'batch'
"""Name of the axis over which a batch is split."""


def data_parallel(
  fn: Callable,
  in_axes: tuple[int | None, ...],
  out_axes: Any = 0,
  donate_argnums: tuple[int, ...] = (),
) -> Callable:
  """Compiles a function for all devices at once.

  Args:
    fn: runs on one device's share; may use collectives over `AXIS`.
    in_axes: per argument None (replicated) or 0 (leading device axis).
    out_axes: likewise, for the result. Nothing checks that a result declared
      None was reduced over the devices: see `assert_replicas_equal`.
    donate_argnums: arguments whose memory the result may take.
  """
  return jax.pmap(
    fn,
    axis_name=AXIS,
    in_axes=in_axes,
    out_axes=out_axes,
    donate_argnums=donate_argnums,
  )


def replicate(tree: Any) -> Any:
  """Puts a tree on every local device, as a step's first state must be."""
  mesh = Mesh(np.asarray(jax.local_devices()), (AXIS,))
  return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def share(batch_size: int, field: str = 'batch_size') -> int:
  """Returns the number of rows of a global batch that one device takes.

  Raises:
    ValueError: a batch that the devices do not divide.
  """
  count = jax.device_count()
  if batch_size < 1 or batch_size % count:
    lower = max(batch_size // count, 1) * count
    raise ValueError(
      f'{field}={batch_size}: {count} devices must divide it; {lower} or '
      f'{lower + count} would do.'
    )
  return batch_size // count


def process_rows(batch_size: int) -> slice:
  """Returns which rows of a global batch this process takes."""
  count = batch_size // jax.process_count()
  first = jax.process_index() * count
  return slice(first, first + count)


def split_rows(rows: np.ndarray, axis: int = 0) -> np.ndarray:
  """Splits this process's rows over its devices.

  Args:
    rows: any array whose `axis` runs over the process's rows.
    axis: which.

  Returns:
    Array `[local devices, ...]`; `axis` of the rest runs over one device's.
  """
  return np.stack(np.split(rows, jax.local_device_count(), axis=axis))


def global_row_numbers(rows: int) -> jax.Array:
  """Returns the global row of each of a device's rows, inside pmap."""
  return jax.lax.axis_index(AXIS) * rows + jnp.arange(rows)


def next_row(x: jax.Array) -> jax.Array:
  """Returns x shifted by one row of the GLOBAL batch, inside pmap.

  Row r becomes row r + 1; the last row becomes the first.
  """
  count = jax.lax.axis_size(AXIS)
  pairs = [(i, (i - 1) % count) for i in range(count)]
  follower = jax.lax.ppermute(x[:1], AXIS, pairs)
  return jnp.concatenate([x[1:], follower])


def assert_replicas_equal(tree: Any) -> None:
  """Raises where a replicated array differs between this process's devices.

  `out_axes=None` does not check that a result was reduced; one forgotten pmean
  would be saved as slices of different devices.
  """
  for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
    if not isinstance(leaf, jax.Array):
      continue
    first, *others = [np.asarray(s.data) for s in leaf.addressable_shards]
    if any(not np.array_equal(first, o, equal_nan=True) for o in others):
      raise AssertionError(
        f'{jax.tree_util.keystr(path)} differs between devices: it was '
        'computed per device and never reduced.'
      )


def raw(tree: Any) -> Any:
  """Returns a tree whose random keys are the numbers that they hold."""

  def numbers(leaf):
    dtype = getattr(leaf, 'dtype', None)
    if dtype is None or not jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key):
      return leaf
    return jax.random.key_data(leaf)

  return jax.tree.map(numbers, tree)


def to_host(tree: Any) -> Any:
  """Copies a replicated tree to NumPy, from this process's first device."""

  def copy(leaf):
    if isinstance(leaf, jax.Array):
      return np.array(leaf.addressable_data(0))
    return np.asarray(leaf)

  return jax.tree.map(copy, tree)


@functools.lru_cache(maxsize=128)
def rowwise(fn: Callable, arrays: int) -> Callable:
  """Compiles `fn(replicated, *rows)` for blocks `[local devices, rows, ...]`.

  The same function object gets the same compiled one.
  """
  return data_parallel(fn, (None,) + (0,) * arrays)


def map_rows(
  fn: Callable, replicated: Any, *arrays: Any, batch_size: int
) -> Iterator[tuple[slice, Any]]:
  """Applies a function to batches of rows, on all of this process's devices.

  Args:
    fn: `(replicated, *rows) -> tree` of arrays, one row for each row. Compiled
      once per function object and shape.
    replicated: a pytree that every device gets whole.
    *arrays: arrays `[n, ...]` of the same n.
    batch_size: see `map_blocks`.

  Yields:
    `(slice, tree)`: which rows, and their results as NumPy arrays.

  Raises:
    ValueError: no row, or arrays of different length.
  """
  run = rowwise(fn, len(arrays))
  replicated = replicate(replicated)
  return map_blocks(
    lambda *blocks: run(replicated, *blocks), *arrays, batch_size=batch_size
  )


def map_blocks(
  run: Callable, *arrays: Any, batch_size: int
) -> Iterator[tuple[slice, Any]]:
  """Calls a function with blocks of rows, split over this process's devices.

  The ragged end is padded with copies of the last row, and the copies' results
  are dropped: every row counts once, for any batch size and device count. A
  batch for which the devices have no memory is tried again in halves, and so
  are those after it.

  Args:
    run: takes blocks `[local devices, rows, ...]`, such as what `rowwise`
      returns, with its replicated argument bound; returns a tree likewise.
    *arrays: arrays `[n, ...]` of the same n.
    batch_size: rows at a time, over all devices; rounded up to their multiple,
      and down to what n needs.

  Yields:
    `(slice, tree)`: which rows, and their results as NumPy arrays.

  Raises:
    ValueError: no row, or arrays of different length.
  """
  n = len(arrays[0])
  if n == 0:
    raise ValueError('There is no image: the batch is empty.')
  if any(len(a) != n for a in arrays):
    raise ValueError(
      f'arrays of different length: {[len(a) for a in arrays]}; each image '
      'needs one row in each.'
    )
  if batch_size < 1:
    raise ValueError(f'batch_size={batch_size}: it must be at least 1.')
  count = jax.local_device_count()
  rows = -(-min(batch_size, n) // count)
  pending: collections.deque = collections.deque()

  def take(array, part, rows):
    block = np.asarray(array[part])
    short = rows * count - len(block)
    if short:
      block = np.concatenate([block, np.repeat(block[-1:], short, axis=0)])
    return block.reshape(count, rows, *block.shape[1:])

  def join(result, size):
    def whole(leaf):
      leaf = np.asarray(leaf)
      return leaf.reshape(-1, *leaf.shape[2:])[:size]

    return jax.tree.map(whole, result)

  start = 0
  while start < n or pending:
    try:
      # One batch computes while the one before is copied to the host.
      if start < n and len(pending) < 2:
        part = slice(start, min(start + rows * count, n))
        result = run(*(take(a, part, rows) for a in arrays))
        pending.append((part, result))
        start = part.stop
        continue
      part, result = pending[0]
      finished = join(result, part.stop - part.start)
    except jax.errors.JaxRuntimeError as error:
      if 'RESOURCE_EXHAUSTED' not in str(error) or rows == 1:
        raise
      start = pending[0][0].start if pending else start
      pending.clear()
      rows = -(-rows // 2)
      logging.warning(
        'Out of device memory: going on with batches of %d. Set batch_size to '
        'that to begin with it.',
        rows * count,
      )
      continue
    pending.popleft()
    del result  # Its memory is the next batch's.
    yield part, finished


def collect_rows(
  fn: Callable, replicated: Any, *arrays: Any, batch_size: int
) -> Any:
  """Runs `map_rows` to its end; returns one tree of NumPy arrays `[n, ...]`."""
  parts = [
    tree for _, tree in map_rows(fn, replicated, *arrays, batch_size=batch_size)
  ]
  return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)

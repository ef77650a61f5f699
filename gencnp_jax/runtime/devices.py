"""Devices. The only file that says pmap.

State is a plain replicated tree without a device axis (`in_axes=None`,
`out_axes=None`); what is split over the devices has a leading device axis.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
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


@functools.cache
def _gather() -> Callable:
  """Compiles the copy of all devices' rows to every device."""

  def whole(tree):
    return jax.tree.map(lambda x: jax.lax.all_gather(x, AXIS, tiled=True), tree)

  return data_parallel(whole, (0,), None)


def all_rows(tree: Any) -> Any:
  """Copies results of all devices, of all processes, to the host.

  Args:
    tree: arrays `[local devices, rows, ...]` that a compiled function gave.

  Returns:
    NumPy arrays `[devices * rows, ...]`, global row first, in every process.
  """
  if jax.process_count() > 1:
    return to_host(_gather()(tree))

  def whole(leaf):
    leaf = np.asarray(leaf)
    return leaf.reshape(-1, *leaf.shape[2:])

  return jax.tree.map(whole, tree)


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


def is_out_of_memory(error: Exception) -> bool:
  """Returns whether a device had no memory left."""
  return 'RESOURCE_EXHAUSTED' in str(error)


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

"""Rows of arrays, block by block, over the devices of all processes.

Every process holds all rows, computes its share of each block, and gets the
results of all: what follows is the same everywhere.
"""

from __future__ import annotations

import collections
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from absl import logging

from gencnp_jax.runtime import devices, preemption, processes

_SECONDS_PER_QUESTION = 0.5


def map_rows(
  fn: Callable, replicated: Any, *arrays: Any, batch_size: int
) -> Iterator[tuple[slice, Any]]:
  """Applies a function to batches of rows, on all devices.

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
  run = devices.rowwise(fn, len(arrays))
  replicated = devices.replicate(replicated)
  return map_blocks(
    lambda *blocks: run(replicated, *blocks), *arrays, batch_size=batch_size
  )


def map_blocks(
  run: Callable, *arrays: Any, batch_size: int, first_row: int = 0
) -> Iterator[tuple[slice, Any]]:
  """Calls a function with blocks of rows, split over all devices.

  The ragged end is padded with copies of the last row, and the copies' results
  are dropped: every row counts once, for any batch size and device count. A
  batch for which the devices have no memory is tried again in halves, and so
  are those after it; not with several processes, of which one alone may lack
  the memory.

  Args:
    run: takes blocks `[local devices, rows, ...]`, such as what `rowwise`
      returns, with its replicated argument bound; returns a tree likewise.
    *arrays: arrays `[n, ...]` of the same n.
    batch_size: rows at a time, over all devices; rounded up to their multiple,
      and down to what n needs.
    first_row: of the first block: those before it are done.

  Yields:
    `(slice, tree)`: which rows, and their results as NumPy arrays.

  Raises:
    ValueError: no row, arrays of different length, or no memory for a batch.
    Preempted: between two blocks, where an end was asked for.
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
  count, local = jax.device_count(), jax.local_device_count()
  mine = slice(jax.process_index() * local, None)
  rows = -(-min(batch_size, n) // count)
  pending: collections.deque = collections.deque()

  def take(array, part, rows):
    block = np.asarray(array[part])
    short = rows * count - len(block)
    if short:
      block = np.concatenate([block, np.repeat(block[-1:], short, axis=0)])
    block = block.reshape(count, rows, *block.shape[1:])
    return block[mine][:local]

  start = first_row
  while start < n or pending:
    try:
      # One batch computes while the one before is copied to the host.
      if start < n and len(pending) < 2:
        preemption.check()
        part = slice(start, min(start + rows * count, n))
        result = run(*(take(a, part, rows) for a in arrays))
        pending.append((part, result))
        start = part.stop
        continue
      part, result = pending[0]
      wait_for(result)
      whole = devices.all_rows(result)
      finished = jax.tree.map(lambda x, n=part.stop - part.start: x[:n], whole)
    except jax.errors.JaxRuntimeError as error:
      if not devices.is_out_of_memory(error):
        raise
      if rows == 1 or jax.process_count() > 1:
        raise ValueError(
          f'The devices have no memory for batches of {rows * count} images; '
          'set batch_size (config.evaluate.batch_size) lower.'
          if rows > 1
          else 'The devices have no memory for one image each.'
        ) from error
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


def wait_for(tree: Any) -> Any:
  """Waits until arrays are computed, and returns them.

  What takes minutes is given up where the run is asked to end: nothing of it
  could be kept. The first process decides for all, that they keep the same.

  Raises:
    Preempted: an end was asked for.
  """
  if not processes.from_first(lambda: _computed(tree)):
    raise preemption.Preempted()
  return jax.block_until_ready(tree)


def _computed(tree: Any) -> bool:
  """Waits; returns whether arrays are computed, not given up."""
  start = time.monotonic()
  leaves = [x for x in jax.tree.leaves(tree) if isinstance(x, jax.Array)]
  asked = 0.0
  while not all(leaf.is_ready() for leaf in leaves):
    now = time.monotonic()
    if now >= asked:
      if preemption.noticed():
        return False
      asked = now + _SECONDS_PER_QUESTION
    # A fiftieth of the time so far: that much is lost at most.
    time.sleep(min((now - start) / 50, 0.05))
  return True


def collect_rows(
  fn: Callable, replicated: Any, *arrays: Any, batch_size: int
) -> Any:
  """Runs `map_rows` to its end; returns one tree of NumPy arrays `[n, ...]`."""
  parts = [
    tree for _, tree in map_rows(fn, replicated, *arrays, batch_size=batch_size)
  ]
  return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)

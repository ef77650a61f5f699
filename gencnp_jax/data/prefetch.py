"""Batches gathered on the host, for data that do not fit on the device."""

import collections
import concurrent.futures
from collections.abc import Iterable, Iterator

import numpy as np
from jaxtyping import Int32, UInt8

from gencnp_jax.data.batches import indices
from gencnp_jax.data.dataset import Dataset

Batch = tuple[UInt8[np.ndarray, 'b h w 3'], Int32[np.ndarray, ' b'] | None]


def host_batches(
  dataset: Dataset,
  seed: int,
  steps: Iterable[int],
  batch_size: int,
  rows: slice = slice(None),
  depth: int = 2,
) -> Iterator[Batch]:
  """The batches of `steps`, the next ones gathered while one is in use.

  Args:
    dataset: the training split.
    seed: of the run.
    steps: which steps, for instance range(first, last).
    batch_size: of all processes together.
    rows: the global rows of the batch that this process takes.
    depth: how many batches are gathered ahead.

  Yields:
    (images, labels), uint8 [b, h, w, 3] and int32 [b] or None: the rows that
    `indices(seed, step, batch_size, n)[rows]` names.

  Raises:
    ValueError: batch_size is larger than the data set.
  """

  def gather(step: int) -> Batch:
    chosen = indices(seed, step, batch_size, len(dataset.images))[rows]
    labels = dataset.labels
    return dataset.images[chosen], None if labels is None else labels[chosen]

  # A pool of one thread keeps the order, hands errors over to the caller,
  # and ends with the generator.
  with concurrent.futures.ThreadPoolExecutor(1, 'prefetch') as pool:
    ahead = collections.deque()
    for step in steps:
      ahead.append(pool.submit(gather, step))
      if len(ahead) > depth:
        yield ahead.popleft().result()
    while ahead:
      yield ahead.popleft().result()

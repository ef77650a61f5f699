"""Feeds the loop: rows of arrays on the device, or images gathered on the host."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import jax
import numpy as np

from gencnp_jax import data
from gencnp_jax.runtime import devices, processes

_DEVICE_SHARE = 0.3
"""Share of an accelerator's memory that the training images may take."""


class Feed:
  """Gives a dispatch its data: rows of arrays on the device, or images."""

  def __init__(self, dataset: data.Dataset, seed: int, batch_size: int):
    if dataset.labels is None:  # A task that needs labels has asked before.
      labels = np.zeros(len(dataset.images), np.int32)
      names = dataset.class_names or ('',)
      dataset = dataclasses.replace(dataset, labels=labels, class_names=names)
    self._dataset, self._seed, self._batch_size = dataset, seed, batch_size
    self.on_device = fits(dataset.images.nbytes)
    self._ahead = None
    if self.on_device:
      self._arrays = devices.replicate((dataset.images, dataset.labels))

  def __call__(self, step: int, count: int) -> tuple[Any, ...]:
    """Returns the arguments of steps `step` to `step + count`.

    Called for one dispatch after the other, without a gap.
    """
    mine = devices.process_rows(self._batch_size)
    if self.on_device:
      size = len(self._dataset.images)
      rows = [
        data.indices(self._seed, s, self._batch_size, size)[mine]
        for s in range(step, step + count)
      ]
      return (*self._arrays, devices.split_rows(np.stack(rows), axis=1))
    if self._ahead is None:
      self._ahead = data.host_batches(
        self._dataset,
        self._seed,
        itertools.count(step),
        self._batch_size,
        rows=mine,
      )
    batches = [next(self._ahead) for _ in range(count)]
    return tuple(
      devices.split_rows(np.stack(part), axis=1) for part in zip(*batches)
    )


def fits(size: int) -> bool:
  """True where an array of this many bytes can live on every device."""
  stats = jax.local_devices()[0].memory_stats() or {}
  limit = stats.get('bytes_limit')
  fit = limit is None or size < _DEVICE_SHARE * limit
  return all(processes.from_all(fit))

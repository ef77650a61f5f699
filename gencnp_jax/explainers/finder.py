"""Finds the pathways of block after block, and takes the time."""

from __future__ import annotations

import time
from typing import Any

import jax.numpy as jnp
import numpy as np

from gencnp_jax.explainers import base
from gencnp_jax.runtime import blocks, devices, processes


class Finder:
  """Finds pathways and takes the time, without compilation.

  What is compiled ahead takes no part of an array that lies on several hosts:
  with several processes the first block, which holds the compilation, counts as
  the mean of the others, where there are any.
  """

  def __init__(self, explainer: base.Explainer):
    self._explainer = devices.replicate(explainer)
    self._compiled: dict[Any, Any] = {}
    self._seconds: dict[Any, list[float]] = {}

  def __call__(self, index: Any, images: Any) -> base.Pathways:
    """Finds the pathways of a block `[local devices, rows, ...]`."""
    shape = images.shape
    if shape not in self._compiled:
      find = devices.rowwise(_find, 2)
      if not processes.several():
        find = find.lower(self._explainer, index, images).compile()
      self._compiled[shape] = find
    start = time.monotonic()
    found = self._compiled[shape](self._explainer, index, images)
    blocks.wait_for(found)
    self._seconds.setdefault(shape, []).append(time.monotonic() - start)
    return found

  @property
  def seconds(self) -> float:
    """Wall time of all blocks so far."""
    total = 0.0
    for taken in self._seconds.values():
      if processes.several() and len(taken) > 1:
        taken = [float(np.mean(taken[1:])), *taken[1:]]
      total += sum(taken)
    return total


def _find(explainer, index, images) -> base.Pathways:
  own = jnp.full(index.shape, -1, jnp.int32)
  return explainer.pathways(index, images, own)

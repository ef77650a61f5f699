"""Firing sparsity of many images: mean, spread, and layer by layer."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from gencnp_jax.metrics import sums

# The spread is computed from integers, so that equal sparsities have a standard
# deviation of exactly 0: parts in 2^20, whose squares fit int64 for 2^23 images
# a batch. Python's integers carry the totals.
_PARTS = 2**20


@dataclasses.dataclass(frozen=True)
class FiringSparsity:
  """The share of neurons switched OFF (higher = fewer neurons).

  Attributes:
    mean: over the images, in [0, 1].
    std: standard deviation over the images (divided by n).
    min: of any image.
    max: of any image.
    per_layer: mean over the images for each layer, or None where the counts
      of the layers were not given.
  """

  mean: float
  std: float
  min: float
  max: float
  per_layer: tuple[float, ...] | None


@dataclasses.dataclass(frozen=True)
class FiringSums:
  """Sums from which `FiringSparsity` is finished; `FiringSums()` is zero."""

  sparsity: sums.Mean = sums.NONE
  total: int = 0
  squares: int = 0
  min: float = math.inf
  max: float = -math.inf
  layers: tuple[sums.Mean, ...] = ()

  def __add__(self, other: FiringSums) -> FiringSums:
    if not self.sparsity.count:
      return other
    if not other.sparsity.count:
      return self
    if len(self.layers) != len(other.layers):
      raise ValueError(
        f'firing_counts: {len(self.layers)} layers in some batches and '
        f'{len(other.layers)} in others; give the counts of every layer for '
        'all batches, or for none.'
      )
    return FiringSums(
      sparsity=self.sparsity + other.sparsity,
      total=self.total + other.total,
      squares=self.squares + other.squares,
      min=min(self.min, other.min),
      max=max(self.max, other.max),
      layers=tuple(a + b for a, b in zip(self.layers, other.layers)),
    )

  def result(self) -> FiringSparsity:
    """Divides, once."""
    count = self.sparsity.count
    if not count:
      raise ValueError('firing sparsity of no image: add a batch first.')
    variance = count * self.squares - self.total**2
    return FiringSparsity(
      mean=self.sparsity.value,
      std=math.sqrt(variance) / (count * _PARTS),
      min=self.min,
      max=self.max,
      per_layer=tuple(layer.value for layer in self.layers) or None,
    )


NONE = FiringSums()
"""Nothing counted yet: the zero of `+`."""


def firing_sums(
  firing_sparsity: np.ndarray,
  firing_counts: np.ndarray | None = None,
  layer_sizes: Sequence[int] | None = None,
) -> FiringSums:
  """Sums the firing sparsity of a batch.

  Args:
    firing_sparsity: `[b]`, share of neurons off, in [0, 1].
    firing_counts: `[b, layers]`, number of neurons ON in each layer, or None.
    layer_sizes: `[layers]`, number of neurons of each layer; goes with
      `firing_counts`.

  Raises:
    ValueError: wrong shapes, an empty batch, or values outside [0, 1].
  """
  sparsity = np.asarray(firing_sparsity, np.float64)
  if sparsity.ndim != 1 or not sparsity.size:
    raise ValueError(
      f'firing_sparsity has shape {sparsity.shape}; pass one number an image, '
      '[images], for one image or more.'
    )
  if not ((sparsity >= 0) & (sparsity <= 1)).all():
    raise ValueError(
      f'firing_sparsity goes from {sparsity.min():g} to {sparsity.max():g}; it '
      'is a share of neurons, in [0, 1], not percent.'
    )
  parts = np.rint(sparsity * _PARTS).astype(np.int64)
  return FiringSums(
    sparsity=sums.Mean.of(sparsity),
    total=int(parts.sum()),
    squares=int((parts**2).sum()),
    min=float(sparsity.min()),
    max=float(sparsity.max()),
    layers=_layer_sums(firing_counts, layer_sizes, len(sparsity)),
  )


def _layer_sums(firing_counts, layer_sizes, images: int):
  if firing_counts is None and layer_sizes is None:
    return ()
  if firing_counts is None or layer_sizes is None:
    raise ValueError(
      'firing_counts and layer_sizes go together: pass both or neither.'
    )
  counts = np.asarray(firing_counts, np.float64)
  sizes = np.asarray(layer_sizes)
  if counts.shape != (images, *sizes.shape) or sizes.ndim != 1:
    raise ValueError(
      f'firing_counts has shape {counts.shape} and layer_sizes {sizes.shape}; '
      f'for {images} images they are [{images}, layers] and [layers].'
    )
  if (counts < 0).any() or (counts > sizes[None]).any():
    raise ValueError(
      f'firing_counts goes from {counts.min():g} to {counts.max():g}; it '
      f'counts the neurons on in layers of {tuple(sizes.tolist())} neurons.'
    )
  return tuple(
    sums.Mean.of(1.0 - counts[:, i] / size) for i, size in enumerate(sizes)
  )

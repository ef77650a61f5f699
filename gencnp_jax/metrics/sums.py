"""What every metric is made of: (sum, count) pairs, merged and divided once.

Per-image values leave the device; here they are summed in float64 on the host.
Batches, devices and processes only ever add pairs, so every image counts once
whatever the batch size and the device count.
"""

from __future__ import annotations

import dataclasses
from typing import Self

import numpy as np

from gencnp_jax import arguments
from gencnp_jax.target import Target

# Values are rounded to multiples of 2^-32 (2e-10) before they are summed: then
# float64 sums of values in [0, 1] are exact up to 2^21 images, and the same
# images give the same bits in any order and any batch size.
_GRAIN = 2.0**32


@dataclasses.dataclass(frozen=True)
class Mean:
  """A sum and the number of images in it.

  Attributes:
    total: float64 sum of the values.
    count: how many values.
  """

  total: float = 0.0
  count: int = 0

  @classmethod
  def of(cls, values: np.ndarray, where: np.ndarray | None = None) -> Mean:
    """Sums values of images.

    Args:
      values: float, int or bool `[b]`, of magnitude about 1 or less.
      where: bool `[b]`, the images that count, or None for all.
    """
    values = np.asarray(values, np.float64)
    if where is not None:
      values = values[where]
    total = np.rint(values * _GRAIN).sum() / _GRAIN
    return cls(float(total), len(values))

  def __add__(self, other: Mean) -> Mean:
    return Mean(self.total + other.total, self.count + other.count)

  @property
  def value(self) -> float:
    """The mean; nan where nothing was counted."""
    return ratio(self.total, self.count)


NONE = Mean()
"""Nothing counted yet: the zero of `+`."""


class Added:
  """A dataclass of sums that is added field by field."""

  def __add__(self, other: Self) -> Self:
    names = [field.name for field in dataclasses.fields(self)]
    return type(self)(
      **{name: getattr(self, name) + getattr(other, name) for name in names}
    )


def ratio(total: float, count: float) -> float:
  """Returns `total / count`, or nan for 0 / 0."""
  return total / count if count else float('nan')


def check_logits(**arrays: np.ndarray) -> tuple[np.ndarray, ...]:
  """Returns logits as float64 `[b, classes]`, all of one shape.

  Args:
    **arrays: by the name that an error shall use, each `[b, classes]`.

  Raises:
    ValueError: another rank, unequal shapes, no image, or values not finite.
  """
  checked: dict[str, np.ndarray] = {}
  for name, array in arrays.items():
    array = arguments.numbers(name, array).astype(np.float64)
    if array.ndim != 2:
      raise ValueError(
        f'{name} has shape {array.shape}; pass [images, classes].'
      )
    for first, like in checked.items():
      if array.shape != like.shape:
        raise ValueError(
          f'{name} has shape {array.shape} and {first} {like.shape}; both are '
          '[images, classes] of the same images.'
        )
    if not array.size:
      raise ValueError(
        f'{name} has shape {array.shape}: an empty batch. Pass one image or '
        'more.'
      )
    if not np.isfinite(array).all():
      rows = np.flatnonzero(~np.isfinite(array).all(axis=1))
      raise ValueError(
        f'{name} is not finite for {len(rows)} of {len(array)} images (first: '
        f'row {rows[0]}): check the target and its preprocess on them.'
      )
    checked[name] = array
  return tuple(checked.values())


def check_labels(
  labels: np.ndarray, images: int, classes: int | None = None
) -> np.ndarray:
  """Returns labels as int64 `[images]`.

  Raises:
    ValueError: another shape, not integers, or outside `[0, classes)`.
  """
  labels = arguments.numbers('labels', labels)
  if labels.shape != (images,):
    raise ValueError(
      f'labels has shape {labels.shape}; there are {images} images: pass '
      f'integers [{images}].'
    )
  if not np.issubdtype(labels.dtype, np.integer):
    raise ValueError(
      f'labels are {labels.dtype}; pass class numbers as integers.'
    )
  if classes is not None:
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
      raise ValueError(
        f'labels hold {wrong[0]}; the target has {classes} classes, so labels '
        f'go from 0 to {classes - 1}. For unlabelled images pass labels=None.'
      )
  return labels.astype(np.int64)


def check_worn(
  target: Target,
  images: np.ndarray,
  masks: tuple[np.ndarray, ...],
  off: tuple[np.ndarray, ...] | None,
  batch_size: int,
) -> None:
  """Checks what metrics of images under their pathways take.

  Raises:
    ValueError: no image, no mask, another number of masks than images, values
      that are no masks or no stand-ins; names the argument.
  """
  images = arguments.numbers('images', images)
  if not images.size or images.ndim != 4:
    what = 'it must be [n, h, w, channels]' if images.size else 'an empty batch'
    raise ValueError(
      f'images has shape {images.shape}: {what}. Pass one image or more.'
    )
  if not np.isfinite(images).all():
    raise ValueError(
      'images hold NaN or infinite values; remove or repair them.'
    )
  arguments.masks(masks, len(images))
  shapes = target.activation_shapes(images.shape[1:])
  for i, (mask, shape) in enumerate(zip(masks, shapes)):
    # One that broadcasts would be another pathway for each image or row.
    if np.shape(mask)[1:] != shape:
      raise ValueError(
        f'masks[{i}] has shape {np.shape(mask)}; activation {i} of '
        f'{len(images)} images has shape {(len(images), *shape)}.'
      )
  arguments.off(off)
  arguments.whole('batch_size', batch_size, 1)

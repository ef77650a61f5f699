"""Dataset and Splits: images in memory, with their labels and their colours.

Images are uint8, NHWC, three channels; labels are int32 rows of
`class_names`, or None where nobody has labelled the images. Mean and
standard deviation are in [0, 1] units, a channel each, of the training split.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int32, UInt8

# One split as its source gives it: images and their labels, or None.
Examples = tuple[np.ndarray, np.ndarray | None]


class Source(NamedTuple):
  """What a source gives: two splits and the names of the classes.

  `test` is None where the source has no test split of its own, `train` where
  it was not asked for.
  """

  train: Examples | None
  test: Examples | None
  class_names: tuple[str, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
  """Images in memory.

  Attributes:
    images: uint8 [n, h, w, 3]; or floats [n, h, w, c], what a target of a
      user's own takes.
    labels: int32 [n], rows of `class_names`; None without labels.
    class_names: one name a class; empty where there are no classes.
    name: what tables and checkpoints call these data.
    mean: mean of the training split a channel, in [0, 1] units.
    std: its standard deviation a channel, in [0, 1] units.

  Raises:
    ValueError: an array has another shape or type than the above, a label has
      no class, or there is no image at all.
  """

  images: UInt8[np.ndarray, 'n h w 3'] | Float[np.ndarray, 'n h w c']
  labels: Int32[np.ndarray, ' n'] | None
  class_names: tuple[str, ...]
  name: str
  mean: tuple[float, ...]
  std: tuple[float, ...]

  def __post_init__(self):
    floats = np.issubdtype(self.images.dtype, np.floating)
    whole = self.images.ndim == 4 and len(self.images)
    if floats and whole:
      _check_labels(self.name, len(self.images), self.labels, self.class_names)
      return
    check_examples(self.name, (self.images, self.labels), self.class_names)


class Splits(NamedTuple):
  """The three splits; `validation` is None when no share is set aside."""

  train: Dataset
  validation: Dataset | None
  test: Dataset


def check_examples(
  name: str, examples: Examples, class_names: tuple[str, ...]
) -> None:
  """Refuses arrays that are not a data set, in words.

  Args:
    name: what the message calls them.
    examples: images and labels, or None, of one split.
    class_names: one name a class.

  Raises:
    ValueError: see Dataset.
  """
  images, labels = examples
  if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
    raise ValueError(
      f'{name}: images are {images.dtype} {list(images.shape)}; they must be '
      'uint8 [n, h, w, 3] with values 0..255'
    )
  if images.size == 0:
    raise ValueError(
      f'{name}: there are no images in an array of {list(images.shape)}; give at '
      'least one, of at least one pixel'
    )
  _check_labels(name, len(images), labels, class_names)


def _check_labels(name, count: int, labels, class_names) -> None:
  """Refuses labels that are not one class an image."""
  if labels is None:
    return
  if labels.dtype != np.int32 or labels.shape != (count,):
    raise ValueError(
      f'{name}: labels are {labels.dtype} {list(labels.shape)}; they must be '
      f'int32 [{count}], one an image'
    )
  if labels.min() < 0 or labels.max() >= len(class_names):
    raise ValueError(
      f'{name}: labels run from {labels.min()} to {labels.max()}, but there '
      f'are {len(class_names)} classes: they must be 0..'
      f'{len(class_names) - 1}'
    )


def channel_statistics(
  images: UInt8[np.ndarray, 'n h w 3'],
) -> tuple[tuple[float, ...], tuple[float, ...]]:
  """Mean and standard deviation a channel, in [0, 1] units.

  Args:
    images: uint8 [n, h, w, 3].

  Returns:
    (mean, std). A channel of one single value gets a std of one grey level,
    so that normalising by it stays finite.
  """
  # Counting the 256 values is exact and needs no float copy of the images;
  # in blocks, since bincount widens what it counts to int64.
  counts = np.zeros((3, 256), np.int64)
  for start in range(0, len(images), 1024):
    block = images[start : start + 1024]
    for channel in range(3):
      counts[channel] += np.bincount(block[..., channel].ravel(), minlength=256)
  values = np.arange(256) / 255.0
  share = counts / counts.sum(axis=1, keepdims=True)
  mean = share @ values
  variance = (share * (values - mean[:, None]) ** 2).sum(axis=1)
  std = np.sqrt(variance)
  std = np.where(std > 1e-6, std, 1 / 255)
  return tuple(mean.tolist()), tuple(std.tolist())

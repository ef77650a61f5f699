"""Whose image wears another image's pathway: partners, and blanks."""

from __future__ import annotations

import numpy as np

from gencnp_jax import arguments
from gencnp_jax.metrics import sums


def partners(predictions: np.ndarray, seed: int) -> np.ndarray:
  """Draws for each image another one of another predicted class.

  Args:
    predictions: int `[n]`, the target's arg-max classes.
    seed: of the draw, which is uniform over the images of other classes.

  Returns:
    int64 `[n]`, row of the partner; all -1 where every image has one class.

  Raises:
    ValueError: predictions of another rank, not integers, or none.
  """
  predictions = arguments.numbers('predictions', predictions)
  if not predictions.size:
    raise ValueError('predictions is empty: pass one image or more.')
  predictions = sums.check_labels(predictions, predictions.size)
  order = np.argsort(predictions, kind='stable')
  _, inverse, counts = np.unique(
    predictions, return_inverse=True, return_counts=True
  )
  others = len(predictions) - counts[inverse]
  if not others.all():
    return np.full(len(predictions), -1, np.int64)
  # Sorted by class, the others are all places but the run of one's own class.
  draw = np.random.default_rng(seed).integers(0, others)
  start = (np.cumsum(counts) - counts)[inverse]
  return order[np.where(draw < start, draw, draw + counts[inverse])]


def mean_image(images: np.ndarray) -> np.ndarray:
  """Returns the mean of images `[n, h, w, channels]` in their dtype, a blank.

  uint8 is rounded. Of one image alone it is its mean colour: the image itself
  would be no blank.
  """
  mean = np.mean(images, axis=0, dtype=np.float64)
  if len(images) == 1:
    mean = np.broadcast_to(mean.mean((0, 1)), mean.shape)
  if np.issubdtype(images.dtype, np.integer):
    mean = np.rint(mean)
  return mean.astype(images.dtype)


def check_blank(blank: np.ndarray, images: np.ndarray) -> np.ndarray:
  """Returns a blank `[h, w, channels]` that fits images `[n, h, w, channels]`.

  Raises:
    ValueError: another shape or dtype.
  """
  blank = arguments.numbers('blank', blank)
  if blank.shape != images.shape[1:]:
    raise ValueError(
      f'blank has shape {blank.shape}; one image has shape {images.shape[1:]}.'
    )
  # A float blank in [0, 255] beside uint8 images would be read as [0, 1].
  if blank.dtype != images.dtype:
    raise ValueError(
      f'blank is {blank.dtype} and images are {images.dtype}; give both in the '
      'same units and dtype.'
    )
  return blank

"""Gradients to the pixels, in full or on a pathway (paper, Fig. 8)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gencnp_jax.attribution import pathway_rows
from gencnp_jax.attribution.pathway_rows import Wearer
from gencnp_jax.target import Arrays, Target


class IntegratedGradients(NamedTuple):
  """What `integrated_gradients` returns.

  Attributes:
    attributions: float32 `[n, h, w, channels]`, in logits.
    gap: float32 `[n]`: their sum minus the rise of the logit from the blank to
      the image. Zero were it not for the number of steps (completeness).
    rise: float32 `[n]`, the rise itself, to compare the gap with.
  """

  attributions: np.ndarray
  gap: np.ndarray
  rise: np.ndarray


def gradients(
  target: Target,
  images: Any,
  masks: Sequence[Any] | None = None,
  off: Arrays | None = None,
  classes: Any = None,
  batch_size: int | None = None,
) -> np.ndarray:
  """Returns dz_c/dX: of the full target, or of the target under a pathway.

  Args:
    target: the classifier.
    images: `[n, h, w, channels]`. uint8 images of a target with a `Preprocess`
      are taken as floats in [0, 1], and so is the gradient.
    masks: a pathway's, one array a layer, `[n, ...]` or `[1, ...]` for one that
      all images wear; None for the full target.
    off: what stands in for an off neuron; None for zero.
    classes: int `[n]`; None for the full target's own arg-max.
    batch_size: images at a time, over all devices; None picks what fits.

  Returns:
    float32 `[n, h, w, channels]`.

  Raises:
    ValueError: images, masks or classes that do not fit.
  """
  given = pathway_rows.rows(target, images, masks, off, classes, batch_size)
  return given.collect(_gradients, Wearer(target, off))


def integrated_gradients(
  target: Target,
  images: Any,
  masks: Sequence[Any] | None = None,
  off: Arrays | None = None,
  classes: Any = None,
  blank: Any = None,
  steps: int = 64,
  batch_size: int | None = None,
) -> IntegratedGradients:
  """Returns (X - blank) * mean of dz_c/dX on the way from the blank to X.

  The mean is over the midpoints of `steps` equal steps. The pathway, where
  there is one, stays that of X all the way.

  Args:
    target: the classifier.
    images: see `gradients`.
    masks: see `gradients`.
    off: see `gradients`.
    classes: see `gradients`.
    blank: the image that the way begins at, broadcast to `images` and in the
      same units; None for zeros: black, where floats are in [0, 1].
    steps: of the way; more of them make the gap smaller.
    batch_size: see `gradients`.

  Returns:
    An `IntegratedGradients`, with its completeness gap.

  Raises:
    ValueError: no step; a blank, images, masks or classes that do not fit.

  References:
    Sundararajan, Taly, Yan. Axiomatic Attribution for Deep Networks. ICML 2017.
  """
  if steps < 1:
    raise ValueError(f'steps={steps}: the way needs at least 1 step.')
  given = pathway_rows.rows(target, images, masks, off, classes, batch_size)
  starts = _blank(blank, np.asarray(images).dtype, given.images)
  wearer, difference = Wearer(target, off), given.images - starts
  total = np.zeros(given.images.shape, np.float64)
  # One compiled step, called again and again: a loop in the program would make
  # gradients of convolutions many times slower on CPU.
  for step in range(steps):
    alpha = np.float32((step + 0.5) / steps)
    here = given._replace(images=starts + alpha * difference)
    total += here.collect(_gradients, wearer)
  attributions = (difference * (total / steps)).astype(np.float32)
  end = given.collect(_logit, wearer)
  rise = end - given._replace(images=starts).collect(_logit, wearer)
  gap = attributions.sum((1, 2, 3), dtype=np.float64) - rise
  return IntegratedGradients(attributions, gap.astype(np.float32), rise)


def saliency(slopes: np.ndarray) -> np.ndarray:
  """Returns the picture of a gradient: a brightness for each pixel.

  The channel's extreme of larger magnitude, absolute, divided by the largest of
  the image; zeros where all are zero.

  Args:
    slopes: float `[n, h, w, channels]`.

  Returns:
    float32 `[n, h, w]` in [0, 1].
  """
  sizes = np.abs(slopes).max(-1).astype(np.float32)
  largest = sizes.max((1, 2), keepdims=True)
  return sizes / np.where(largest > 0, largest, 1)


def _blank(blank: Any, dtype: Any, images: np.ndarray) -> np.ndarray:
  """Returns the beginnings of the ways, float like the images."""
  if blank is None:
    return np.zeros_like(images)
  blank = np.asarray(blank)
  if (blank.dtype == np.uint8) != (dtype == np.uint8):
    raise ValueError(
      f'blank is {blank.dtype}, images are {dtype}: give both as uint8, or '
      'both as floats.'
    )
  if blank.dtype == np.uint8:
    blank = blank.astype(np.float32) / 255
  try:
    blank = np.broadcast_to(blank, images.shape)
  except ValueError as error:
    raise ValueError(
      f'blank has shape {blank.shape}; it must broadcast to the images, '
      f'{images.shape}.'
    ) from error
  return blank.astype(images.dtype)


def _gradients(wearer, images, classes, *masks):
  def logit(images):
    return _logit(wearer, images, classes, *masks).sum()

  return jax.grad(logit)(images)


def _logit(wearer, images, classes, *masks):
  logits, _ = wearer.run(images, masks)
  return jnp.take_along_axis(logits, classes[:, None], axis=1)[:, 0]

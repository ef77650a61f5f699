"""What callers pass to explainers: images, classes, and how many at a time."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from gencnp_jax import pathway
from gencnp_jax.runtime import processes
from gencnp_jax.target import Target

# Bytes that a batch may take where the device does not say what it has.
_BATCH_BYTES = 1 << 30
# Larger batches gain no speed.
_MAX_BATCH = 512


def batch_size_that_fits(
  target: Target, images: np.ndarray, copies: int = 16
) -> int:
  """Returns a batch size whose activations fit on the devices.

  Args:
    target: the classifier.
    images: `[n, h, w, channels]`.
    copies: see `Explainer.copies`.
  """
  neurons = pathway.neuron_count(target.activation_shapes(images.shape[1:]))
  stats = jax.local_devices()[0].memory_stats() or {}
  budget = stats.get('bytes_limit', 2 * _BATCH_BYTES) // 2
  fits = budget // (copies * 4 * neurons)
  # Of one device; all processes must take the same.
  rows = min(processes.from_all(int(max(1, min(_MAX_BATCH, fits)))))
  return rows * jax.device_count()


def check_images(images: Any) -> np.ndarray:
  """Returns images as an array `[n, h, w, channels]`.

  Raises:
    ValueError: another rank, no image, or values that are not finite.
  """
  images = np.asarray(images)
  if images.ndim != 4:
    raise ValueError(
      f'images must be [n, h, w, channels]; got shape {images.shape}. For a '
      'single image pass image[None].'
    )
  if not len(images):
    raise ValueError('images is empty; pass at least one.')
  if images.dtype != np.uint8:
    bad = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))
    if bad.size:
      raise ValueError(
        f'images[{bad[0]}] holds NaN or infinite values ({bad.size} of '
        f'{len(images)} images do); remove or repair them.'
      )
  return images


def check_classes(
  classes: Any, target: Target, images: np.ndarray
) -> np.ndarray:
  """Returns the classes to explain as an int array `[n]`.

  Raises:
    ValueError: another shape, not integers, or out of the target's range.
  """
  classes = np.asarray(classes)
  count = target.num_classes(images.shape[1:])
  if classes.shape != (len(images),):
    raise ValueError(
      f'classes has shape {classes.shape}; there are {len(images)} images.'
    )
  if not np.issubdtype(classes.dtype, np.integer):
    raise ValueError(
      f'classes are {classes.dtype}; pass class numbers as integers.'
    )
  wrong = np.flatnonzero((classes < 0) | (classes >= count))
  if wrong.size:
    raise ValueError(
      f'classes[{wrong[0]}]={classes[wrong[0]]}: the target has {count} '
      f'classes, 0 to {count - 1}.'
    )
  return classes

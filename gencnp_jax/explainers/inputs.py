"""What callers pass to explainers: images, classes, and how many at a time."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from absl import logging

from gencnp_jax import arguments, pathway
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
    ValueError: no numbers, another rank, no image, or values that are not finite.
  """
  images = arguments.numbers('images', images)
  if images.ndim != 4:
    raise ValueError(
      f'images must be [n, h, w, channels]; got shape {images.shape}. For a '
      'single image pass image[None].'
    )
  if not images.size:
    raise ValueError(
      f'images is empty, shape {images.shape}; pass at least one, of at least '
      'one pixel.'
    )
  if images.dtype != np.uint8:
    with np.errstate(over='ignore'):  # It is computed in float32.
      finite = np.isfinite(images.astype(np.float32, copy=False))
    bad = np.flatnonzero(~finite.all(axis=(1, 2, 3)))
    if bad.size:
      raise ValueError(
        f'images[{bad[0]}] holds NaN or infinite values ({bad.size} of '
        f'{len(images)} images do); remove or repair them.'
      )
  return images


def check_classes_there(count: int) -> None:
  """Raises a ValueError where a target has but one class to choose."""
  if count < 2:
    raise ValueError(
      'The target returns one logit: there is no class to choose. Let apply_fn '
      'give two: `jnp.concatenate([jnp.zeros_like(z), z], 1)`.'
    )


def check_logits(logits: np.ndarray) -> None:
  """Checks what the target says of images, `[n, classes]`.

  Raises:
    ValueError: one class, or values that are not finite: no class is the
      target's own.
  """
  check_classes_there(logits.shape[1])
  bad = np.flatnonzero(~np.isfinite(logits).all(axis=1))
  if bad.size:
    raise ValueError(
      f'The target gives NaN or infinite logits for {bad.size} of {len(logits)} '
      f'images, first for images[{bad[0]}]: check its variables, and the range '
      'of the images.'
    )
  if (logits >= 0).all() and np.allclose(logits.sum(1), 1.0, atol=1e-3):
    logging.warning(
      'The target seems to return probabilities: each row is of [0, 1] and sums '
      'to 1. Confidences take the softmax of what it returns: return the logits.'
    )


def activation_shapes(
  target: Target, images: np.ndarray
) -> tuple[tuple[int, ...], ...]:
  """Returns the shape of each activation of one image.

  Raises:
    ValueError: one without a neuron, as of images that are too small.
  """
  shapes = target.activation_shapes(images.shape[1:])
  for i, shape in enumerate(shapes):
    if 0 in shape:
      raise ValueError(
        f'images of shape {images.shape[1:]} are too small: activation {i} of '
        f'the target has shape {shape}, no neuron.'
      )
  return shapes


def check_call(
  off: Any, images: int, batch_size: int | None, first_index: int
) -> None:
  """Checks what else an explainer is called with.

  Raises:
    ValueError: names the argument.
  """
  arguments.off(off)
  arguments.whole('first_index', first_index, 0, 2**31 - 1 - images)
  arguments.at_a_time('batch_size', batch_size)


def check_classes(
  classes: Any, target: Target, images: np.ndarray
) -> np.ndarray:
  """Returns the classes to explain as an int array `[n]`.

  Raises:
    ValueError: another shape, not integers, or out of the target's range.
  """
  classes = arguments.numbers('classes', classes)
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

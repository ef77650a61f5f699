"""ROAP: remove the pathway, and predict with what is left (section 4.1)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from gencnp_jax.metrics import sums
from gencnp_jax.runtime import blocks
from gencnp_jax.target import Target


def roap_sums(removed_logits: np.ndarray, labels: np.ndarray) -> sums.Mean:
  """Sums one batch; `.value` of the total is the accuracy.

  Args:
    removed_logits: `[b, classes]`, the target's under `1 - P`.
    labels: int `[b]`.

  Raises:
    ValueError: an empty batch, wrong shapes, labels out of range, or logits
      that are not finite.
  """
  (logits,) = sums.check_logits(removed_logits=removed_logits)
  labels = sums.check_labels(labels, *logits.shape)
  return sums.Mean.of(logits.argmax(axis=1) == labels)


def roap(
  target: Target,
  images: np.ndarray,
  masks: tuple[np.ndarray, ...],
  labels: np.ndarray | None,
  off: tuple[np.ndarray, ...] | None = None,
  batch_size: int = 256,
) -> float | None:
  """Returns the accuracy under `1 - P` (lower is better).

  A pathway that holds the neurons the target decides with leaves little behind.
  Compare methods at equal firing sparsity: a large pathway removes more.

  Args:
    target: the classifier.
    images: `[n, h, w, channels]`, what `target` takes.
    masks: tuple, one array a layer, bool or float `[n, h_i, w_i, c_i]`: the
      pathway P, not its complement.
    labels: int `[n]`, or None for unlabelled images.
    off: what stands in for an off neuron: None for zero, or arrays broadcast
      to the activations.
    batch_size: images at a time.

  Returns:
    A share in [0, 1], or None without labels.

  Raises:
    ValueError: an empty batch, wrong shapes or labels out of range.
  """
  sums.check_worn(target, images, masks, off, batch_size)
  if labels is None:
    return None
  labels = sums.check_labels(labels, len(images))
  total = sums.NONE
  batches = blocks.map_rows(
    _per_image, (target, off), images, *masks, batch_size=batch_size
  )
  for rows, logits in batches:
    total += roap_sums(logits, labels[rows])
  return total.value


def _per_image(replicated: Any, images, *masks):
  target, off = replicated
  rest = tuple(1.0 - mask.astype(jnp.float32) for mask in masks)
  return target.masked(images, rest, off)

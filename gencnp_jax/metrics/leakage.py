"""Does the mask itself carry the answer?

A mask over neurons can encode the class by its shape alone; faithfulness then
measures the mask and not the evidence (Jethani, Sudarshan, Aphinyanaphongs and
Ranganath, "Have We Learned to Explain?", AISTATS 2021, for masks over inputs).
Past the paper: the pathway P(X) of an image X is worn by another image X' of
another predicted class, and by a blank. A target that still says X's class was
told so by the mask.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from gencnp_jax import arguments, pathway
from gencnp_jax.metrics import sums
from gencnp_jax.metrics.partners import check_blank, mean_image, partners
from gencnp_jax.runtime import blocks
from gencnp_jax.target import Target

# Logits that differ by less than this, relative to the largest, are equal: an
# image cannot reach the output by rounding.
TOLERANCE = 1e-6


@dataclasses.dataclass(frozen=True)
class Leakage:
  """What a pathway says without its image; shares, in [0, 1].

  Attributes:
    swap: share of pairs (X, X') of different predicted classes for which
      H(X'; P(X)) predicts the class of X (lower is better).
    own: share of the same pairs for which it predicts the class of X' (higher
      is better: a garbage mask leaks nothing, and is no virtue).
    blank: share of images X for which the blank under P(X) is given the class
      of X (lower is better).
    disconnected: share for which X, X' and the blank have equal logits under
      P(X): the image cannot reach the output (lower is better).
    influence: mean over the pairs of |a - b| / (|a| + |b|), where a and b are
      H(X; P(X)) and H(X'; P(X)) less their means over the classes, and |.| the
      largest entry: how far the logits move with the image (higher is
      better). 1: to the opposite; 0: nothing gets through. What is near 0 is a
      constant for all purposes, though `disconnected` does not count it.
    empty_layer: share with a layer of no neuron on. In a chain of layers that
      disconnects; in a residual net it need not.
    left_out: images without a partner, because all have one predicted class;
      they count in `blank`, `disconnected` and `empty_layer` only. `swap`,
      `own` and `influence` are nan without any pair.
  """

  swap: float
  own: float
  blank: float
  disconnected: float
  influence: float
  empty_layer: float
  left_out: int


@dataclasses.dataclass(frozen=True)
class LeakageSums(sums.Added):
  """Sums over images, to be added; `LeakageSums()` is zero."""

  swap: sums.Mean = sums.NONE
  own: sums.Mean = sums.NONE
  blank: sums.Mean = sums.NONE
  disconnected: sums.Mean = sums.NONE
  influence: sums.Mean = sums.NONE
  empty_layer: sums.Mean = sums.NONE

  def result(self) -> Leakage:
    """Divides, once.

    Raises:
      ValueError: no image was added.
    """
    if not self.blank.count:
      raise ValueError('leakage of no image: add a batch first.')
    return Leakage(
      swap=self.swap.value,
      own=self.own.value,
      blank=self.blank.value,
      disconnected=self.disconnected.value,
      influence=self.influence.value,
      empty_layer=self.empty_layer.value,
      left_out=self.blank.count - self.swap.count,
    )


def leakage_sums(
  classes: np.ndarray,
  partner_classes: np.ndarray,
  pathway_logits: np.ndarray,
  swap_logits: np.ndarray,
  blank_logits: np.ndarray,
  empty_layer: np.ndarray,
) -> LeakageSums:
  """Sums one batch of images X.

  Args:
    classes: int `[b]`, predicted for X by the whole target.
    partner_classes: int `[b]`, predicted for X', or -1 where X has no partner
      (its row of `swap_logits` is then not looked at).
    pathway_logits: `[b, classes]`, H(X; P(X)).
    swap_logits: `[b, classes]`, H(X'; P(X)).
    blank_logits: `[b, classes]`, H(blank; P(X)).
    empty_layer: bool `[b]`, whether a layer of P(X) has no neuron on.

  Raises:
    ValueError: an empty batch, wrong shapes, logits that are not finite, or a
      partner of the same class.
  """
  own, swap, blank = sums.check_logits(
    pathway_logits=pathway_logits,
    swap_logits=swap_logits,
    blank_logits=blank_logits,
  )
  classes = sums.check_labels(classes, *own.shape)
  partner_classes = sums.check_labels(partner_classes, len(own))
  empty_layer = np.asarray(empty_layer)
  if empty_layer.shape != (len(own),):
    raise ValueError(
      f'empty_layer has shape {empty_layer.shape}; logits have {len(own)} rows.'
    )
  if (classes == partner_classes).any():
    row = np.flatnonzero(classes == partner_classes)[0]
    raise ValueError(
      f'partner_classes[{row}] is {classes[row]}, the class of the image '
      'itself; draw partners of another class with partners(predictions, seed).'
    )
  paired = partner_classes >= 0
  said = swap.argmax(axis=1)
  equal = _equal(own, blank) & (~paired | _equal(own, swap))
  return LeakageSums(
    swap=sums.Mean.of(said == classes, paired),
    own=sums.Mean.of(said == partner_classes, paired),
    blank=sums.Mean.of(blank.argmax(axis=1) == classes),
    disconnected=sums.Mean.of(equal),
    influence=sums.Mean.of(_influence(own, swap), paired),
    empty_layer=sums.Mean.of(empty_layer),
  )


def leakage(
  target: Target,
  images: np.ndarray,
  masks: tuple[np.ndarray, ...],
  off: tuple[np.ndarray, ...] | None = None,
  blank: np.ndarray | None = None,
  seed: int = 0,
  batch_size: int = 256,
) -> Leakage:
  """Measures how much of the answer the masks carry by themselves.

  Args:
    target: the classifier.
    images: `[n, h, w, channels]`, what `target` takes.
    masks: tuple, one array a layer, bool or {0, 1} `[n, h_i, w_i, c_i]`.
    off: what stands in for an off neuron: None for zero, or arrays broadcast
      to the activations, such as their means.
    blank: `[h, w, channels]` of the dtype of `images`, such as the training
      set's mean image; None for the mean of `images`.
    seed: of the draw of partners; every image is X once.
    batch_size: images at a time.

  Raises:
    ValueError: an empty batch, or wrong shapes or dtypes.
  """
  sums.check_worn(target, images, masks, off, batch_size)
  arguments.whole('seed', seed, 0)
  images = np.asarray(images)
  blank = mean_image(images) if blank is None else check_blank(blank, images)
  logits = blocks.collect_rows(
    Target.__call__, target, images, batch_size=batch_size
  )
  classes = np.asarray(logits).argmax(axis=1)
  partner = partners(classes, seed)
  partner_classes = np.where(partner < 0, -1, classes[partner])
  total = LeakageSums()
  batches = blocks.map_rows(
    _per_image,
    (target, off, blank),
    images,
    images[partner],
    *masks,
    batch_size=batch_size,
  )
  for rows, outputs in batches:
    total += leakage_sums(classes[rows], partner_classes[rows], *outputs)
  return total.result()


def _per_image(replicated: Any, images, partner_images, *masks):
  target, off, blank = replicated
  blanks = jnp.broadcast_to(blank, images.shape)
  on = pathway.layer_counts([jnp.not_equal(mask, 0) for mask in masks])
  return (
    target.masked(images, masks, off),
    target.masked(partner_images, masks, off),
    target.masked(blanks, masks, off),
    on.min(axis=1) == 0,
  )


def _influence(one: np.ndarray, other: np.ndarray) -> np.ndarray:
  """Returns how far apart rows of logits are, of [0, 1], float64 `[b]`."""
  one, other = (z - z.mean(axis=1, keepdims=True) for z in (one, other))
  largest = np.abs(one).max(axis=1) + np.abs(other).max(axis=1)
  return np.abs(one - other).max(axis=1) / np.where(largest > 0, largest, 1)


def _equal(one: np.ndarray, other: np.ndarray) -> np.ndarray:
  """Whether rows of logits `[b, classes]` are equal, bool `[b]`."""
  scale = np.maximum(np.abs(one), np.abs(other)).max(axis=1)
  return np.abs(one - other).max(axis=1) <= TOLERANCE * scale

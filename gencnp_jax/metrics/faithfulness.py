"""Does the pathway alone make the prediction? Paper, sections 4 and 6.2.

With c the target's own arg-max class of an image, y its softmax probability
there and yhat the probability of c under the pathway, all over n images:

* accuracy: share whose arg-max under the pathway is the label.
* agreement: share whose arg-max under the pathway is c.
* ICr = share with yhat > y and the same class.
* mIC = sum (yhat - y) [yhat > y and the same class] / n.
* mDC = sum (y - yhat) [y > yhat and the same class] / n. The paper prints the
  indicator as y < yhat, which makes every term negative: reversed here.

By these formulas mIC <= ICr, which the paper's tables break: its numbers must
be means over the images that rise or fall. Both readings are given; compare the
paper's with `mean_increase_of_risers` and `mean_decrease_of_fallers`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from gencnp_jax import pathway
from gencnp_jax.metrics import firing, sums
from gencnp_jax.runtime import blocks
from gencnp_jax.target import Target

# In log-probability: confidences above 1 - 1e-7 are all 1 in float32, and
# rounding alone must not count as a rise or a fall.
MARGIN = 1e-6


@dataclasses.dataclass(frozen=True)
class Faithfulness:
  """How well pathways alone reproduce the target; shares, in [0, 1].

  Attributes:
    accuracy: under the pathway (higher is better); None without labels.
    target_accuracy: of the target itself, for reference; None without labels.
    agreement: share that keeps the target's class (higher is better).
    increase_rate: ICr (higher is better).
    mean_increase: mIC over all images (higher is better).
    mean_decrease: mDC over all images (lower is better, but a pathway that
      flips the class also lowers it: read it beside `agreement`).
    mean_increase_of_risers: mIC over the images that rise; nan without any.
    mean_decrease_of_fallers: mDC over the images that fall (lower is better);
      nan without any.
    firing_sparsity: mean share of neurons switched off.
    firing: its spread, and the layers.
    images: how many were counted.
  """

  accuracy: float | None
  target_accuracy: float | None
  agreement: float
  increase_rate: float
  mean_increase: float
  mean_decrease: float
  mean_increase_of_risers: float
  mean_decrease_of_fallers: float
  firing_sparsity: float
  firing: firing.FiringSparsity
  images: int


@dataclasses.dataclass(frozen=True)
class FaithfulnessSums(sums.Added):
  """Sums over images, to be added; `FaithfulnessSums()` is zero."""

  correct: sums.Mean = sums.NONE
  target_correct: sums.Mean = sums.NONE
  agreed: sums.Mean = sums.NONE
  risen: sums.Mean = sums.NONE
  increase: sums.Mean = sums.NONE
  decrease: sums.Mean = sums.NONE
  increase_of_risers: sums.Mean = sums.NONE
  decrease_of_fallers: sums.Mean = sums.NONE
  firing: firing.FiringSums = firing.NONE

  def result(self) -> Faithfulness:
    """Divides, once.

    Raises:
      ValueError: no image was added.
    """
    if not self.agreed.count:
      raise ValueError('faithfulness of no image: add a batch first.')
    labelled = self.correct.count > 0
    spread = self.firing.result()
    return Faithfulness(
      accuracy=self.correct.value if labelled else None,
      target_accuracy=self.target_correct.value if labelled else None,
      agreement=self.agreed.value,
      increase_rate=self.risen.value,
      mean_increase=self.increase.value,
      mean_decrease=self.decrease.value,
      mean_increase_of_risers=self.increase_of_risers.value,
      mean_decrease_of_fallers=self.decrease_of_fallers.value,
      firing_sparsity=spread.mean,
      firing=spread,
      images=self.agreed.count,
    )


def faithfulness_sums(
  logits: np.ndarray,
  pathway_logits: np.ndarray,
  labels: np.ndarray | None,
  firing_sparsity: np.ndarray,
  firing_counts: np.ndarray | None = None,
  layer_sizes: Sequence[int] | None = None,
) -> FaithfulnessSums:
  """Sums one batch of images.

  Args:
    logits: `[b, classes]`, the target's own.
    pathway_logits: `[b, classes]`, the target's under the pathway.
    labels: int `[b]`, or None for unlabelled images.
    firing_sparsity: `[b]`, share of neurons off.
    firing_counts: `[b, layers]`, neurons on in each layer, or None.
    layer_sizes: `[layers]`, goes with `firing_counts`.

  Raises:
    ValueError: an empty batch, wrong shapes, labels out of range, or logits
      that are not finite.
  """
  logits, pathway_logits = sums.check_logits(
    logits=logits, pathway_logits=pathway_logits
  )
  rows = np.arange(len(logits))
  own, under = logits.argmax(axis=1), pathway_logits.argmax(axis=1)
  log_y = _log_softmax(logits)[rows, own]
  log_yhat = _log_softmax(pathway_logits)[rows, own]
  same = own == under
  rises = same & (log_yhat > log_y + MARGIN)
  falls = same & (log_yhat < log_y - MARGIN)
  change = np.exp(log_yhat) - np.exp(log_y)

  correct = target_correct = sums.NONE
  if labels is not None:
    labels = sums.check_labels(labels, *logits.shape)
    correct = sums.Mean.of(under == labels)
    target_correct = sums.Mean.of(own == labels)
  fired = firing.firing_sums(firing_sparsity, firing_counts, layer_sizes)
  if fired.sparsity.count != len(logits):
    raise ValueError(
      f'firing_sparsity has {fired.sparsity.count} rows; logits have '
      f'{len(logits)}: pass one number an image.'
    )
  return FaithfulnessSums(
    correct=correct,
    target_correct=target_correct,
    agreed=sums.Mean.of(same),
    risen=sums.Mean.of(rises),
    increase=sums.Mean.of(np.where(rises, change, 0.0)),
    decrease=sums.Mean.of(np.where(falls, -change, 0.0)),
    increase_of_risers=sums.Mean.of(change, rises),
    decrease_of_fallers=sums.Mean.of(-change, falls),
    firing=fired,
  )


def faithfulness(
  target: Target,
  images: np.ndarray,
  masks: tuple[np.ndarray, ...],
  labels: np.ndarray | None,
  off: tuple[np.ndarray, ...] | None = None,
  batch_size: int = 256,
) -> Faithfulness:
  """Measures how faithful pathways are to a target.

  Args:
    target: the classifier.
    images: `[n, h, w, channels]`, what `target` takes.
    masks: tuple, one array a layer, bool or {0, 1} `[n, h_i, w_i, c_i]`.
    labels: int `[n]`, or None for unlabelled images.
    off: what stands in for an off neuron: None for zero, or arrays broadcast
      to the activations, such as their means.
    batch_size: images at a time.

  Raises:
    ValueError: an empty batch, wrong shapes or labels out of range.
  """
  sums.check_worn(target, images, masks, off, batch_size)
  if labels is not None:
    labels = sums.check_labels(labels, len(images))
  sizes = [int(np.prod(np.shape(mask)[1:])) for mask in masks]
  total = FaithfulnessSums()
  batches = blocks.map_rows(
    _per_image, (target, off), images, *masks, batch_size=batch_size
  )
  for rows, (logits, pathway_logits, counts) in batches:
    total += faithfulness_sums(
      logits,
      pathway_logits,
      None if labels is None else labels[rows],
      1.0 - counts.sum(axis=1, dtype=np.float64) / sum(sizes),
      counts,
      sizes,
    )
  return total.result()


def _per_image(replicated: Any, images, *masks):
  """What leaves the device: `[b, classes]` twice, and `[b, layers]`."""
  target, off = replicated
  on = pathway.layer_counts([jnp.not_equal(mask, 0) for mask in masks])
  return target(images), target.masked(images, masks, off), on


def _log_softmax(logits: np.ndarray) -> np.ndarray:
  shifted = logits - logits.max(axis=1, keepdims=True)
  return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))

"""Evaluates explainers on the same images: every metric, one table.

Explaining and measuring are one computation a batch: masks are made, used and
packed on the device, and only bits and logits leave it.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gencnp_jax import metrics, pathway
from gencnp_jax.explainers import base
from gencnp_jax.metrics.partners import check_blank
from gencnp_jax.runtime import devices, progress


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """What was measured of one explainer.

  Attributes:
    method: its name.
    faithfulness: accuracy, agreement, confidence, firing sparsity.
    leakage: how much of the answer the masks carry by themselves.
    class_iou: acIOU over pairs, within and between the true classes.
    predicted_iou: likewise for the classes that the target predicts; the same
      without labels.
    consensus_iou: the same of |intersection of all| / |union of all|.
    tied: mean share of kept neurons that a draw among equal scores chose.
    seconds: wall time of explaining and measuring, without compilation and
      without the class IoU.
    images_per_second: likewise.
    sparsity_of_images: float32 `[n]`, firing sparsity of each image.
    layer_counts: float32 `[n, layers]`, neurons on in each layer.
    layer_sizes: number of neurons of each layer.
    predictions: int `[n]`, the target's classes.
  """

  method: str
  faithfulness: metrics.Faithfulness
  leakage: metrics.Leakage
  class_iou: metrics.ClassIoU
  predicted_iou: metrics.ClassIoU
  consensus_iou: metrics.ClassIoU
  tied: float
  seconds: float
  images_per_second: float
  sparsity_of_images: np.ndarray
  layer_counts: np.ndarray
  layer_sizes: tuple[int, ...]
  predictions: np.ndarray


def evaluate(
  explainers: Sequence[base.Explainer],
  images: Any,
  labels: Any = None,
  *,
  batch_size: int | None = None,
  blank: np.ndarray | None = None,
  seed: int = 0,
) -> list[Evaluation]:
  """Measures explainers on the same images.

  Args:
    explainers: of one target, each with its own ablation.
    images: `[n, h, w, channels]`, what the target takes.
    labels: int `[n]`, or None: accuracy is absent then, and classes are the
      target's own.
    batch_size: images at a time; None picks what fits.
    blank: `[h, w, channels]`, the image of blank leakage; None for the mean.
    seed: of the partners of swap leakage.

  Returns:
    One `Evaluation` an explainer, in their order.

  Raises:
    ValueError: no explainer, no image, shapes that do not fit.
  """
  if not explainers:
    raise ValueError('explainers is empty; pass at least one.')
  images = base.check_images(images)
  target = explainers[0].target
  batch_size = batch_size or base.batch_size_that_fits(target, images)
  logits = devices.collect_rows(_logits, target, images, batch_size=batch_size)
  classes = logits.argmax(1).astype(np.int32)
  partner = metrics.partners(classes, seed)
  partner_classes = np.where(partner < 0, -1, classes[partner])
  if blank is None:
    blank = metrics.mean_image(images)
  shared = (images, images[partner], classes, partner_classes)
  blank = check_blank(blank, images)
  return [
    _evaluate_one(explainer, shared, labels, batch_size, blank)
    for explainer in explainers
  ]


def _evaluate_one(explainer, shared, labels, batch_size, blank) -> Evaluation:
  images, partner_images, classes, partner_classes = shared
  n = len(images)
  shapes = explainer.target.activation_shapes(images.shape[1:])
  sizes = [int(np.prod(shape)) for shape in shapes]
  faithful, leaked = metrics.FaithfulnessSums(), metrics.LeakageSums()
  bits, counts, tied = [], [], []
  start, first = None, 0
  bar = progress.Progress(n, explainer.name)
  with bar:
    for part, rows in devices.map_rows(
      _measure,
      (explainer, blank),
      np.arange(n, dtype=np.int32),
      images,
      partner_images,
      classes,
      batch_size=batch_size,
    ):
      on = rows['counts']
      faithful += metrics.faithfulness_sums(
        rows['logits'],
        rows['pathway_logits'],
        None if labels is None else labels[part],
        1.0 - on.sum(1, dtype=np.float64) / sum(sizes),
        on,
        sizes,
      )
      leaked += metrics.leakage_sums(
        classes[part],
        partner_classes[part],
        rows['pathway_logits'],
        rows['swap_logits'],
        rows['blank_logits'],
        on.min(1) == 0,
      )
      bits.append(rows['bits'])
      counts.append(on)
      tied.append(rows['tied'])
      bar.update(part.stop - part.start)
      if start is None:  # The first batch compiles.
        start, first = time.monotonic(), part.stop
    seconds = time.monotonic() - start
  counts = np.concatenate(counts)
  packed = metrics.PackedMasks(np.concatenate(bits), tuple(sizes))
  by_prediction = metrics.class_iou(packed, classes)
  by_label, groups = by_prediction, classes
  if labels is not None:
    groups = np.asarray(labels)
    by_label = metrics.class_iou(packed, groups)
  rate = (n - first) / seconds if n > first else float('nan')
  return Evaluation(
    method=explainer.name,
    faithfulness=faithful.result(),
    leakage=leaked.result(),
    class_iou=by_label,
    predicted_iou=by_prediction,
    consensus_iou=metrics.class_iou(packed, groups, kind='consensus'),
    tied=float(np.concatenate(tied).mean(dtype=np.float64)),
    seconds=n / rate,
    images_per_second=rate,
    sparsity_of_images=1.0 - counts.sum(1) / sum(sizes),
    layer_counts=counts,
    layer_sizes=tuple(sizes),
    predictions=classes,
  )


def _logits(target, images) -> jax.Array:
  return target(images)


def _measure(replicated, index, images, partner_images, classes):
  explainer, blank = replicated
  target, off = explainer.target, explainer.ablation
  found = explainer.pathways(index, images, classes)
  return {
    'logits': found.logits,
    'pathway_logits': target.masked(images, found.masks, off),
    'swap_logits': target.masked(partner_images, found.masks, off),
    'blank_logits': target.masked(
      jnp.broadcast_to(blank, images.shape), found.masks, off
    ),
    'counts': pathway.layer_counts(found.masks),
    'bits': pathway.pack(found.masks),
    'tied': found.tied,
  }

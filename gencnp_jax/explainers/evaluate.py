"""Evaluates explainers on the same images: every metric, one table, one curve.

A batch goes from images to metrics without leaving the device: a method's
scores are computed once, its pathway and a cut at every sparsity of the curve
are worn by the image, by a partner and by a blank, and only logits, counts and
bits come to the host.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gencnp_jax import metrics, pathway, selection
from gencnp_jax.explainers import base, inputs
from gencnp_jax.explainers.evaluation import Comparison, Evaluation
from gencnp_jax.metrics.partners import check_blank
from gencnp_jax.runtime import devices, progress

CURVE = (0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
"""Sparsities that tell methods apart: two thirds of all neurons are zero."""


def evaluate(
  explainers: Sequence[base.Explainer],
  images: Any,
  labels: Any = None,
  *,
  sparsities: Sequence[float] = (),
  batch_size: int | None = None,
  blank: np.ndarray | None = None,
  seed: int = 0,
) -> Comparison:
  """Measures explainers on the same images.

  Args:
    explainers: of one target, each with its own ablation.
    images: `[n, h, w, channels]`, what the target takes.
    labels: int `[n]`, or None: accuracy is absent then, and classes are the
      target's own.
    sparsities: of the curve, such as `CURVE`: besides its own pathways, every
      explainer's scores are cut at each of them (GEN-CNP's are the scores D
      before quantisation). Methods without one order of all neurons are left
      out of it.
    batch_size: images at a time; None picks what fits each explainer.
    blank: `[h, w, channels]`, the image of blank leakage; None for the mean.
    seed: of the partners of swap leakage.

  Returns:
    A `Comparison`: a sequence of one `Evaluation` an explainer, in their order,
    and the curve. `print` shows its tables.

  Raises:
    ValueError: no explainer, no image, shapes that do not fit, a sparsity that
      leaves no neuron or all.
  """
  if not explainers:
    raise ValueError('explainers is empty; pass at least one.')
  images = inputs.check_images(images)
  target = explainers[0].target
  shapes = target.activation_shapes(images.shape[1:])
  neurons = pathway.neuron_count(shapes)
  cuts = {s: selection.kept_count(s, neurons) for s in sparsities}
  if labels is not None:
    classes_there = target.num_classes(images.shape[1:])
    labels = metrics.check_labels(labels, len(images), classes_there)
  logits = devices.collect_rows(
    _logits,
    target,
    images,
    batch_size=batch_size or inputs.batch_size_that_fits(target, images),
  )
  classes = logits.argmax(1).astype(np.int32)
  partner = metrics.partners(classes, seed)
  partner_classes = np.where(partner < 0, -1, classes[partner])
  if blank is None:
    blank = metrics.mean_image(images)
  shared = _Shared(
    images=images,
    partner_images=images[partner],
    classes=classes,
    partner_classes=partner_classes,
    labels=labels,
    blank=check_blank(blank, images),
    sizes=tuple(int(np.prod(shape)) for shape in shapes),
  )
  own, curve = [], []
  for explainer in explainers:
    first, *others = _evaluate_one(explainer, shared, cuts, batch_size)
    own.append(first)
    curve += others
  return Comparison(tuple(own), tuple(curve))


@dataclasses.dataclass(frozen=True)
class _Shared:
  """What is the same for all explainers of a comparison."""

  images: np.ndarray
  partner_images: np.ndarray
  classes: np.ndarray
  partner_classes: np.ndarray
  labels: np.ndarray | None
  blank: np.ndarray
  sizes: tuple[int, ...]


class _Sums:
  """What is added up, batch by batch, for one set of pathways."""

  def __init__(self, shared: _Shared):
    self._shared = shared
    self._faithful = metrics.FaithfulnessSums()
    self._leaked = metrics.LeakageSums()
    self._bits, self._counts, self._tied = [], [], []

  def add(self, part: slice, logits: np.ndarray, rows: dict[str, Any]) -> None:
    """Adds the rows of a batch."""
    shared, on = self._shared, rows['counts']
    neurons = sum(shared.sizes)
    self._faithful += metrics.faithfulness_sums(
      logits,
      rows['pathway_logits'],
      None if shared.labels is None else shared.labels[part],
      1.0 - on.sum(1, dtype=np.float64) / neurons,
      on,
      shared.sizes,
    )
    self._leaked += metrics.leakage_sums(
      shared.classes[part],
      shared.partner_classes[part],
      rows['pathway_logits'],
      rows['swap_logits'],
      rows['blank_logits'],
      on.min(1) == 0,
    )
    self._bits.append(rows['bits'])
    self._counts.append(on)
    self._tied.append(rows['tied'])

  def result(
    self, method: str, cut: float | None, seconds: float
  ) -> Evaluation:
    """Divides, and compares the masks with one another."""
    shared = self._shared
    counts = np.concatenate(self._counts)
    packed = metrics.PackedMasks(np.concatenate(self._bits), shared.sizes)
    by_prediction = metrics.class_iou(packed, shared.classes)
    by_label, groups = by_prediction, shared.classes
    if shared.labels is not None:
      groups = shared.labels
      by_label = metrics.class_iou(packed, groups)
    return Evaluation(
      method=method,
      faithfulness=self._faithful.result(),
      leakage=self._leaked.result(),
      class_iou=by_label,
      predicted_iou=by_prediction,
      consensus_iou=metrics.class_iou(packed, groups, kind='consensus'),
      tied=float(np.concatenate(self._tied).mean(dtype=np.float64)),
      seconds=seconds,
      images_per_second=len(counts) / seconds,
      sparsity_of_images=1.0 - counts.sum(1) / sum(shared.sizes),
      layer_counts=counts,
      layer_sizes=shared.sizes,
      predictions=shared.classes,
      cut=cut,
    )


def _evaluate_one(
  explainer: base.Explainer,
  shared: _Shared,
  cuts: dict[float, int],
  batch_size: int | None,
) -> list[Evaluation]:
  """Returns the explainer's own evaluation, then one a cut."""
  counts = list(cuts.values()) if explainer.is_cut_from_importance else []
  finder = _Finder(explainer)
  cut, measure = devices.rowwise(_cut, 2), devices.rowwise(_measure, 4)
  wearing = devices.replicate((explainer.target, explainer.ablation))
  blank = devices.replicate(shared.blank)
  seed = np.int32(getattr(explainer, 'seed', 0))

  def run(index, images, partner_images):
    found = finder(index, images)
    worn = [(found.masks, found.tied)]
    for count in counts:
      masks, tied = cut((np.int32(count), seed), found.importance, index)
      worn.append((masks, tied))
    rows = [
      measure((*wearing, blank), images, partner_images, masks, tied)
      for masks, tied in worn
    ]
    # Or the next batch's explaining would be timed while this one is measured.
    return jax.block_until_ready((found.logits, rows))

  n = len(shared.images)
  sums = [_Sums(shared) for _ in range(1 + len(counts))]
  with progress.Progress(n, explainer.name) as bar:
    for part, (logits, worn) in devices.map_blocks(
      run,
      np.arange(n, dtype=np.int32),
      shared.images,
      shared.partner_images,
      batch_size=batch_size
      or inputs.batch_size_that_fits(
        explainer.target, shared.images, explainer.copies
      ),
    ):
      for one, rows in zip(sums, worn):
        one.add(part, logits, rows)
      bar.update(part.stop - part.start)
  return [
    one.result(explainer.name, cut, finder.seconds)
    for one, cut in zip(sums, (None, *cuts))
  ]


class _Finder:
  """Finds pathways and takes the time, without compilation."""

  def __init__(self, explainer: base.Explainer):
    self._explainer = devices.replicate(explainer)
    self._compiled: dict[Any, Any] = {}
    self.seconds = 0.0

  def __call__(self, index, images) -> base.Pathways:
    if images.shape not in self._compiled:
      find = devices.rowwise(_find, 2)
      lowered = find.lower(self._explainer, index, images)
      self._compiled[images.shape] = lowered.compile()
    start = time.monotonic()
    found = self._compiled[images.shape](self._explainer, index, images)
    jax.block_until_ready(found)
    self.seconds += time.monotonic() - start
    return found


def _logits(target, images) -> jax.Array:
  return target(images)


def _find(explainer, index, images) -> base.Pathways:
  own = jnp.full(index.shape, -1, jnp.int32)
  return explainer.pathways(index, images, own)


def _cut(replicated, importance, index):
  count, seed = replicated
  masks, tied = selection.keep_top(importance, count, seed, index)
  return masks, tied / count


def _measure(replicated, images, partner_images, masks, tied):
  target, off, blank = replicated
  blanks = jnp.broadcast_to(blank, images.shape)
  return {
    'pathway_logits': target.masked(images, masks, off),
    'swap_logits': target.masked(partner_images, masks, off),
    'blank_logits': target.masked(blanks, masks, off),
    'counts': pathway.layer_counts(masks),
    'bits': pathway.pack(masks),
    'tied': tied,
  }

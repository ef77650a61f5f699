"""Evaluates explainers on the same images: every metric, one table, one curve.

A batch goes from images to metrics without leaving the device: a method's
scores are computed once, its pathway and a cut at every sparsity of the curve
are worn by the image, by a partner and by a blank, and taken from the image;
only logits, counts and bits come to the host.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gencnp_jax import arguments, metrics, pathway, selection
from gencnp_jax.explainers import base, compared, inputs
from gencnp_jax.explainers.evaluation import Comparison, Evaluation
from gencnp_jax.explainers.finder import Finder
from gencnp_jax.explainers.kept import Kept
from gencnp_jax.explainers.measured import Measured, Shared
from gencnp_jax.metrics.partners import check_blank
from gencnp_jax.runtime import blocks, devices, profile, progress
from gencnp_jax.target import Target

CURVE = (0.7, 0.8, 0.9, 0.95, 0.98, 0.99)
"""Sparsities that tell methods apart: two thirds of all neurons are zero."""


def evaluate(
  explainers: Sequence[base.Explainer],
  images: Any,
  labels: Any = None,
  *,
  sparsities: Sequence[float] = (),
  roap_sparsities: Sequence[float] = (),
  batch_size: int | None = None,
  blank: np.ndarray | None = None,
  seed: int = 0,
  keep: Kept | None = None,
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
    roap_sparsities: where ROAP alone is measured, besides those.
    batch_size: images at a time; None picks what fits each explainer.
    blank: `[h, w, channels]`, the image of blank leakage; None for the mean.
    seed: of the partners of swap leakage.
    keep: where the finished part of an evaluation of one explainer is kept when
      it is asked to end, and found again.

  Returns:
    A `Comparison`: a sequence of one `Evaluation` an explainer, in their order,
    and the curve. `print` shows its tables.

  Raises:
    ValueError: no explainer, explainers of different targets, no image, shapes
      that do not fit, logits that are not finite, a sparsity that leaves no
      neuron or all.
  """
  compared.check_explainers(explainers)
  for name, given in (
    ('sparsities', sparsities),
    ('roap_sparsities', roap_sparsities),
  ):
    if np.ndim(given) != 1:
      raise ValueError(
        f'{name}={given!r}: pass them in a tuple, as (0.9, 0.95).'
      )
  arguments.at_a_time('batch_size', batch_size)
  if keep is not None and len(explainers) > 1:
    raise ValueError('keep= is for one explainer at a time.')
  images = inputs.check_images(images)
  target = explainers[0].target
  shapes = target.activation_shapes(images.shape[1:])
  neurons = pathway.neuron_count(shapes)
  cuts = {s: selection.kept_count(s, neurons) for s in sparsities}
  roap_cuts = {
    s: selection.kept_count(s, neurons)
    for s in roap_sparsities
    if s not in cuts
  }
  if labels is not None:
    classes_there = target.num_classes(images.shape[1:])
    labels = metrics.check_labels(labels, len(images), classes_there)
  logits = blocks.collect_rows(
    Target.__call__,
    target,
    images,
    batch_size=batch_size or inputs.batch_size_that_fits(target, images),
  )
  inputs.check_logits(logits)
  compared.check_one_target(explainers, shapes, images, logits)
  classes = logits.argmax(1).astype(np.int32)
  partner = metrics.partners(classes, seed)
  partner_classes = np.where(partner < 0, -1, classes[partner])
  if blank is None:
    blank = metrics.mean_image(images)
  shared = Shared(
    images=images,
    partner_images=images[partner],
    classes=classes,
    partner_classes=partner_classes,
    labels=labels,
    confidences=np.asarray(jax.nn.softmax(logits).max(1)),
    blank=check_blank(blank, images),
    sizes=tuple(int(np.prod(shape)) for shape in shapes),
  )
  own, curve, removed = [], [], []
  for explainer in explainers:
    (first, *others), more = _evaluate_one(
      explainer, shared, cuts, roap_cuts, batch_size, keep
    )
    own.append(first)
    curve += others
    removed += more
  return Comparison(tuple(own), tuple(curve), tuple(removed))


def _evaluate_one(
  explainer: base.Explainer,
  shared: Shared,
  cuts: dict[float, int],
  roap_cuts: dict[float, int],
  batch_size: int | None,
  keep: Kept | None,
) -> tuple[list[Evaluation], list[dict[str, Any]]]:
  """Returns the explainer's own evaluation, one a cut; ROAP of each cut."""
  if not explainer.is_cut_from_importance:
    cuts, roap_cuts = {}, {}
  finder = Finder(explainer)
  cut, measure = devices.rowwise(_cut, 2), devices.rowwise(_measure, 4)
  remove = devices.rowwise(_remove, 2)
  wearing = devices.replicate((explainer.target, explainer.ablation))
  blank = devices.replicate(shared.blank)
  seed = np.int32(getattr(explainer, 'seed', 0))

  def run(index, images, partner_images):
    profile.step()
    found = finder(index, images)
    worn = [(found.masks, found.tied)]
    for count in cuts.values():
      masks, tied = cut((np.int32(count), seed), found.importance, index)
      worn.append((masks, tied))
    removed = []
    for count in roap_cuts.values():
      masks, _ = cut((np.int32(count), seed), found.importance, index)
      removed.append(remove(wearing, images, masks))
    rows = [
      measure((*wearing, blank), images, partner_images, masks, tied)
      for masks, tied in worn
    ]
    # Or the next batch's explaining would be timed while this one is measured.
    return blocks.wait_for((found.logits, rows, removed))

  n = len(shared.images)
  if batch_size is None:
    batch_size = inputs.batch_size_that_fits(
      explainer.target, shared.images, explainer.copies
    )

  def measured(first_row=0):
    return blocks.map_blocks(
      run,
      np.arange(n, dtype=np.int32),
      shared.images,
      shared.partner_images,
      batch_size=batch_size,
      first_row=first_row,
    )

  sums = [Measured(shared) for _ in range(1 + len(cuts))]
  roap = [metrics.Mean() for _ in roap_cuts]
  with progress.Progress(n, explainer.name) as bar:
    found = (
      keep.blocks(measured, lambda: finder.seconds) if keep else measured()
    )
    for part, (logits, worn, removed) in found:
      for one, rows in zip(sums, worn):
        one.add(part, logits, rows)
      if shared.labels is not None:
        for i, rest in enumerate(removed):
          roap[i] += metrics.roap_sums(rest, shared.labels[part])
      bar.update(part.stop - part.start)
  seconds = finder.seconds + (keep.seconds if keep else 0.0)
  evaluations = [
    one.result(explainer.name, sparsity, seconds)
    for one, sparsity in zip(sums, (None, *cuts))
  ]
  points = {e.cut: e.roap for e in evaluations[1:]}
  if shared.labels is not None:
    points |= {sparsity: one.value for sparsity, one in zip(roap_cuts, roap)}
  return evaluations, [
    {'method': explainer.name, 'cut': sparsity, 'roap': points[sparsity]}
    for sparsity in sorted(points)
    if points[sparsity] is not None
  ]


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
    'removed_logits': _remove((target, off), images, masks),
    'counts': pathway.layer_counts(masks),
    'bits': pathway.pack(masks),
    'tied': tied,
  }


def _remove(replicated, images, masks):
  target, off = replicated
  return target.masked(images, tuple(~mask for mask in masks), off)

"""Do images of one class share neurons? Average class IoU (paper, section 4).

The printed formula does not type-check, and random masks score 0.00 in its
Table 3 where any pairwise reading gives them more. Two readings:

* pairwise: mean over classes, weighted by class share, of the mean Jaccard
  index |P_i and P_j| / |P_i or P_j| over all pairs of distinct images of it.
  Exact, by matrix products of the bits, never by a sample of pairs.
* consensus: the same with |intersection of all| / |union of all| of a class.

A constant mask would score 1: read `within` beside `between` and the floors.
Two masks with no neuron on share nothing: 0.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
from absl import logging

from gencnp_jax.metrics import sums
from gencnp_jax.metrics.packed import PackedMasks, count_bits


@dataclasses.dataclass(frozen=True)
class ClassIoU:
  """Overlap of pathways, in [0, 1].

  Attributes:
    within: over images of the same class (higher is better); nan where no class
      has two images.
    between: over images of different classes (lower than `within` is better);
      nan for one class. Pairwise: the mean over all pairs of images. Consensus:
      |intersection| / |union| of all images of two classes together, mean over
      pairs of classes weighted by their pairs of images; never above `within`
      of the two.
    uniform_floor: what masks drawn uniformly, with the same mean share of
      neurons on, q, would score within: q / (2 - q) for pairs.
    profile_floor: what masks drawn uniformly within each layer, with each
      image's own number of neurons on in each layer, would score within.
    per_class: `within` of each class, by label.
    per_layer: `within` of each layer alone (paper, Fig. 5c).
    left_out: images alone in their class: they have no pair, and count in
      pairwise `between` only.
  """

  within: float
  between: float
  uniform_floor: float
  profile_floor: float
  per_class: dict[int, float]
  per_layer: tuple[float, ...]
  left_out: int


def class_iou(
  masks: PackedMasks | Sequence[np.ndarray],
  labels: np.ndarray,
  kind: str = 'pairwise',
) -> ClassIoU:
  """Measures how much pathways overlap within and between classes.

  Args:
    masks: tuple, one array a layer, bool or {0, 1} `[n, h_i, w_i, c_i]`; or
      `PackedMasks`.
    labels: int `[n]`, the class of each image, true or predicted.
    kind: 'pairwise' or 'consensus'.

  Raises:
    ValueError: no image, wrong shapes, masks that are not {0, 1}, labels that
      are absent, or an unknown kind.
  """
  if kind not in ('pairwise', 'consensus'):
    raise ValueError(f"kind={kind!r}: choose 'pairwise' or 'consensus'.")
  if not isinstance(masks, PackedMasks):
    masks = PackedMasks.pack(masks)
  if not len(masks):
    raise ValueError('masks hold no image; pass one image or more.')
  if labels is None:
    raise ValueError(
      'labels is None: class IoU compares classes. For unlabelled images pass '
      "the target's predictions."
    )
  labels = sums.check_labels(labels, len(masks))
  # Sorted, so that pairs of one class are near the diagonal.
  order = np.argsort(labels, kind='stable')
  classes, members, sizes = np.unique(
    labels[order], return_inverse=True, return_counts=True
  )
  _report_single(classes, sizes)
  measure = _pairwise if kind == 'pairwise' else _consensus
  return measure(masks.take(order), classes, members, sizes)


def _pairwise(masks, classes, members, sizes) -> ClassIoU:
  counts = masks.layer_counts().astype(np.float64)
  totals = counts.sum(axis=1)
  layer_sizes = np.asarray(masks.layer_sizes)
  layers = range(len(layer_sizes))
  within = np.zeros(len(classes))
  floor = np.zeros(len(classes))
  per_layer = np.zeros((len(layers), len(classes)))
  between = 0.0

  for a in masks.blocks():
    for b in masks.blocks():
      if b.start < a.start:
        continue
      same = members[a, None] == members[None, b]
      # Each pair once: on the diagonal block, those above the diagonal.
      pairs = np.triu(np.ones(same.shape, bool), 1 if a == b else -len(masks))
      same &= pairs
      shared = np.zeros(same.shape)

      def class_sums(jaccard, a=a, same=same):
        rows = np.where(same, jaccard, 0.0).sum(axis=1)
        return np.bincount(members[a], rows, len(classes))

      for i in layers:
        in_layer = masks.intersections(a, b, i)
        shared += in_layer
        if same.any():
          per_layer[i] += class_sums(
            _jaccard(in_layer, counts[a, i], counts[b, i])
          )
      jaccard = _jaccard(shared, totals[a], totals[b])
      between += jaccard[pairs & ~same].sum()
      if same.any():
        within += class_sums(jaccard)
        expected = (counts[a] / layer_sizes[None]) @ counts[b].T
        floor += class_sums(_jaccard(expected, totals[a], totals[b]))

  of_class = sizes * (sizes - 1) / 2
  others = len(masks) * (len(masks) - 1) / 2 - of_class.sum()
  q = totals.mean() / layer_sizes.sum()
  mean = _ClassMean(sizes)
  return ClassIoU(
    within=mean(_divide(within, of_class)),
    between=sums.ratio(float(between), others),
    uniform_floor=float(q / (2 - q)),
    profile_floor=mean(_divide(floor, of_class)),
    per_class=mean.by_class(classes, _divide(within, of_class)),
    per_layer=tuple(mean(_divide(layer, of_class)) for layer in per_layer),
    left_out=mean.left_out,
  )


def _consensus(masks, classes, members, sizes) -> ClassIoU:
  starts = np.cumsum(sizes) - sizes
  in_all = np.bitwise_and.reduceat(masks.bits, starts, axis=0)
  in_any = np.bitwise_or.reduceat(masks.bits, starts, axis=0)
  layers_all = PackedMasks(in_all, masks.layer_sizes).layer_counts()
  layers_any = PackedMasks(in_any, masks.layer_sizes).layer_counts()
  within = _divide(layers_all.sum(axis=1), layers_any.sum(axis=1))

  between, weight = 0.0, 0.0
  for c in range(len(classes) - 1):
    shared = count_bits(in_all[c] & in_all[c + 1 :])
    union = count_bits(in_any[c] | in_any[c + 1 :])
    pairs = float(sizes[c]) * sizes[c + 1 :]
    between += float((_divide(shared, union) * pairs).sum())
    weight += float(pairs.sum())

  # A neuron is in all of n masks by chance with the product of their shares,
  # and in none with the product of the rests.
  layer_sizes = np.asarray(masks.layer_sizes, np.float64)
  shares = masks.layer_counts() / layer_sizes[None]
  chance_all = np.multiply.reduceat(shares, starts, axis=0) @ layer_sizes
  chance_any = (
    1.0 - np.multiply.reduceat(1.0 - shares, starts, axis=0)
  ) @ layer_sizes
  q = (shares @ layer_sizes).mean() / layer_sizes.sum()
  mean = _ClassMean(sizes)
  return ClassIoU(
    within=mean(within),
    between=sums.ratio(between, weight),
    uniform_floor=mean(_divide(q**sizes, 1.0 - (1.0 - q) ** sizes)),
    profile_floor=mean(_divide(chance_all, chance_any)),
    per_class=mean.by_class(classes, within),
    per_layer=tuple(
      mean(_divide(a, b)) for a, b in zip(layers_all.T, layers_any.T)
    ),
    left_out=mean.left_out,
  )


class _ClassMean:
  """Mean over the classes with two images or more, weighted by class share."""

  def __init__(self, sizes: np.ndarray) -> None:
    self.weights = np.where(sizes > 1, sizes, 0)
    self.left_out = int((sizes == 1).sum())

  def __call__(self, values: np.ndarray) -> float:
    total = float((self.weights * values).sum())
    return sums.ratio(total, float(self.weights.sum()))

  def by_class(self, classes, values) -> dict[int, float]:
    kept = self.weights > 0
    return dict(zip(classes[kept].tolist(), values[kept].tolist()))


def _jaccard(shared, left, right) -> np.ndarray:
  """Returns `[a, b]` from intersections `[a, b]` and sizes `[a]`, `[b]`."""
  return _divide(shared, left[:, None] + right[None, :] - shared)


def _divide(shared: np.ndarray, union: np.ndarray) -> np.ndarray:
  """Elementwise `shared / union`; 0 where the union is empty."""
  zeros = np.zeros(np.shape(union))
  return np.divide(shared, union, out=zeros, where=union > 0)


def _report_single(classes: np.ndarray, sizes: np.ndarray) -> None:
  single = classes[sizes == 1]
  if len(single):
    _warn_once(
      f'class_iou: {len(single)} of {sizes.sum()} images are alone in their '
      f'class ({", ".join(map(str, single[:5]))}'
      f'{", ..." if len(single) > 5 else ""}): no pair, so they are left out of '
      '`within`.'
    )


@functools.cache
def _warn_once(words: str) -> None:
  """A run asks for each method, sparsity and layer."""
  logging.warning('%s', words)

"""What is added up of one set of pathways, batch by batch."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from gencnp_jax import metrics
from gencnp_jax.explainers.evaluation import Evaluation


@dataclasses.dataclass(frozen=True)
class Shared:
  """What is the same for all explainers of a comparison."""

  images: np.ndarray
  partner_images: np.ndarray
  classes: np.ndarray
  partner_classes: np.ndarray
  labels: np.ndarray | None
  confidences: np.ndarray
  blank: np.ndarray
  sizes: tuple[int, ...]

  @property
  def neurons(self) -> int:
    """Neurons of an image."""
    return sum(self.sizes)


class Measured:
  """What is added up, batch by batch, for one set of pathways."""

  def __init__(self, shared: Shared):
    self._shared = shared
    self._faithful = metrics.FaithfulnessSums()
    self._leaked = metrics.LeakageSums()
    self._removed = metrics.Mean()
    self._bits, self._counts, self._tied = [], [], []

  def add(self, part: slice, logits: np.ndarray, rows: dict[str, Any]) -> None:
    """Adds what `measure` of evaluate.py gave of a batch."""
    shared, on = self._shared, rows['counts']
    self._faithful += metrics.faithfulness_sums(
      logits,
      rows['pathway_logits'],
      None if shared.labels is None else shared.labels[part],
      1.0 - on.sum(1, dtype=np.float64) / shared.neurons,
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
    if shared.labels is not None:
      self._removed += metrics.roap_sums(
        rows['removed_logits'], shared.labels[part]
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
      roap=None if shared.labels is None else self._removed.value,
      tied=float(np.concatenate(self._tied).mean(dtype=np.float64)),
      seconds=seconds,
      images_per_second=len(counts) / seconds,
      sparsity_of_images=1.0 - counts.sum(1) / shared.neurons,
      layer_counts=counts,
      layer_sizes=shared.sizes,
      predictions=shared.classes,
      confidences=shared.confidences,
      masks=packed,
      cut=cut,
    )

"""What evaluating explainers gives: numbers a method, and their tables."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gencnp_jax import metrics
from gencnp_jax.report import Table, comparison


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
    roap: accuracy of what is left when the pathway is taken away (lower is
      better); None without labels.
    tied: mean share of kept neurons that a draw among equal scores chose.
    seconds: wall time of explaining alone, from images to masks, without
      compilation.
    images_per_second: likewise.
    sparsity_of_images: float32 `[n]`, firing sparsity of each image.
    layer_counts: float32 `[n, layers]`, neurons on in each layer.
    layer_sizes: number of neurons of each layer.
    predictions: int `[n]`, the target's classes.
    confidences: float32 `[n]`, their softmax probabilities.
    masks: the pathways, as bits.
    cut: the sparsity of the curve at which the scores were cut, or None for
      the explainer's own pathways.
  """

  method: str
  faithfulness: metrics.Faithfulness
  leakage: metrics.Leakage
  class_iou: metrics.ClassIoU
  predicted_iou: metrics.ClassIoU
  consensus_iou: metrics.ClassIoU
  roap: float | None
  tied: float
  seconds: float
  images_per_second: float
  sparsity_of_images: np.ndarray
  layer_counts: np.ndarray
  layer_sizes: tuple[int, ...]
  predictions: np.ndarray
  confidences: np.ndarray
  masks: metrics.PackedMasks
  cut: float | None = None

  def row(self) -> dict[str, Any]:
    """Returns the numbers as one flat mapping of JSON values."""
    f, iou, consensus = self.faithfulness, self.class_iou, self.consensus_iou
    row = {
      'method': self.method,
      # Some metrics reward breaking the prediction: Random does not compete.
      'baseline': self.method == 'Random',
      'cut': self.cut,
      'images': f.images,
      'accuracy': f.accuracy,
      'target_accuracy': f.target_accuracy,
      'agreement': f.agreement,
      'increase_rate': f.increase_rate,
      'mean_increase': f.mean_increase,
      'mean_decrease': f.mean_decrease,
      'mean_increase_of_risers': f.mean_increase_of_risers,
      'mean_decrease_of_fallers': f.mean_decrease_of_fallers,
      'firing_sparsity': f.firing_sparsity,
      'firing_sparsity_std': f.firing.std,
      'firing_sparsity_min': f.firing.min,
      'firing_sparsity_max': f.firing.max,
      'firing_sparsity_per_layer': list(f.firing.per_layer),
      'within': iou.within,
      'between': iou.between,
      'uniform_floor': iou.uniform_floor,
      'profile_floor': iou.profile_floor,
      'within_predicted': self.predicted_iou.within,
      'between_predicted': self.predicted_iou.between,
      'within_per_layer': list(iou.per_layer),
      'consensus_within': consensus.within,
      'consensus_between': consensus.between,
      'swap': self.leakage.swap,
      'own': self.leakage.own,
      'blank': self.leakage.blank,
      'disconnected': self.leakage.disconnected,
      'influence': self.leakage.influence,
      'empty_layer': self.leakage.empty_layer,
      'roap': self.roap,
      'tied': self.tied,
      'seconds': self.seconds,
      'images_per_second': self.images_per_second,
    }
    return {key: defined(value) for key, value in row.items()}


@dataclasses.dataclass(frozen=True)
class Comparison(Sequence):
  """Explainers measured on the same images; a sequence of `Evaluation`.

  Printed, and shown by notebooks, as its tables.

  Attributes:
    evaluations: one an explainer, at its own sparsity.
    curve: one an explainer and sparsity, explainers first.
    roap: mappings 'method', 'cut' (sparsity) and 'roap', one an explainer and
      sparsity of the curve or of ROAP alone; empty without labels.
  """

  evaluations: tuple[Evaluation, ...]
  curve: tuple[Evaluation, ...] = ()
  roap: tuple[dict[str, Any], ...] = ()

  def __getitem__(self, i):
    return self.evaluations[i]

  def __len__(self) -> int:
    return len(self.evaluations)

  def rows(self) -> list[dict[str, Any]]:
    """Returns one flat mapping of JSON values an explainer."""
    return [e.row() for e in self.evaluations]

  def curve_rows(self) -> list[dict[str, Any]]:
    """Returns the same of the curve: one an explainer and sparsity."""
    return [e.row() for e in self.curve]

  def tables(self) -> tuple[Table, ...]:
    """Returns the tables: faithfulness, class IoU, leakage, the curve."""
    return (
      *comparison.tables(self.rows()),
      *comparison.curve_tables(self.curve_rows()),
    )

  def __str__(self) -> str:
    return '\n\n'.join(table.to_text() for table in self.tables())

  def _repr_html_(self) -> str:
    return ''.join(
      f'<h4>{table.title}</h4>{table.to_html()}' for table in self.tables()
    )


def defined(value: Any) -> Any:
  """Returns None for NaN, which JSON does not have."""
  if isinstance(value, list):
    return [defined(v) for v in value]
  return None if isinstance(value, float) and math.isnan(value) else value

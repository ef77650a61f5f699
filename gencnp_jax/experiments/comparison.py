"""GEN-CNP beside the baselines at its own mean firing sparsity.

Tables 5 and 3 of the paper, and leakage, which is past it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gencnp_jax.experiments import paper
from gencnp_jax.explainers import Evaluation
from gencnp_jax.report import Column, Table

_METHOD = Column('method', 'Method', fmt='text')
_SPARSITY = Column('firing_sparsity', 'Sparsity')
_AGREEMENT = Column('agreement', 'Agreement', 'higher')
_SWAP = Column('swap', 'Swap leak', 'lower')
_NO_NEED_TO_WIN = 'Random'
"""Marked as a baseline: some metrics reward breaking the prediction."""


def rows(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
  """Flattens evaluations to one JSON mapping a method."""
  result = []
  for e in evaluations:
    f, iou, consensus = e.faithfulness, e.class_iou, e.consensus_iou
    result.append(
      {
        'method': e.method,
        'baseline': e.method == _NO_NEED_TO_WIN,
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
        'within_predicted': e.predicted_iou.within,
        'between_predicted': e.predicted_iou.between,
        'within_per_layer': list(iou.per_layer),
        'consensus_within': consensus.within,
        'consensus_between': consensus.between,
        'swap': e.leakage.swap,
        'own': e.leakage.own,
        'blank': e.leakage.blank,
        'disconnected': e.leakage.disconnected,
        'empty_layer': e.leakage.empty_layer,
        'tied': e.tied,
        'images_per_second': e.images_per_second,
      }
    )
  return [{k: _defined(v) for k, v in row.items()} for row in result]


def tables(
  measured: Sequence[Mapping[str, Any]], data: str, model: str
) -> tuple[Table, Table, Table]:
  """Returns the tables of faithfulness, class IoU and leakage.

  Args:
    measured: what `rows` returned, perhaps read back from JSON.
    data: name of the data set, for the paper's numbers.
    model: name of the target, likewise.
  """
  table_5, table_3 = (
    paper.faithfulness(data, model),
    paper.class_iou(data, model),
  )
  joined = []
  for row in measured:
    row = dict(row)
    for key, value in table_5.get(row['method'], {}).items():
      row[f'{key}_paper'] = value
    if row['method'] in table_3:
      row['within_paper'] = table_3[row['method']]
    joined.append(row)
  known = bool(table_5)
  faithfulness = Table(
    'Faithfulness' + (' beside Table 5 of the paper' if known else ''),
    (
      _METHOD,
      _SPARSITY,
      _AGREEMENT,
      Column('accuracy', 'Accuracy', 'higher', paper=known),
      Column('increase_rate', 'ICr', 'higher', paper=known),
      Column('mean_increase_of_risers', 'mIC*', 'higher', paper=known),
      Column('mean_decrease_of_fallers', 'mDC*', 'lower', paper=known),
      Column('mean_increase', 'mIC', 'higher', 'percent2'),
      Column('mean_decrease', 'mDC', 'lower', 'percent2'),
      _SWAP,
    ),
    joined,
    'mIC* and mDC*: mean over the images whose confidence rises or falls with '
    'the same class, the reading that fits the paper; mIC and mDC: its formulas '
    'as printed, over all images. Read them beside agreement: a pathway that '
    'flips the class has no mDC.' + _sparsity_note(known),
  )
  overlap = Table(
    'Class IoU' + (' beside Table 3 of the paper' if known else ''),
    (
      _METHOD,
      _SPARSITY,
      Column('within', 'Within', 'higher', paper=known),
      Column('between', 'Between', 'lower'),
      Column('within_predicted', 'Within, predicted', 'higher'),
      Column('between_predicted', 'Between, predicted', 'lower'),
      Column('uniform_floor', 'Uniform floor'),
      Column('profile_floor', 'Profile floor'),
      Column('consensus_within', 'Consensus', 'higher'),
      Column('tied', 'Drawn at ties'),
    ),
    joined,
    'Mean Jaccard index of pathways of the same class (acIOU) and of different '
    'classes: by true class, and by the class that the target predicts, which '
    'is the one a pathway explains. Floors: what random masks score that keep as many neurons, and as '
    'many in each layer. Consensus: neurons on in all images of a class over '
    'neurons on in any. Drawn at ties: share of kept neurons chosen by lot among '
    'equal scores.',
  )
  leakage = Table(
    'Does the mask itself carry the answer?',
    (
      _METHOD,
      _SPARSITY,
      _AGREEMENT,
      _SWAP,
      Column('own', 'Own', 'higher'),
      Column('blank', 'Blank leak', 'lower'),
      Column('disconnected', 'Disconnected', 'lower'),
      Column('empty_layer', 'Empty layer', 'lower'),
    ),
    joined,
    "Swap leak: another image of another class, run under this image's pathway, "
    "is given this image's class; own: it keeps its own. Blank: the mean image "
    'likewise. Disconnected: the image cannot reach the output.',
  )
  return faithfulness, overlap, leakage


def warnings(measured: Sequence[Mapping[str, Any]]) -> list[str]:
  """Says of each method whether its pathways are trivial."""
  said = []
  for row in measured:
    if row['disconnected'] > 0.01:
      said.append(
        f'{row["method"]}: {100 * row["disconnected"]:.1f} % of the pathways '
        'are disconnected: the image cannot reach the output, and what the '
        'target says is in the mask alone.'
      )
    elif row['agreement'] > 0.5 and (row['swap'] or 0) > 0.5:
      said.append(
        f'{row["method"]}: worn by an image of another class, '
        f'{100 * row["swap"]:.0f} % of the pathways still give their own class: '
        'its agreement is largely the mask speaking.'
      )
  return said


def _defined(value: Any) -> Any:
  """Returns None for NaN, which JSON does not have."""
  if isinstance(value, list):
    return [_defined(v) for v in value]
  return None if isinstance(value, float) and math.isnan(value) else value


def _sparsity_note(known: bool) -> str:
  if not known:
    return ''
  return (
    ' The paper does not say at which firing sparsity its numbers were taken.'
  )

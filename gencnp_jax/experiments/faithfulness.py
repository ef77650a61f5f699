"""GEN-CNP beside the baselines: Tables 5 and 3 of the paper, and leakage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gencnp_jax import report
from gencnp_jax.experiments import paper
from gencnp_jax.report import Table


def tables(
  measured: Sequence[Mapping[str, Any]], data: str, model: str
) -> tuple[Table, ...]:
  """Returns the tables of faithfulness, class IoU, leakage and speed.

  Args:
    measured: rows of `Evaluation.row`, perhaps read back from JSON.
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
  return report.comparison.tables(joined)


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

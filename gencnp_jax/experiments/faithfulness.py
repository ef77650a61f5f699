"""GEN-CNP beside the baselines: Tables 1 and 5 of the paper."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gencnp_jax import report
from gencnp_jax.experiments import paper
from gencnp_jax.experiments.result import NamedFigure, Result
from gencnp_jax.experiments.run import Run
from gencnp_jax.report import Table, plot


def present(run: Run, content: dict[str, Any] | None) -> Result:
  """Shows faithfulness at one sparsity, over all, and the time it took.

  Args:
    run: whose evaluation is shown.
    content: not used, there is nothing more to measure.
  """
  del content
  rows, curve = run.evaluated['rows'], run.evaluated['curve']
  data, model = paper.data_set(run), run.config.target.model
  faithful, _, _, speed = tables(rows, data, model)
  figures = [
    NamedFigure(
      'comparison',
      f'The methods side by side, {_sparsities(rows)}. Hollow: overlap between '
      f'classes. {_reading(rows)}',
      plot.comparison(rows),
    )
  ]
  if curve:
    figures.append(
      NamedFigure(
        'sparsity_curve',
        'The methods over firing sparsity, all cut at the same ones: GEN-CNP '
        'by its scores before quantisation, ranked over all layers of an '
        'image; the ring is GEN-CNP as trained, each image at its own '
        'sparsity. Sparsities stand at equal distances.',
        plot.sparsity_curve(
          curve, [row for row in rows if row['method'] == 'GEN-CNP']
        ),
      )
    )
  return Result(
    'Faithfulness',
    _target_sentence(rows[0], data, model),
    (faithful, speed),
    tuple(figures),
    tuple(warnings(rows)),
    folded=report.comparison.curve_tables(curve),
  )


def _sparsities(rows: Sequence[Mapping[str, Any]]) -> str:
  """Says at which firing sparsity methods stand."""
  values = [100 * row['firing_sparsity'] for row in rows]
  low, high = min(values), max(values)
  if high - low < 0.1:
    return f'at a mean firing sparsity of {high:.1f} %'
  return f'at mean firing sparsities from {low:.1f} to {high:.1f} %'


def _reading(rows: Sequence[Mapping[str, Any]]) -> str:
  """Says who agrees most, and whose confidence falls least."""
  rows = [row for row in rows if not row['baseline']]
  if len(rows) < 2:
    return ''
  value, names = _best(rows, 'agreement', max)
  said = f'Most agreement: {names} ({value} %).'
  # A pathway that breaks the prediction has few that fall within the class.
  rows = [row for row in rows if row['agreement'] > 0.5]
  rows = [row for row in rows if row['mean_decrease_of_fallers'] is not None]
  if len(rows) > 1:
    value, names = _best(rows, 'mean_decrease_of_fallers', min)
    said += (
      f' Least fall of confidence, among images that fall and methods that '
      f'keep most classes: {names} ({value} points).'
    )
  return said


def _best(rows, key: str, choose) -> tuple[str, str]:
  """Returns the best value, in percent, and all methods that show it."""
  shown = {row['method']: f'{100 * row[key]:.1f}' for row in rows}
  value = choose(shown.values(), key=float)
  return value, ', '.join(name for name, v in shown.items() if v == value)


def _target_sentence(own: Mapping[str, Any], data: str, model: str) -> str:
  if own['target_accuracy'] is None:
    return ''
  said = f'The target is right on {100 * own["target_accuracy"]:.2f} %'
  printed = paper.target_accuracy(data, model)
  if printed is not None:
    said += f' (the paper’s: {100 * printed:.2f} %)'
  return f'{said} of these {own["images"]} images.'


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
  return report.comparison.tables(joined, paper.faithfulness_table(data))


def warnings(
  measured: Sequence[Mapping[str, Any]], of_leaks: bool = True, beside: str = ''
) -> list[str]:
  """Says which methods' pathways are trivial, a sentence a kind.

  Args:
    measured: rows of `Evaluation.row`.
    of_leaks: False for pathways alone that hold the image back.
    beside: key of what tells rows of one method apart.
  """
  if beside:
    measured = [
      row | {'method': f'{row["method"]}, {row[beside]}'} for row in measured
    ]
  cut_off = [row for row in measured if row['disconnected'] > 0.01]
  # Of those that are mostly cut off there is nothing more to say, and one that
  # loses the class claims nothing.
  others = [
    row
    for row in measured
    if row['disconnected'] <= 0.5 and row['agreement'] > 0.5
  ]
  faint = [
    row
    for row in others
    # None without pairs, or in what was measured before there was influence.
    if row.get('influence') is not None and row['influence'] < 0.01
  ]
  speaking = [row for row in others if of_leaks and (row['swap'] or 0) > 0.5]
  said = []
  if cut_off:
    said.append(
      f'Pathways are disconnected, {_shares(cut_off, "disconnected")}: the '
      'image cannot reach the output, and what the target says is in the mask '
      'alone.'
    )
  if faint:
    said.append(
      'Pathways let hardly anything of the image through, '
      f'{_shares(faint, "influence")} of the logits: what the target says is '
      'nearly a constant of the mask.'
    )
  if speaking:
    said.append(
      'Worn by an image of another class, pathways still give their own class, '
      f'{_shares(speaking, "swap")}: agreement is largely the mask speaking.'
    )
  return said


def _shares(rows: Sequence[Mapping[str, Any]], key: str) -> str:
  return ', '.join(f'{row["method"]} {100 * row[key]:.1f} %' for row in rows)

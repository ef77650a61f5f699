"""RemOve And Predict: accuracy of what is left (Fig. 5a, Table 7)."""

from __future__ import annotations

from typing import Any

from gencnp_jax.experiments import paper
from gencnp_jax.experiments.result import NamedFigure, Result
from gencnp_jax.experiments.run import Run
from gencnp_jax.report import Column, Table, pivot, plot


def present(run: Run, content: dict[str, Any] | None) -> Result | None:
  """Shows the accuracy of 1 - P; nothing where it was not measured.

  Args:
    run: whose evaluation is shown.
    content: not used, there is nothing more to measure.
  """
  del content
  rows = run.evaluated['roap']
  if not rows:
    return None
  whole = run.evaluated['rows'][0]['target_accuracy']
  return Result(
    'What is left without the pathway (ROAP)',
    'The pathway is taken away and the target predicts with the other neurons: '
    'a pathway that holds what the target decides with leaves little accuracy. '
    'At low firing sparsity nearly all neurons are taken away.',
    (table(rows, paper.data_set(run), run.config.target.model),),
    (
      NamedFigure(
        'roap',
        'Accuracy without the pathway, over its firing sparsity; lower is '
        f'better. {_reading(rows)}',
        plot.roap_curve(rows, whole),
      ),
    ),
  )


def table(rows: list[dict[str, Any]], data: str, model: str) -> Table:
  """Returns ROAP's table: methods by firing sparsities.

  Args:
    rows: 'method', 'cut' and 'roap'.
    data: the paper's name of the data set, or ''.
    model: name of the target.
  """
  printed = paper.roap(data, model)
  return pivot(
    'ROAP' + (' beside Table 7 of the paper' if printed else ''),
    rows,
    'cut',
    Column('roap', 'Accuracy', 'lower'),
    printed,
    'Accuracy of the target with the neurons that are not in the pathway.',
  )


def _reading(rows: list[dict[str, Any]]) -> str:
  """Says who leaves least at the sparsity where the methods differ most."""
  by_cut: dict[float, list] = {}
  for row in rows:
    if row['method'] != 'Random':
      by_cut.setdefault(row['cut'], []).append((row['roap'], row['method']))
  spread = {c: max(v)[0] - min(v)[0] for c, v in by_cut.items()}
  cut = max(spread, key=spread.get, default=None)
  if cut is None or spread[cut] < 0.001:
    return ''
  (low, best), (high, worst) = min(by_cut[cut]), max(by_cut[cut])
  return (
    f'Random apart they differ most at {100 * cut:g} %: {best} leaves '
    f'{100 * low:.1f} %, {worst} {100 * high:.1f} %.'
  )

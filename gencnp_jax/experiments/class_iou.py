"""Do pathways of one class share neurons? Table 3, Fig. 5b, 5c and 10."""

from __future__ import annotations

import itertools
from typing import Any

from gencnp_jax import report
from gencnp_jax.experiments import faithfulness, paper
from gencnp_jax.experiments.result import NamedFigure, Result
from gencnp_jax.experiments.run import Run
from gencnp_jax.report import Column, Table, plot

KEYS = ('within', 'between')


def present(run: Run, content: dict[str, Any] | None) -> Result:
  """Shows acIOU overall, by layer, and over firing sparsity where measured.

  Args:
    run: whose evaluation is shown.
    content: not used, there is nothing more to measure.
  """
  del content
  rows, curve = run.evaluated['rows'], run.evaluated['curve']
  model = run.config.target.model
  _, overlap, *_ = faithfulness.tables(rows, paper.data_set(run), model)
  names = [f'{i + 1}' for i in range(len(rows[0]['within_per_layer']))]
  figures, folded = [], [by_layer(rows)]
  # Without two images of a class there is no overlap to draw.
  if any(v is not None for row in rows for v in row['within_per_layer']):
    figures.append(
      NamedFigure(
        'class_iou_over_layers',
        'Class IoU within classes in each layer (Fig. 5c), from the first to '
        f'the last. {_layer_reading(rows)}',
        plot.layer_overlap(rows, names),
      )
    )
  if any(row[key] is not None for row in curve for key in KEYS):
    figures.append(
      NamedFigure(
        'class_iou_over_firing_sparsity',
        'Class IoU over firing sparsity (Fig. 5b). Sparsities stand at equal '
        f'distances. {_curve_reading(curve)}',
        plot.sparsity_curve(
          curve, [row for row in rows if row['method'] == 'GEN-CNP'], KEYS
        ),
      )
    )
    folded += report.comparison.curve_tables(curve, KEYS)
  return Result(
    'Do pathways of one class share neurons?',
    'Read the overlap within classes beside that between classes, and beside '
    'the floors: a constant pathway would overlap by 100 %, and random ones '
    'overlap the more, the more neurons they keep.',
    (overlap,),
    tuple(figures),
    folded=tuple(folded),
  )


def by_layer(rows: list[dict[str, Any]]) -> Table:
  """Returns acIOU of each layer, a row a method."""
  count = len(rows[0]['within_per_layer'])
  lines = [
    {'method': row['method'], 'baseline': row['baseline']}
    | {f'layer_{i + 1}': v for i, v in enumerate(row['within_per_layer'])}
    for row in rows
  ]
  across = [
    Column(f'layer_{i + 1}', f'Layer {i + 1}', 'higher') for i in range(count)
  ]
  return Table(
    'Class IoU by layer',
    (Column('method', 'Method', fmt='text'), *across),
    lines,
    'Within classes. Sparsity is one over all layers: how many neurons a '
    'method keeps in a layer differs.',
  )


def _layer_reading(rows: list[dict[str, Any]]) -> str:
  layers = [v for v in rows[0]['within_per_layer'] if v is not None]
  if len(layers) < 2:
    return ''
  rises = all(b > a for a, b in itertools.pairwise(layers))
  trend = 'rises with depth' if rises else 'does not rise with every layer'
  return (
    f'{rows[0]["method"]}’s {trend}: {100 * layers[0]:.0f} % in the first, '
    f'{100 * layers[-1]:.0f} % in the last.'
  )


def _curve_reading(curve: list[dict[str, Any]]) -> str:
  """Says at how many sparsities GEN-CNP overlaps most within classes."""
  leads, compared = 0, 0
  for cut in sorted({row['cut'] for row in curve}):
    at = {r['method']: r['within'] for r in curve if r['cut'] == cut}
    own = at.pop('GEN-CNP', None)
    others = [value for value in at.values() if value is not None]
    if own is not None and others:
      compared += 1
      leads += own > max(others)
  if not compared:
    return ''
  return (
    f'GEN-CNP overlaps most within classes at {leads} of {compared} sparsities.'
  )

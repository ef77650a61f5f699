"""Pathways of a class worn by its other images (paper, Figs. 6 and 11-14)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gencnp_jax import arguments
from gencnp_jax.arguments import finite
from gencnp_jax.report import lines, palette


class _Over(NamedTuple):
  """What a panel runs over, and what is fixed meanwhile."""

  key: str
  name: str
  symbol: str


_SAMPLES = _Over('sample_sparsity', 'sample sparsity', r'$\epsilon_{ss}$')
_CLASS = _Over('class_sparsity', 'class-relevant sparsity', r'$\epsilon_{cn}$')
# Metric -> title with the arrow towards better, and unit.
_METRICS = {
  'accuracy': ('Accuracy ↑', '% of images'),
  'agreement': ('Agreement ↑', '% of images'),
  'increase_rate': ('ICr ↑', '% of images'),
  'mean_increase_of_risers': ('mIC* ↑', 'rise in confidence, points'),
  'mean_decrease_of_fallers': ('mDC* ↓', 'fall in confidence, points'),
  'swap': ('Swap leak ↓', '% of pairs of images'),
  'firing_sparsity': ('Firing sparsity', 'neurons off, %, logarithmic'),
}
_PANELS = (  # The paper's three, then what it leaves out.
  ('mean_increase_of_risers', _SAMPLES),
  ('mean_increase_of_risers', _CLASS),
  ('mean_decrease_of_fallers', _SAMPLES),
  ('accuracy', _CLASS),
  ('swap', _CLASS),
  ('firing_sparsity', _CLASS),
)
_ACROSS = 5  # panels of a grid


@palette.styled
def transfer(
  rows: Sequence[Mapping[str, Any]],
  class_sparsity: float = 0.7,
  sample_sparsity: float = 0.6,
  by: str = 'true class',
) -> Figure:
  """Draws how well the pathway of a class serves its other images.

  Args:
    rows: one mapping a method and setting: 'method', 'by' ('true class' or
      'predicted class'), 'sample_sparsity' (share of a class's images that were
      left out of its pathway), 'class_sparsity' (a neuron is kept that fires in
      a larger share of the others), and any of 'accuracy', 'agreement',
      'increase_rate', 'mean_increase_of_risers', 'mean_decrease_of_fallers',
      'swap' and 'firing_sparsity' (of the class's pathway), shares in [0, 1].
    class_sparsity: where it is fixed, one of those in the rows.
    sample_sparsity: likewise.
    by: which rows are drawn.

  Returns:
    A figure of six panels: the paper's (a) to (c), and (d) to (f) over class
    sparsity. Without labels (d) is agreement.

  Raises:
    ValueError: no row, or none with this `by` or a fixed sparsity.
  """
  rows = _by(rows, by)
  looks = lines.looks(rows)
  fixed = {
    _CLASS: _measured(rows, _CLASS, class_sparsity),
    _SAMPLES: _measured(rows, _SAMPLES, sample_sparsity),
  }
  drawn = [
    row
    for row in rows
    if any(_same(row[what.key], value) for what, value in fixed.items())
  ]
  figure = Figure((palette.WIDTH, 4.7), layout='constrained')
  figure.get_layout_engine().set(hspace=0.08, wspace=0.06)
  panels = figure.subplots(2, 3).flat
  for letter, axes, (key, over) in zip('abcdef', panels, _PANELS):
    other = _CLASS if over is _SAMPLES else _SAMPLES
    shown = [row for row in drawn if _same(row[other.key], fixed[other])]
    if key == 'accuracy' and not any(finite(row.get(key)) for row in shown):
      key = 'agreement'  # Without labels.
    title, unit = _METRICS[key]
    axes.set_title(f'({letter}) {title}')
    quiet = {'fontsize': 7.5, 'fontweight': 'normal', 'color': palette.QUIET}
    axes.set_title(_at(other, fixed[other]), loc='right', **quiet)
    # One scale for a metric, whatever it is drawn over.
    _panel(axes, shown, looks, over, key, [row.get(key) for row in drawn])
    axes.set_ylabel(unit)
  lines.legend(figure, looks)
  return figure


@palette.styled
def transfer_grid(
  rows: Sequence[Mapping[str, Any]],
  key: str,
  title: str,
  by: str = 'true class',
) -> Figure:
  """Draws one metric of `transfer` over each sparsity, for many of the other.

  Args:
    rows: as for `transfer`.
    key: of the metric.
    title: of the figure.
    by: which rows are drawn.

  Returns:
    A figure of two rows of panels with one upright scale: above over sample
    sparsity, a panel for each class sparsity; below the other way round. Of
    many sparsities five are shown, evenly spaced, the ends among them.

  Raises:
    ValueError: an unknown metric, no row, none with this `by`, or the metric in
      none.
  """
  if key not in _METRICS:
    raise ValueError(f'key={key!r}: choose one of {", ".join(_METRICS)}.')
  rows = _by(rows, by)
  values = [row[key] for row in rows if finite(row.get(key))]
  if not values:
    raise ValueError(f'rows: no row has {key!r}.')
  looks = lines.looks(rows)
  chosen = [
    (over, other, _even({row[other.key] for row in rows}))
    for over, other in ((_SAMPLES, _CLASS), (_CLASS, _SAMPLES))
  ]
  across = max(len(fixed) for _, _, fixed in chosen)
  width = min(palette.WIDTH, 1.2 + 2.4 * across)
  figure = Figure((width, 4.1), layout='constrained')
  figure.get_layout_engine().set(hspace=0.08)
  figure.suptitle(title, x=0.01, ha='left', weight='bold', fontsize=9.5)
  grid = figure.subplots(2, across, squeeze=False)
  for panels, (over, other, fixed) in zip(grid, chosen):
    for axes, value in zip(panels, fixed):
      shown = [row for row in rows if row[other.key] == value]
      _panel(axes, shown, looks, over, key, values)
      axes.set_title(_at(other, value), loc='left')
      axes.tick_params(labelleft=axes is panels[0])
    panels[0].set_ylabel(_METRICS[key][1])
    for axes in panels[len(fixed) :]:
      axes.remove()
  lines.legend(figure, looks)
  return figure


def _panel(
  axes: Axes,
  rows: Sequence[lines.Row],
  looks: lines.Looks,
  over: _Over,
  key: str,
  values: Sequence[float | None],
) -> None:
  """Draws one panel; `values` are those of all panels on its scale."""
  lines.draw(axes, rows, looks, over.key, lambda row: 100 * row[over.key], key)
  axes.set_xlabel(f'{over.name} {over.symbol}, %')
  axes.xaxis.set_major_locator(MaxNLocator(5, steps=(1, 2, 10)))
  # Of all rows: a panel with one measured point has the others' axis.
  places = [100 * row[over.key] for row in rows]
  if min(places) < max(places):
    margin = 0.05 * (max(places) - min(places))
    axes.set_xlim(min(places) - margin, max(places) + margin)
  lines.share_axis(axes, '', lines.top(values))
  if key == 'firing_sparsity':
    shares = [100 * value for value in values if finite(value)]
    palette.spread_near_100(axes, 'y', shares)


def _by(rows: Sequence[lines.Row], by: str) -> list[lines.Row]:
  if not rows:
    raise ValueError('rows is empty: measure the transfer first.')
  arguments.rows('rows', rows, ['method', 'by'], [_SAMPLES.key, _CLASS.key])
  kept = [row for row in rows if row['by'] == by]
  if not kept:
    legal = sorted({row['by'] for row in rows})
    raise ValueError(
      f'by={by!r}: no row has it; choose one of {", ".join(map(repr, legal))}.'
    )
  return kept


def _measured(rows: Sequence[lines.Row], what: _Over, value: float) -> float:
  legal = sorted({row[what.key] for row in rows})
  if not any(_same(value, other) for other in legal):
    raise ValueError(
      f'{what.key}={value:g} was not measured; choose one of '
      f'{", ".join(f"{other:g}" for other in legal)}.'
    )
  return value


def _same(one: float, other: float) -> bool:
  return math.isclose(one, other, abs_tol=1e-6)


def _at(fixed: _Over, value: float) -> str:
  return f'{fixed.symbol} = {100 * value:.4g} %'


def _even(values: set[float]) -> list[float]:
  """Returns at most `_ACROSS` of the values, in order, with both ends."""
  ordered = sorted(values)
  count = min(len(ordered), _ACROSS)
  places = np.linspace(0, len(ordered) - 1, count).round().astype(int)
  return [ordered[place] for place in places]

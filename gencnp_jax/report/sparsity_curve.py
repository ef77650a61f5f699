"""Every metric over firing sparsity, a line a method."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from gencnp_jax import arguments
from gencnp_jax.arguments import finite
from gencnp_jax.report import lines, palette
from gencnp_jax.report.comparison import curve_columns


@palette.styled
def sparsity_curve(
  rows: Sequence[Mapping[str, Any]],
  own: Sequence[Mapping[str, Any]] = (),
  keys: Sequence[str] = (),
) -> Figure:
  """Draws the metrics of the curve as small multiples.

  Sparsities stand at equal distances: the interesting ones crowd below 100 %.

  Args:
    rows: one mapping a method and sparsity, with 'method', 'cut' (the sparsity)
      and the metrics of `report.comparison.CURVE`, shares in [0, 1].
    own: rows of methods that choose the sparsity of an image themselves: marked
      by a ring at their mean firing sparsity.
    keys: of the metrics that are drawn; empty for all.

  Returns:
    A figure with a panel for each metric that was measured.

  Raises:
    ValueError: no row, or none with a metric.
  """
  if not rows:
    raise ValueError('rows is empty: measure with `sparsities=` first.')
  looks = lines.looks(rows)
  cuts = lines.cuts(rows)
  arguments.rows('own', own, ['method'], ['firing_sparsity'])
  shown = [
    column
    for column in curve_columns(keys)
    if any(finite(row.get(column.key)) for row in rows)
  ]
  if not shown:
    raise ValueError(
      'rows: no row has one of '
      f'{", ".join(column.key for column in curve_columns(keys))}.'
    )
  few = len(shown) < 4  # Large ones, and the legend beside.
  across = len(shown) if few else 4
  down = -(-len(shown) // across)
  height = 2.8 if few else 2.0 * down
  figure = Figure((palette.WIDTH, height), layout='constrained')
  panels = list(figure.subplots(down, across, squeeze=False).flat)
  for axes, column in zip(panels, shown):
    axes.set_title(lines.heading(column))
    lines.draw(
      axes, rows, looks, 'cut', lambda row: cuts.index(row['cut']), column.key
    )
    for row in own:
      if finite(row.get(column.key)):
        axes.plot(
          _place(row['firing_sparsity'], cuts),
          100 * row[column.key],
          'o',
          ms=8,
          mfc='none',
          mew=1.4,
          clip_on=False,
          color=looks.get(row['method'], {}).get('color', palette.INK),
        )
    lines.cut_axis(axes, cuts)
    lines.share_axis(axes)
  for axes in panels[len(shown) :]:
    axes.remove()
  place = {}  # Below, unless panels leave it a place.
  if few:
    place = {'loc': 'outside right center'}
  elif len(shown) < len(panels):
    place = {'loc': 'lower right', 'bbox_to_anchor': (0.99, 0.06)}
  legend = lines.legend(figure, looks, **place)
  if own:
    legend.set_title('○ its own sparsity')
  return figure


def _place(sparsity: float, cuts: Sequence[float]) -> float:
  """Returns where a sparsity lies between the equally spaced ones."""
  for i, (low, high) in enumerate(itertools.pairwise(cuts)):
    if sparsity <= high:
      return max(i + (sparsity - low) / (high - low), -0.3)
  return len(cuts) - 1 + 0.3 * (sparsity > cuts[-1])

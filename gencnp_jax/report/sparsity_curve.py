"""Every metric over firing sparsity, a line a method."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from gencnp_jax.report import palette
from gencnp_jax.report.column import ARROWS
from gencnp_jax.report.comparison import CURVE
from gencnp_jax.report.curves import finite


@palette.styled
def sparsity_curve(
  rows: Sequence[Mapping[str, Any]],
  own: Sequence[Mapping[str, Any]] = (),
) -> Figure:
  """Draws the metrics of the curve as small multiples.

  Sparsities stand at equal distances: the interesting ones crowd below 100 %.

  Args:
    rows: one mapping a method and sparsity, with 'method', 'cut' (the sparsity)
      and the metrics of `report.comparison.CURVE`, shares in [0, 1].
    own: rows of methods that choose the sparsity of an image themselves: marked
      by a ring at their mean firing sparsity.

  Returns:
    A figure with a panel for each metric that was measured.

  Raises:
    ValueError: no row.
  """
  if not rows:
    raise ValueError('rows is empty: measure with `sparsities=` first.')
  cuts = sorted({row['cut'] for row in rows})
  methods = list(dict.fromkeys(row['method'] for row in rows))
  colors = dict(zip(methods, palette.method_colors(methods)))
  shown = [
    column
    for column in CURVE
    if any(finite(row.get(column.key)) for row in rows)
  ]
  across = 4
  down = -(-(len(shown) + 1) // across)  # One panel's place for the legend.
  figure = Figure((palette.WIDTH, 2.0 * down), layout='constrained')
  panels = list(figure.subplots(down, across, squeeze=False).flat)
  lines = []
  for axes, column in zip(panels, shown):
    axes.set_title(f'{column.title} {ARROWS[column.direction]}'.strip())
    for method in methods:
      points = {
        row['cut']: row[column.key]
        for row in rows
        if row['method'] == method and finite(row.get(column.key))
      }
      xs = [cuts.index(cut) for cut in sorted(points)]
      ys = [100 * points[cut] for cut in sorted(points)]
      (line,) = axes.plot(
        xs,
        ys,
        color=colors[method],
        marker='o',
        markersize=2.6,
        lw=1.8 if method == 'GEN-CNP' else 1.1,
        ls='--' if method == 'Random' else '-',
        label=method,
      )
      if column is shown[0]:
        lines.append(line)
    for row in own:
      if finite(row.get(column.key)):
        axes.plot(
          _place(row['firing_sparsity'], cuts),
          100 * row[column.key],
          'o',
          ms=8,
          mfc='none',
          mew=1.4,
          color=colors.get(row['method'], palette.INK),
        )
    axes.set_xticks(range(len(cuts)), [f'{100 * cut:g}' for cut in cuts])
    axes.set_xlabel('firing sparsity, %')
    axes.set_ylabel('%')
    axes.set_ylim(-4, 104)
    axes.grid(axis='y')
  for axes in panels[len(shown) :]:
    axes.remove()
  figure.legend(
    handles=lines,
    loc='lower right',
    bbox_to_anchor=(0.99, 0.06),
    title='○ its own sparsity' if own else None,
  )
  return figure


def _place(sparsity: float, cuts: Sequence[float]) -> float:
  """Returns where a sparsity lies between the equally spaced ones."""
  for i, (low, high) in enumerate(itertools.pairwise(cuts)):
    if sparsity <= high:
      return max(i + (sparsity - low) / (high - low), -0.3)
  return len(cuts) - 1 + 0.3 * (sparsity > cuts[-1])

"""Does the mask carry the answer? The leaks over firing sparsity."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from gencnp_jax import arguments
from gencnp_jax.arguments import finite
from gencnp_jax.report import lines, palette
from gencnp_jax.report.column import Column
from gencnp_jax.report.comparison import CURVE

_OF_CURVE = {column.key: column for column in CURVE}
_SHOWN = (
  _OF_CURVE['agreement'],
  _OF_CURVE['swap'],
  Column('blank', 'Blank leak', 'lower'),
  _OF_CURVE['disconnected'],
)


@palette.styled
def leakage_curves(rows: Sequence[Mapping[str, Any]]) -> Figure:
  """Draws agreement and leaks over firing sparsity, a row of panels a setting.

  Sparsities stand at equal distances, as in `sparsity_curve`.

  Args:
    rows: one mapping a method, setting and sparsity: 'method', 'setting' (such
      as 'off = mean'), 'cut' (the sparsity) and any of 'agreement', 'swap',
      'blank' and 'disconnected', shares in [0, 1].

  Returns:
    A figure with a column of panels for each metric that was measured.

  Raises:
    ValueError: no row, or none with a metric.
  """
  looks = lines.looks(rows)
  shown = [
    column
    for column in _SHOWN
    if any(finite(row.get(column.key)) for row in rows)
  ]
  if not shown:
    raise ValueError(
      f'rows: no row has one of {", ".join(column.key for column in _SHOWN)}.'
    )
  settings = _settings(rows)
  cuts = lines.cuts(rows)
  width = palette.WIDTH * (0.1 + 0.9 * len(shown) / len(_SHOWN))
  figure = Figure((width, 2.05 * len(settings) + 0.1), layout='constrained')
  figure.get_layout_engine().set(hspace=0.06)
  grid = figure.subplots(len(settings), len(shown), squeeze=False)
  for panels, setting in zip(grid, settings):
    own = [row for row in rows if row['setting'] == setting]
    for axes, column in zip(panels, shown):
      axes.set_title(lines.heading(column))
      lines.draw(
        axes, own, looks, 'cut', lambda row: cuts.index(row['cut']), column.key
      )
      lines.cut_axis(axes, cuts)
      # A panel without lines keeps its place: the sparsities are the same.
      axes.set_xlim(-0.3, len(cuts) - 0.7)
      lines.share_axis(axes)
    panels[0].annotate(
      setting,
      (0, 0.5),
      (-34, 0),
      xycoords='axes fraction',
      textcoords='offset points',
      rotation=90,
      ha='right',
      va='center',
      weight='bold',
      fontsize=8.5,
    )
  lines.legend(figure, looks)
  return figure


@palette.styled
def leakage_tradeoff(rows: Sequence[Mapping[str, Any]]) -> Figure:
  """Draws agreement against swap leakage, a panel a setting.

  The line of a method goes through its sparsities, named where there is room;
  its large mark is the sparsest. Top left is good: the pathway says what the
  target says, and nothing to another image.

  Args:
    rows: as for `leakage_curves`.

  Returns:
    A figure with a panel for each setting in which both were measured.

  Raises:
    ValueError: no row, or none with 'agreement' and 'swap'.
  """
  looks = lines.looks(rows)
  rows = [
    row
    for row in rows
    if finite(row.get('agreement')) and finite(row.get('swap'))
  ]
  if not rows:
    raise ValueError("rows: no row has both 'agreement' and 'swap'.")
  settings = _settings(rows)
  cuts = lines.cuts(rows)
  width = palette.WIDTH * (1 if len(settings) > 1 else 0.7)
  figure = Figure((width, 3.9), layout='constrained')
  panels = figure.subplots(1, len(settings), squeeze=False)[0]
  for axes, setting in zip(panels, settings):
    own = [row for row in rows if row['setting'] == setting]
    lines.draw(
      axes, own, looks, 'cut', lambda row: 100 * row['swap'], 'agreement'
    )
    for line in axes.get_lines():
      line.set(markevery=slice(None, -1) if len(line.get_xdata()) > 1 else None)
      (x, y) = line.get_xydata()[-1]
      axes.plot(
        x,
        y,
        marker=line.get_marker(),
        ms=6.5,
        mfc=line.get_markerfacecolor(),
        color=line.get_color(),
        zorder=line.get_zorder(),
      )
    _name_points(axes, own, looks)
    axes.set_title(setting)
    axes.set_xlabel('swap leak ↓, % of pairs of images')
    axes.set_xlim(-4, 104)
    axes.grid(axis='x')
    lines.share_axis(axes, 'agreement ↑, % of images')
    # Above 100 %, where nothing can lie.
    axes.set_ylim(-4, 114)
    axes.set_yticks(range(0, 101, 20))
    axes.text(
      0.01,
      0.99,
      '↖ good: faithful, and the mask says nothing by itself',
      transform=axes.transAxes,
      va='top',
      fontsize=7.5,
      color=palette.QUIET,
    )
  title = f'firing sparsity from {100 * min(cuts):g} to {100 * max(cuts):g} %'
  legend = lines.legend(figure, looks)
  legend.set_title(
    f'Along a line: {title}, as written; large mark: the sparsest'
  )
  return figure


def _name_points(axes, rows, looks):
  """Writes the sparsity of points, those of the first method first."""
  named = []
  for row in sorted(rows, key=lambda row: list(looks).index(row['method'])):
    x, y = 100 * row['swap'], 100 * row['agreement']
    if any(abs(x - a) < 5 and abs(y - b) < 4 for a, b in named):
      continue
    named.append((x, y))
    axes.annotate(
      f'{100 * row["cut"]:g}',
      (x, y),
      (3, 4),
      textcoords='offset points',
      fontsize=6.5,
      color=looks[row['method']]['color'],
    )


def _settings(rows: Sequence[lines.Row]) -> list[str]:
  arguments.rows('rows', rows, said=['setting'])
  return list(dict.fromkeys(row['setting'] for row in rows))

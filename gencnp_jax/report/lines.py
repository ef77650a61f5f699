"""Lines of methods: how each looks, and the one legend of a figure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from gencnp_jax import arguments
from gencnp_jax.arguments import finite
from gencnp_jax.report import palette
from gencnp_jax.report.column import ARROWS, Column

Row = Mapping[str, Any]
Looks = Mapping[str, Mapping[str, Any]]
# Variants of a method share its colour: open marks and dashes part them.
VARIANTS = (
  {'marker': 's', 'markersize': 4, 'mfc': 'white', 'ls': (0, (5, 1.6))},
  {'marker': '^', 'markersize': 4.6, 'mfc': 'white', 'ls': (0, (1.2, 1.2))},
  {'marker': 'D', 'markersize': 3.8, 'mfc': 'white', 'ls': '-.'},
)


def looks(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
  """Returns how the line of each method looks, methods as they first come.

  Args:
    rows: mappings with 'method'.

  Raises:
    ValueError: no row, or one without the name of a method.
  """
  arguments.rows('rows', rows, said=['method'])
  if not rows:
    raise ValueError('rows is empty: there is nothing to draw.')
  methods = list(dict.fromkeys(row['method'] for row in rows))
  result = {}
  for method, color in zip(methods, palette.method_colors(methods)):
    name = palette.known(method)
    look = {
      'color': color,
      'marker': 'o',
      'markersize': 2.6,
      'lw': 1.8 if name == 'gencnp' else 1.1,
      'ls': '--' if name == 'random' else '-',
      'zorder': 2.5 if name == 'gencnp' else 2,
    }
    # The plain method has the shortest name: 'GEN-CNP', 'GEN-CNP, swap term'.
    same = [m for m in methods if name and palette.known(m) == name]
    rank = sorted(same, key=len).index(method) if same else 0
    if rank:
      look |= {'lw': 1.3, **VARIANTS[(rank - 1) % len(VARIANTS)]}
    result[method] = look
  return result


def draw(
  axes: Axes,
  rows: Sequence[Row],
  looks: Looks,
  order: str,
  x: Callable[[Row], float],
  key: str,
) -> None:
  """Draws a metric in percent, a line a method; what is missing is left out.

  Args:
    axes: where to draw.
    rows: mappings with 'method', the key `order`, and `key`, a share in [0, 1].
      Where a method has two rows for one value of `order`, the later counts.
    looks: the methods to draw, as `looks` returns them.
    order: key of the value that goes up along a line.
    x: gives the place of a row.
    key: of the metric.
  """
  for method, look in looks.items():
    points = {
      row[order]: (x(row), 100 * row[key])
      for row in rows
      if row['method'] == method and finite(row.get(key))
    }
    if points:
      xs, ys = zip(*(points[value] for value in sorted(points)))
      axes.plot(xs, ys, label=method, **look)


def cuts(rows: Sequence[Row]) -> list[float]:
  """Returns the sparsities of rows, in order.

  Raises:
    ValueError: a row without a 'cut', or one that is no number.
  """
  arguments.rows('rows', rows, measured=['cut'])
  return sorted({row['cut'] for row in rows})


def cut_axis(axes: Axes, cuts: Sequence[float]) -> None:
  """Puts sparsities at equal distances: the interesting ones crowd at 100 %."""
  axes.set_xticks(range(len(cuts)), [f'{100 * cut:g}' for cut in cuts])
  axes.set_xlabel('firing sparsity, %')


def share_axis(axes: Axes, label: str = '%', top: float = 100) -> None:
  """Makes the upright axis one of percentages from 0 to `top`."""
  axes.set_ylabel(label)
  axes.set_ylim(-0.04 * top, 1.04 * top)
  axes.grid(axis='y')


def top(values: Sequence[float | None]) -> float:
  """Returns where an upright axis of these shares ends, in percent.

  100, unless a third or more of it would stay empty: differences count then.
  """
  largest = 100 * max(filter(finite, values), default=1)
  return 100 if largest > 67 else max(1.1 * largest, 5)


def heading(column: Column) -> str:
  """The title of a metric with the arrow towards better."""
  return f'{column.title} {ARROWS[column.direction]}'.strip()


def legend(figure: Figure, looks: Looks, **place: Any) -> Legend:
  """Names the methods: at `place`, or below the panels.

  Below them the figure grows by the names, so that the panels do not shrink.
  """
  handles = [Line2D([], [], label=name, **look) for name, look in looks.items()]
  if not place:
    # Rows of equal length, as many names in each as fit the width.
    wide = 0.5 + 0.065 * max(map(len, looks))
    fit = max(1, int(0.97 * figure.get_figwidth() / wide))
    rows = -(-len(looks) // fit)
    columns = -(-len(looks) // rows)
    place = {
      'loc': 'outside lower center',
      'ncols': columns,
      'borderaxespad': 0.2,
    }
    figure.set_figheight(figure.get_figheight() + 0.18 * rows)
  return figure.legend(handles=handles, **place)

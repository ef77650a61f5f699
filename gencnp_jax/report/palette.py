"""The look of all plots: colours, type and quiet axes.

The hues are Okabe and Ito's, which colour-blind readers can tell apart. A
method has the same colour in every plot.
"""

import functools
from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.scale import FuncScale

# Ten hues for classes, ordered so that any first few differ most, to colour-
# blind readers too (Petroff, "Accessible Color Sequences for Data
# Visualization", 2021).
CLASSES = (
  '#3f90da',
  '#ffa90e',
  '#bd1f01',
  '#94a4a2',
  '#832db6',
  '#a96b59',
  '#e76300',
  '#b9ac70',
  '#717581',
  '#92dadd',
)
# Marks of an axis that is spread near 100 %, the more important first.
_MARKS = (100, 99, 90, 50, 99.9, 99.99, 0, 95, 80, 98, 99.5, 99.8, 99.95, 70)
WIDTH = 9.6  # of a full figure, in inches
INK, QUIET, RULE = '#222222', '#6b6b6b', '#dcdcdc'
BLUE, ORANGE, AMBER = '#0072b2', '#d55e00', '#e69f00'
METHODS = {
  'gencnp': BLUE,
  'neuronmct': ORANGE,
  'neuronintgrad': AMBER,
  'originalactivation': '#009e73',
  'dgrr': '#882255',
  'dgr': '#cc79a7',
  'greedy': '#56b4e9',
  'random': '#8c8c8c',
}
STYLE = {
  'font.family': 'DejaVu Sans',  # comes with matplotlib
  'font.size': 8,
  'axes.titlesize': 8.5,
  'axes.titleweight': 'bold',
  'axes.titlelocation': 'left',
  'axes.titlecolor': INK,
  'axes.labelsize': 8,
  'axes.labelcolor': QUIET,
  'axes.edgecolor': '#9a9a9a',
  'axes.linewidth': 0.6,
  'axes.spines.top': False,
  'axes.spines.right': False,
  'xtick.color': '#9a9a9a',
  'ytick.color': '#9a9a9a',
  'xtick.labelcolor': QUIET,
  'ytick.labelcolor': QUIET,
  'xtick.labelsize': 7.5,
  'ytick.labelsize': 7.5,
  'xtick.major.width': 0.6,
  'ytick.major.width': 0.6,
  'xtick.major.size': 3,
  'ytick.major.size': 3,
  'text.color': INK,
  'grid.color': RULE,
  'grid.linewidth': 0.5,
  'legend.frameon': False,
  'legend.fontsize': 8,
  'legend.labelcolor': INK,
  'figure.facecolor': 'white',
  'figure.dpi': 100,
}


def styled(plot):
  """Runs a plot function under `STYLE` and puts the caller's style back."""

  @functools.wraps(plot)
  def wrapper(*args, **kwargs):
    with matplotlib.rc_context(STYLE):
      return plot(*args, **kwargs)

  return wrapper


def method_colors(methods: list[str]) -> list[str]:
  """A colour for each method.

  Spelling, case and what follows a known name do not matter: 'GEN-CNP, swap
  term' is GEN-CNP. Unknown methods take, in order, the colours left over.

  Args:
    methods: names as they stand in a table.

  Returns:
    Hexadecimal colours in the order of `methods`.
  """
  own = [METHODS.get(known(method)) for method in methods]
  spare = [c for c in METHODS.values() if c not in own] or [INK]
  unknown = [m for m, color in zip(methods, own) if color is None]
  return [
    color or spare[unknown.index(method) % len(spare)]
    for method, color in zip(methods, own)
  ]


def known(method: str) -> str | None:
  """The key of `METHODS` that a name begins with; None for an unknown one."""
  letters = ''.join(filter(str.isalnum, method.lower()))
  # The longest names first: DGR_R is not DGR.
  return max(filter(letters.startswith, METHODS), key=len, default=None)


def bare(axes: Axes) -> None:
  """Takes spines, ticks and tick labels off an axes."""
  axes.spines[:].set_visible(False)
  axes.set(xticks=[], yticks=[])


def spread_near_100(
  axes: Axes, direction: str, values: Sequence[float]
) -> None:
  """Spreads an axis of percentages: 90, 99 and 99.9 are equally far apart.

  Args:
    axes: the axes.
    direction: 'x' or 'y'.
    values: what is drawn, in percent, 100 included; sets the limits.
  """
  values = np.asarray(values, float)
  if not values.size:
    return
  gaps = 100 - values[values < 100 - 1e-9]
  # Like a symmetric logarithm: finite at 100, a step past the closest value.
  step = np.clip(gaps.min(initial=10) / 2, 1e-3, 5)

  def forward(value):
    return -np.log10(np.maximum(100 + step - np.asarray(value), 1e-12))

  def inverse(place):
    return 100 + step - 10.0 ** -np.asarray(place)

  low, high = forward(values.min()), forward(values.max())
  margin = 0.05 * max(high - low, 0.2)
  low, high = low - margin, high + margin
  ticks = []
  for mark in _MARKS:
    apart = np.abs(forward(np.asarray(ticks, float)) - forward(mark))
    if low <= forward(mark) <= high and (apart > 0.09 * (high - low)).all():
      ticks.append(mark)
  axis = {'x': axes.xaxis, 'y': axes.yaxis}[direction]
  settings = {
    'scale': FuncScale(axis, (forward, inverse)),
    'lim': inverse([low, high]),
    'ticks': ticks,
    'ticklabels': [f'{tick:g}' for tick in ticks],
  }
  axes.set(**{direction + name: value for name, value in settings.items()})

"""The look of all plots: colours, type and quiet axes.

The hues are Okabe and Ito's, which colour-blind readers can tell apart. A
method has the same colour in every plot.
"""

import functools

import matplotlib
from matplotlib.axes import Axes

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
  known = []
  for method in methods:
    letters = ''.join(filter(str.isalnum, method.lower()))
    # The longest names first: DGR_R is not DGR.
    names = [n for n in METHODS if letters.startswith(n)]
    known.append(METHODS[max(names, key=len)] if names else None)
  spare = [c for c in METHODS.values() if c not in known] or [INK]
  unknown = [m for m, color in zip(methods, known) if color is None]
  return [
    color or spare[unknown.index(method) % len(spare)]
    for method, color in zip(methods, known)
  ]


def bare(axes: Axes) -> None:
  """Takes spines, ticks and tick labels off an axes."""
  axes.spines[:].set_visible(False)
  axes.set(xticks=[], yticks=[])

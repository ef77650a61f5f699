"""A figure on which everything is placed by hand, in inches from the top left.

Layout engines misplace rows of panels of a fixed aspect.
"""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from gencnp_jax.report import palette


class Sheet:
  """A figure of a size in inches.

  Attributes:
    figure: the figure.
    width: of the figure, in inches.
    height: likewise.
  """

  def __init__(self, width: float, height: float):
    self.width, self.height = width, height
    self.figure = Figure((width, height))

  def axes(self, left: float, top: float, across: float, down: float) -> Axes:
    """Adds axes.

    Args:
      left: from the left edge of the figure, in inches.
      top: from its top edge.
      across: the width.
      down: the height.
    """
    box = (left, self.height - top - down, across, down)
    sizes = (self.width, self.height, self.width, self.height)
    return self.figure.add_axes([x / size for x, size in zip(box, sizes)])

  def bare(self, left: float, top: float, across: float, down: float) -> Axes:
    """Adds axes without spines and ticks; see `axes`."""
    axes = self.axes(left, top, across, down)
    palette.bare(axes)
    return axes

  def write(self, left: float, top: float, text: str, **style) -> Text:
    """Writes text.

    Args:
      left: from the left edge of the figure, in inches.
      top: of the text's top (or what `va` says) from the figure's.
      text: what is written.
      **style: of `matplotlib.text.Text`.
    """
    place = (left / self.width, 1 - top / self.height)
    return self.figure.text(*place, text, **{'va': 'top', **style})

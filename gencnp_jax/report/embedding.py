"""Embeddings of features and of importance scores (paper, Fig. 4)."""

import textwrap
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Integer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gencnp_jax.report import palette

SIDE = 1.85  # of a panel at most, with the gap after it, in inches
LEFT, HEAD, GAP = 0.4, 0.24, 0.05  # inches


@palette.styled
def embeddings(
  features: Float[np.ndarray, 'layers n 2'],
  importance: Float[np.ndarray, 'layers n 2'],
  labels: Integer[np.ndarray, ' n'],
  class_names: Sequence[str],
  layer_names: Sequence[str],
  captions: Sequence[str],
) -> Figure:
  """Draws how images group by class, layer by layer, in two dimensions.

  Args:
    features: float `[layers, n, 2]`, such as t-SNE coordinates of the target's
      activations; only distances within a panel count.
    importance: float `[layers, n, 2]`, those of the importance scores.
    labels: int `[n]`, the class of each image.
    class_names: names of all classes. Of more than ten, the images of the first
      ten are drawn, and the figure says so.
    layer_names: one a layer.
    captions: what stands below each layer, such as its variances.

  Returns:
    A figure of two rows: features above, importance scores below.

  Raises:
    ValueError: no image of the classes shown, a label without a name, or
      shapes that do not agree.
  """
  features, importance = np.asarray(features), np.asarray(importance)
  labels, layers = np.asarray(labels), len(layer_names)
  shape = (layers, len(labels), 2)
  if features.shape != shape or importance.shape != shape:
    raise ValueError(
      f'features {features.shape} and importance {importance.shape} must both '
      f'be [layers, images, 2], here {shape}.'
    )
  if len(captions) != layers:
    raise ValueError(f'captions: {len(captions)} for {layers} layers.')
  if labels.size and not 0 <= labels.min() <= labels.max() < len(class_names):
    raise ValueError(
      f'labels run from {labels.min()} to {labels.max()}; there are '
      f'{len(class_names)} class names.'
    )
  names = list(class_names)[: len(palette.CLASSES)]
  shown = labels < len(names)
  if not layers or not shown.any():
    raise ValueError('There is no image of the classes shown, or no layer.')

  # Set by hand: layout engines cut the titles of panels of a fixed aspect.
  side = min(SIDE, (palette.WIDTH - LEFT) / layers)
  width = max(LEFT + side * layers, 2.5)
  captions = [textwrap.fill(text, int(side / 0.062)) for text in captions]
  lines = max(text.count('\n') + 1 for text in captions)
  wide = 0.35 + 0.065 * max(map(len, names))
  named = -(-len(names) // max(1, int(0.97 * width / wide)))  # rows of names
  foot = 0.1 + 0.14 * lines + 0.18 * (named + (len(class_names) > len(names)))
  height = HEAD + 2 * side + foot
  figure = Figure((width, height))
  left = LEFT + (width - LEFT - layers * side) / 2
  grid = np.empty((2, layers), object)
  for row, points in enumerate((features, importance)):
    for column, layer in enumerate(points):
      corner = left + column * side, foot + (1 - row) * side
      box = np.array([*corner, side - GAP, side - GAP])
      axes = figure.add_axes(box / (width, height, width, height))
      _scatter(axes, layer[shown], labels[shown], side)
      grid[row, column] = axes
  for axes, name in zip(grid[0], layer_names):
    axes.set_title(name, loc='center', pad=4)
  for axes, caption in zip(grid[1], captions):
    axes.set_xlabel(caption, fontsize=7.5)
  grid[0, 0].set_ylabel('original\nfeatures', color=palette.INK)
  grid[1, 0].set_ylabel('importance\nscores', color=palette.INK)
  _legend(figure, names, len(class_names), -(-len(names) // named))
  return figure


def _legend(figure: Figure, names: Sequence[str], classes: int, columns: int):
  """Names the colours, and says so where classes are left out."""
  marks = [
    Line2D([], [], ls='', marker='o', ms=5, color=color, label=name)
    for name, color in zip(names, palette.CLASSES)
  ]
  left_out = len(names) < classes
  figure.legend(
    handles=marks,
    loc='lower center',
    ncols=columns,
    handletextpad=0.1,
    columnspacing=1.2,
    borderaxespad=0.1,
    title=f'The first {len(names)} of {classes} classes' if left_out else None,
  )


def _scatter(
  axes: Axes, points: np.ndarray, labels: np.ndarray, side: float
) -> None:
  """Draws one panel, with the same scale in both directions."""
  # In no order, so that no class lies over the others.
  order = np.random.default_rng(0).permutation(len(points))
  size = np.clip(9000 / len(points), 1.5, 9) * (side / SIDE) ** 2
  axes.scatter(
    *points[order].T,
    c=np.asarray(palette.CLASSES)[labels[order]],
    s=float(size),
    linewidths=0,
    rasterized=True,  # Thousands of points make an SVG large.
  )
  low, high = points.min(0), points.max(0)
  reach = 0.53 * max((high - low).max(), 1e-6)
  for limits, middle in zip((axes.set_xlim, axes.set_ylim), (low + high) / 2):
    limits(middle - reach, middle + reach)
  axes.set(xticks=[], yticks=[])
  axes.spines[:].set(visible=True, color=palette.RULE)

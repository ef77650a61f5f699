"""Example images, and where their pathways fire."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from gencnp_jax.report import palette

CELL, GAP, WORDS, HEAD, FOOT = 1.2, 0.09, 1.4, 0.42, 0.56  # inches
STRIP = 64  # cells of the strip that shows a fully connected layer


@palette.styled
def examples(
  images: UInt8[np.ndarray, 'k h w 3'],
  masks: Sequence[Bool[np.ndarray, 'k ...']],
  logits: Float[np.ndarray, 'k classes'],
  pathway_logits: Float[np.ndarray, 'k classes'],
  class_names: Sequence[str],
) -> Figure:
  """Draws images, and beside each where its pathway fires in every layer.

  A map shows the share of channels that are on at each position, all maps on
  one colour scale; a fully connected layer is a strip, dark where neurons are
  on.

  Args:
    images: the images to show, one a row; about six are legible.
    masks: a pathway's masks, `[k, h_i, w_i, c_i]` or `[k, c_i]` each.
    logits: the target's logits.
    pathway_logits: its logits with the pathway alone.
    class_names: names of all classes.

  Returns:
    A figure with a row for each image.

  Raises:
    ValueError: there is no image, or the arrays differ in length.
  """
  images, masks = np.asarray(images), [np.asarray(mask) for mask in masks]
  lengths = [len(x) for x in (images, logits, pathway_logits, *masks)]
  if not lengths[0] or len(set(lengths)) > 1:
    raise ValueError(
      'images, logits, pathway_logits and masks must have the same number of '
      f'rows, at least one; got {lengths}.'
    )
  k, layers = len(images), len(masks)
  on = sum(mask.reshape(k, -1).sum(1) for mask in masks)
  off_share = 1 - on / sum(mask[0].size for mask in masks)
  before, after = _softmax(logits), _softmax(pathway_logits)
  maps = [100 * m.mean(-1) if m.ndim == 4 else _strip(m) for m in masks]
  top = max([m.max() for m in maps if m.ndim == 3], default=0) or 1
  # Set by hand: layout engines misplace rows of panels of a fixed aspect.
  width = WORDS + (1 + layers) * (CELL + GAP)
  height = HEAD + k * (CELL + GAP) + FOOT
  figure = Figure((width, height))

  def place(left, top, across, down):
    box = (left, height - top - down, across, down)
    sizes = (width, height, width, height)
    return figure.add_axes([x / size for x, size in zip(box, sizes)])

  for row in range(k):
    top_edge = HEAD + row * (CELL + GAP)
    words = place(0, top_edge, WORDS, CELL)
    picture, *panels = (
      place(WORDS + i * (CELL + GAP), top_edge, CELL, CELL)
      for i in range(1 + layers)
    )
    if row == 0:
      _headings(panels, masks)
    for axes in (words, picture, *panels):
      palette.bare(axes)
    _caption(words, before[row], after[row], off_share[row], class_names)
    picture.imshow(images[row], interpolation='nearest')
    for axes, mask, layer in zip(panels, masks, maps):
      if mask.ndim == 4:
        shown = axes.imshow(
          layer[row], cmap='viridis', vmin=0, vmax=top, interpolation='nearest'
        )
      else:
        axes.imshow(
          layer[row][None],
          cmap='Greys',
          vmin=0,
          vmax=1,
          interpolation='nearest',
          extent=(0, 1, 0.38, 0.62),
        )
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect='equal')
  if any(mask.ndim == 4 for mask in masks):
    left = WORDS + CELL + GAP
    bar = place(left, height - FOOT + 0.08, min(3.5, width - left - GAP), 0.07)
    bar = figure.colorbar(shown, cax=bar, orientation='horizontal')
    bar.outline.set_visible(False)
    bar.locator = MaxNLocator(4)
    bar.set_label('channels on at a position, %', loc='left')
  return figure


def _headings(panels, masks):
  """Names the layers, with their shapes, above the first row."""
  for i, (axes, mask) in enumerate(zip(panels, masks)):
    axes.set_title(f'ReLU {i + 1}', loc='center', pad=14)
    axes.annotate(
      '×'.join(map(str, mask.shape[1:])),
      (0.5, 1),
      (0, 4),
      xycoords='axes fraction',
      textcoords='offset points',
      ha='center',
      fontsize=6.5,
      color=palette.QUIET,
    )


def _caption(axes, before, after, off_share, class_names):
  """Writes prediction and probability without -> with the pathway."""
  first, second = before.argmax(), after.argmax()
  change, color = f'{100 * after[second]:.0f} %', palette.INK
  if first != second:
    change = f'{_short(class_names[second], 10)} {change}'
    color = palette.ORANGE
  lines = (
    (_short(class_names[first], 14), 9, 'bold', palette.INK),
    (f'{100 * before[first]:.0f} → {change}', 8, 'normal', color),
    (f'{100 * off_share:.1f} % off', 7.5, 'normal', palette.QUIET),
  )
  for y, (text, size, weight, color) in zip((0.74, 0.51, 0.3), lines):
    style = {'fontsize': size, 'weight': weight, 'color': color}
    axes.text(0, y, text, va='center', **style)


def _short(name, length):
  return name if len(name) <= length else name[: length - 1] + '…'


def _softmax(logits):
  logits = np.asarray(logits, np.float64)
  weights = np.exp(logits - logits.max(1, keepdims=True))
  return weights / weights.sum(1, keepdims=True)


def _strip(mask):
  """Share on in at most `STRIP` groups of neighbours, `[k, groups]`."""
  groups = np.array_split(mask, min(STRIP, mask.shape[1]), axis=1)
  return np.stack([group.mean(1) for group in groups], 1)

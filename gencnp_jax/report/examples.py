"""Example images, and where their pathways fire."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, UInt8
from matplotlib.figure import Figure

from gencnp_jax.report import palette

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
  figure = Figure((2.85 + 1.3 * layers, 1.27 * k + 0.85), layout='constrained')
  figure.get_layout_engine().set(wspace=0.02, hspace=0.02, w_pad=0.03)
  grid = figure.subplots(
    k, 2 + layers, squeeze=False, width_ratios=[1.2] + [1] * (1 + layers)
  )
  for row, (words, picture, *panels) in enumerate(grid):
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
          aspect='auto',
        )
        axes.set_box_aspect(0.3)
  for i, (axes, mask) in enumerate(zip(grid[0, 2:], masks)):
    shape = '×'.join(map(str, mask.shape[1:]))
    axes.set_title(f'ReLU {i + 1}\n', loc='center')
    axes.annotate(
      shape,
      (0.5, 1),
      (0, 3),
      xycoords='axes fraction',
      textcoords='offset points',
      ha='center',
      fontsize=6.5,
      color=palette.QUIET,
    )
  if any(mask.ndim == 4 for mask in masks):
    bar = figure.colorbar(
      shown,
      ax=grid[:, 2:],
      location='bottom',
      fraction=0.025,
      aspect=45,
      shrink=0.7,
      pad=0.02,
    )
    bar.outline.set_visible(False)
    bar.set_label('channels on at a position, %')
  return figure


def _caption(axes, before, after, off_share, class_names):
  """Writes prediction and probability without -> with the pathway."""
  first, second = before.argmax(), after.argmax()
  same = first == second
  lines = [
    (0.74, class_names[first], 9, 'bold', palette.INK),
    (
      0.50,
      f'{100 * before[first]:.0f} → {100 * after[second]:.0f} %',
      8,
      'normal',
      palette.INK,
    ),
    (0.29, f'{100 * off_share:.1f} % off', 7.5, 'normal', palette.QUIET),
  ]
  if not same:
    lines[1] = (
      0.50,
      f'{100 * before[first]:.0f} → {class_names[second]} '
      f'{100 * after[second]:.0f} %',
      8,
      'normal',
      palette.ORANGE,
    )
  for y, text, size, weight, color in lines:
    axes.text(
      0, y, text, fontsize=size, weight=weight, color=color, va='center'
    )


def _softmax(logits):
  logits = np.asarray(logits, np.float64)
  weights = np.exp(logits - logits.max(1, keepdims=True))
  return weights / weights.sum(1, keepdims=True)


def _strip(mask):
  """Share on in at most `STRIP` groups of neighbours, `[k, groups]`."""
  groups = np.array_split(mask, min(STRIP, mask.shape[1]), axis=1)
  return np.stack([group.mean(1) for group in groups], 1)

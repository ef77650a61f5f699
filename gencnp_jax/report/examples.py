"""Example images, and where their pathways fire."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Shaped
from matplotlib.figure import Figure

from gencnp_jax import arguments
from gencnp_jax.report import heat, maps, palette
from gencnp_jax.report.prediction import short, softmax
from gencnp_jax.report.sheet import Sheet

EDGE, CELL, GAP, WORDS, HEAD, FOOT = 0.1, 1.2, 0.09, 1.5, 0.42, 0.56  # inches


@palette.styled
def examples(
  images: Shaped[np.ndarray, 'k h w c'],
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
    images: the images to show, one a row; about six are legible. uint8 or
      float, of one or three channels; see `heat.pixels`.
    masks: a pathway's masks, `[k, h_i, w_i, c_i]` or `[k, c_i]` each.
    logits: the target's logits.
    pathway_logits: its logits with the pathway alone.
    class_names: names of all classes.

  Returns:
    A figure with a row for each image.

  Raises:
    ValueError: there is no image, or the arrays differ in length.
  """
  images = arguments.numbers('images', images)
  masks = arguments.layers('masks', masks)
  arguments.words('class_names', class_names)
  named = {'logits': logits, 'pathway_logits': pathway_logits}
  named |= {f'masks[{i}]': mask for i, mask in enumerate(masks)}
  arrays = [arguments.numbers(name, array) for name, array in named.items()]
  lengths = [x.shape[0] if x.ndim else 0 for x in (images, *arrays)]
  if not lengths[0] or len(set(lengths)) > 1:
    raise ValueError(
      'images, logits, pathway_logits and masks must have the same number of '
      f'rows, at least one; got {lengths}.'
    )
  logits, pathway_logits, *masks = arrays
  wanted = len(images), len(class_names)
  if logits.shape != wanted or pathway_logits.shape != wanted:
    raise ValueError(
      f'logits {logits.shape} and pathway_logits {pathway_logits.shape} must be '
      f'{wanted}, one for each image and class name.'
    )
  for row in range(len(images)):
    maps.check([mask[row] for mask in masks])
  k, layers = len(images), len(masks)
  on = sum(mask.reshape(k, -1).sum(1) for mask in masks)
  off_share = 1 - on / sum(mask[0].size for mask in masks)
  before = softmax(logits)
  after = softmax(pathway_logits, 'pathway_logits')
  shares = [[maps.share_on(mask[row]) for mask in masks] for row in range(k)]
  tops = maps.highest(share for row in shares for share in row)
  sheet = Sheet(
    WORDS + (1 + layers) * (CELL + GAP), HEAD + k * (CELL + GAP) + FOOT
  )
  style = {'fontsize': 6.5, 'color': palette.QUIET}
  sheet.write(
    EDGE, HEAD - 0.29, 'confidence in full\n→ with the pathway', **style
  )
  for row in range(k):
    top_edge = HEAD + row * (CELL + GAP)
    words = sheet.bare(EDGE, top_edge, WORDS - EDGE, CELL)
    picture, *panels = (
      sheet.bare(WORDS + i * (CELL + GAP), top_edge, CELL, CELL)
      for i in range(1 + layers)
    )
    _caption(words, before[row], after[row], off_share[row], class_names)
    heat.show(picture, images[row])
    for i, (axes, share) in enumerate(zip(panels, shares[row])):
      drawn = maps.draw(axes, share, tops)
      if row == 0:
        maps.heading(axes, f'ReLU {i + 1}', masks[i].shape[1:])
      if share.ndim == 2:
        shown = drawn
  if any(mask.ndim == 4 for mask in masks):
    left = WORDS + CELL + GAP
    across = min(3.5, sheet.width - left - GAP)
    maps.scale(sheet, shown, left, sheet.height - FOOT + 0.08, across)
  return sheet.figure


def _caption(axes, before, after, off_share, class_names):
  """Writes prediction and probability without -> with the pathway."""
  first, second = before.argmax(), after.argmax()
  change, color = f'{100 * after[second]:.0f} %', palette.INK
  if first != second:
    change = f'{short(class_names[second], 10)} {change}'
    color = palette.ORANGE
  lines = (
    (short(class_names[first], 14), 9, 'bold', palette.INK),
    (f'{100 * before[first]:.0f} → {change}', 8, 'normal', color),
    (f'{100 * off_share:.1f} % off', 7.5, 'normal', palette.QUIET),
  )
  for y, (text, size, weight, color) in zip((0.74, 0.51, 0.3), lines):
    style = {'fontsize': size, 'weight': weight, 'color': color}
    axes.text(0, y, text, va='center', **style)

"""One image's pathway, layer by layer, and what it shares with its class."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Shaped
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from gencnp_jax.report import heat, layer_panels, maps, palette
from gencnp_jax.report.prediction import short
from gencnp_jax.report.sheet import Sheet

EDGE, GAP, HEAD, FOOT = 0.12, 0.08, 1.85, 0.62  # inches
NAME, PICTURE, BAR = 0.95, 1.05, 0.14
# How a pathway relates to its class: colour, heading and words.
KINDS = (
  (palette.BLUE, 'class core', 'of the class core, on'),
  (palette.ORANGE, 'only here', 'only here: on, not of the class core'),
  ('#8a8a8a', 'core, off', 'of the class core, off'),
)


@palette.styled
def pathway(
  image: Shaped[np.ndarray, 'h w c'],
  masks: Sequence[Bool[np.ndarray, '...']],
  class_core: Sequence[Bool[np.ndarray, '...']] | None = None,
  layer_names: Sequence[str] | None = None,
  title: str = '',
) -> Figure:
  """Draws a pathway: in each layer where, in which channels and how many.

  Of a layer there is the share of channels on at each position, the share of
  positions on of each channel, sorted, and the number of neurons. With a
  class core each is split: what the pathway shares with the core, what is on
  in this image only, and what of the core is off.

  Args:
    image: uint8 or float, of one or three channels; see `heat.pixels`.
    masks: the image's pathway, `[h_i, w_i, c_i]` or `[c_i]` each.
    class_core: the class-relevant neurons, those on in most images of the
      class, shaped like `masks`.
    layer_names: 'ReLU 1' and so on where there are none.
    title: of the figure.

  Returns:
    A figure with a row a layer; 5 to 20 are legible.

  Raises:
    ValueError: masks of no layer or of a batch, or a core or names that do
      not fit them.
  """
  masks = maps.check(masks)
  names = layer_names or [f'ReLU {i + 1}' for i in range(len(masks))]
  if len(names) != len(masks):
    raise ValueError(
      f'{len(names)} layer names for masks of {len(masks)} layers.'
    )
  kinds = [(palette.BLUE, masks)]  # A colour, and its masks of all layers.
  if class_core is not None:
    core = maps.check(class_core, 'class_core')
    shapes, others = ([m.shape for m in x] for x in (masks, core))
    if shapes != others:
      raise ValueError(f'class_core {others} must be shaped as masks {shapes}.')
    split = [(m & c, m & ~c, c & ~m) for m, c in zip(masks, core)]
    kinds = [(color, x) for (color, *_), x in zip(KINDS, zip(*split))]
  columns = _Columns(len(masks), len(kinds))
  cell = columns.cell
  sheet = Sheet(palette.WIDTH, HEAD + len(masks) * (cell + GAP) + FOOT)
  _header(sheet, image, masks, kinds, title)
  _headings(sheet, columns, len(kinds) > 1)
  layers = [
    [(color, group[i]) for color, group in kinds] for i in range(len(masks))
  ]
  widest = max(100 * sum(mask.mean() for _, mask in parts) for parts in layers)
  for i, (name, parts) in enumerate(zip(names, layers)):
    edge = HEAD + i * (cell + GAP)
    middle = edge + cell / 2
    sheet.write(EDGE, middle, short(name, 12), weight='bold', va='bottom')
    style = {'fontsize': 6.5, 'color': palette.QUIET}
    words = maps.dimensions(masks[i].shape)
    sheet.write(EDGE, middle + 0.03, words, **style)
    axes = sheet.axes(columns.channels, edge, columns.across, cell - 0.03)
    layer_panels.channels(axes, parts)
    across = palette.WIDTH - EDGE - columns.bars
    axes = sheet.bare(columns.bars, middle - BAR / 2, across, BAR)
    layer_panels.counts(axes, parts, widest or 1)
  _maps(sheet, columns, masks, kinds)
  return sheet.figure


class _Columns:
  """Where the columns lie, and how large a map is, in inches."""

  def __init__(self, layers: int, kinds: int):
    self.cell = float(np.clip(7.5 / layers, 0.5, 0.9))
    self.maps = EDGE + NAME
    many = 1 if kinds == 1 else 1 + kinds
    self.channels = self.maps + many * (self.cell + GAP) + 0.15
    self.bars = palette.WIDTH - EDGE - (2.3 if kinds == 1 else 1.9)
    self.across = self.bars - 0.3 - self.channels


def _maps(sheet, columns, masks, kinds):
  """Draws a column of maps of the pathway, and one of each kind."""
  split = kinds if len(kinds) > 1 else []
  pathway_map, *kind_maps = (
    [maps.share_on(mask) for mask in group]
    for group in (masks, *(group for _, group in split))
  )
  tops = maps.highest(pathway_map)
  kind_tops = maps.highest(share for group in kind_maps for share in group)
  cell, shown = columns.cell, None
  for i, share in enumerate(pathway_map):
    edge = HEAD + i * (cell + GAP)
    drawn = maps.draw(sheet.bare(columns.maps, edge, cell, cell), share, tops)
    if share.ndim == 2:
      shown = drawn
    for k, (color, _) in enumerate(split):
      left = columns.maps + (k + 1) * (cell + GAP)
      axes = sheet.bare(left, edge, cell, cell)
      ramp = LinearSegmentedColormap.from_list(color, ('white', color))
      maps.draw(axes, kind_maps[k][i], kind_tops, ramp)
      if share.ndim == 2:
        axes.spines[:].set(visible=True, color=palette.RULE)
  if shown is None:
    return
  top = sheet.height - FOOT + 0.12
  maps.scale(sheet, shown, columns.maps, top, 2.2)
  if split:
    words = f'the others: white to full colour, 0 to {kind_tops[1]:.0f} %'
    style = {'color': palette.QUIET, 'fontsize': 7.5}
    sheet.write(columns.maps + 2.5, top - 0.02, words, **style)


def _header(sheet, image, masks, kinds, title):
  """Draws the image, and beside it the numbers of the whole pathway."""
  heat.show(sheet.bare(EDGE, EDGE, PICTURE, PICTURE), image)
  left, top = EDGE + PICTURE + 0.2, EDGE
  if title:
    sheet.write(left, top, title, fontsize=11, weight='bold')
    top += 0.26
  words = maps.summary(masks)
  sheet.write(left, top, words[0].upper() + words[1:], fontsize=9)
  if len(kinds) == 1:
    return
  top += 0.04
  shared, alone, missing = (
    sum(mask.sum() for mask in group) for _, group in kinds
  )
  for (color, _, what), number, whole, name in zip(
    KINDS,
    (shared, alone, missing),
    (shared + alone, shared + alone, shared + missing),
    ('pathway', 'pathway', 'core'),
  ):
    top += 0.2
    sheet.write(left, top, '■', color=color, fontsize=9)
    style = {'weight': 'bold', 'ha': 'right'}
    sheet.write(left + 0.6, top, maps.count(number), **style)
    words = f'{what} ({100 * number / (whole or 1):.0f} % of the {name})'
    sheet.write(left + 0.68, top, words)


def _headings(sheet, columns, split):
  for left, name, below in (
    (columns.maps, 'Where', 'pathway'),
    (columns.channels, 'Channels', '% of positions on, sorted'),
    (columns.bars, 'Neurons', '% of the layer’s'),
  ):
    sheet.write(left, HEAD - 0.42, name, weight='bold', fontsize=8.5)
    style = {'fontsize': 7, 'color': palette.QUIET}
    sheet.write(left, HEAD - 0.24, below, **style)
  for k, (color, name, _) in enumerate(KINDS if split else (), 1):
    left = columns.maps + k * (columns.cell + GAP)
    sheet.write(left, HEAD - 0.24, name, fontsize=7, color=color)

"""One explained image on one page."""

import functools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Shaped
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gencnp_jax import arguments
from gencnp_jax.report import heat, maps, palette
from gencnp_jax.report.prediction import short, softmax
from gencnp_jax.report.sheet import Sheet

EDGE, GAP, CAPTION, FOOT = 0.15, 0.1, 0.36, 0.62  # inches
SIZES = {1: 1.8, 2: 1.8, 3: 1.6, 4: 1.4}  # of so many pictures
LETTER = 0.072  # of a class's name, on average
TOP = 5  # classes with bars
ACROSS = 10  # layers side by side


@palette.styled
def explanation(
  image: Shaped[np.ndarray, 'h w c'],
  masks: Sequence[Bool[np.ndarray, '...']],
  logits: Float[np.ndarray, ' classes'],
  pathway_logits: Float[np.ndarray, ' classes'],
  class_names: Sequence[str],
  cam: Float[np.ndarray, 'a b'] | None = None,
  pathway_cam: Float[np.ndarray, 'a b'] | None = None,
  pathway_gradient: Float[np.ndarray, 'h w'] | None = None,
  method: str = 'GEN-CNP',
  title: str = '',
) -> Figure:
  """Draws all there is to see of one explained image.

  The image and what heat there is of it, the most probable classes without
  and with the pathway, where the pathway fires in each layer, and in words
  whether the prediction is the same and how many neurons are off.

  Args:
    image: uint8 or float, of one or three channels; see `heat.pixels`.
    masks: its pathway, `[h_i, w_i, c_i]` or `[c_i]` each.
    logits: the target's.
    pathway_logits: its logits with the pathway alone.
    class_names: names of all classes.
    cam: a class activation map of the full target, of any resolution.
    pathway_cam: likewise, under the pathway.
    pathway_gradient: of each pixel under the pathway, in [0, 1].
    method: which found the pathway; has its colour.
    title: of the figure.

  Returns:
    A figure as wide as a page.

  Raises:
    ValueError: masks of no layer or of a batch, or logits that are not one
      for each class.
  """
  masks = maps.check(masks)
  arguments.words('class_names', class_names)
  classes = len(class_names)
  logits = arguments.numbers('logits', logits)
  pathway_logits = arguments.numbers('pathway_logits', pathway_logits)
  shapes = logits.shape, pathway_logits.shape
  if not classes or shapes != ((classes,), (classes,)):
    raise ValueError(
      f'logits {shapes[0]} and pathway_logits {shapes[1]} must have one value '
      f'for each of the {classes} class names, at least one.'
    )
  pictures = [('image', lambda axes: heat.show(axes, image))]
  for caption, values in (
    ('Grad-CAM,\nfull target', cam),
    ('Grad-CAM,\nwith the pathway', pathway_cam),
  ):
    if values is not None:
      draw = functools.partial(heat.overlay, image=image, heat=values)
      pictures.append((caption, draw))
  if pathway_gradient is not None:
    draw = functools.partial(heat.saliency, heat=pathway_gradient)
    pictures.append(('gradient,\nwith the pathway', draw))
  size = SIZES[len(pictures)]
  head = EDGE + (0.3 if title else 0) + 0.5
  below = head + CAPTION + size + 0.25
  grid = _Grid(masks)
  scales = grid.maps or cam is not None or pathway_cam is not None
  height = below + 0.25 + grid.lines * grid.step + (FOOT if scales else 0)
  sheet = Sheet(palette.WIDTH, height)
  before = softmax(logits)
  after = softmax(pathway_logits, 'pathway_logits')
  _words(sheet, masks, before, after, class_names, method, title)
  for i, (caption, draw) in enumerate(pictures):
    left = EDGE + i * (size + GAP)
    style = {'va': 'bottom', 'fontsize': 8, 'linespacing': 1.1}
    sheet.write(left, head + CAPTION - 0.05, caption, **style)
    draw(sheet.bare(left, head + CAPTION, size, size))
  # Of the most probable classes, the full target's order.
  likely = np.argsort(-np.maximum(before, after), kind='stable')[:TOP]
  likely = likely[np.argsort(-before[likely], kind='stable')]
  names = [short(class_names[c], 19) for c in likely]
  left = EDGE + len(pictures) * (size + GAP) + 0.2
  left += LETTER * max(map(len, names))
  across = min(palette.WIDTH - EDGE - left, 3.6)
  axes = sheet.axes(left, head + CAPTION, across, size * len(names) / TOP)
  color = palette.method_colors([method])[0]
  _bars(axes, names, before[likely], after[likely], color)
  sheet.write(EDGE, below, 'Where the pathway fires', weight='bold')
  shown = _layers(sheet, grid, masks, below + 0.25)
  foot = sheet.height - FOOT + 0.12
  if grid.maps:
    maps.scale(sheet, shown, EDGE, foot, 2.6)
  if cam is not None or pathway_cam is not None:
    left = EDGE + (3.1 if grid.maps else 0)
    maps.scale(sheet, heat.scale(), left, foot, 2.6, heat.LABEL)
  return sheet.figure


class _Grid:
  """How the layers are laid out, in inches."""

  def __init__(self, masks):
    self.maps = any(mask.ndim == 3 for mask in masks)
    self.lines = -(-len(masks) // ACROSS)
    self.per_line = -(-len(masks) // self.lines)
    room = palette.WIDTH - 2 * EDGE + GAP
    self.across = min(1.4, room / self.per_line - GAP)
    # Strips alone need no square.
    self.down = self.across * (1 if self.maps else 0.3)
    self.step = CAPTION + self.down + 0.28


def _layers(sheet, grid, masks, top):
  """Draws a map a layer; returns the image of the last one."""
  shares = [maps.share_on(mask) for mask in masks]
  tops, shown = maps.highest(shares), None
  for i, (mask, share) in enumerate(zip(masks, shares)):
    line, column = divmod(i, grid.per_line)
    left = EDGE + column * (grid.across + GAP)
    edge = top + line * grid.step + CAPTION
    axes = sheet.bare(left, edge, grid.across, grid.down)
    drawn = maps.draw(axes, share, tops)
    if mask.ndim == 3:
      shown = drawn
    maps.heading(axes, f'ReLU {i + 1}', mask.shape)
    style = {'ha': 'center', 'fontsize': 7.5}
    words = f'{100 * mask.mean():.1f} % on'
    middle = left + grid.across / 2
    sheet.write(middle, edge + grid.down + 0.05, words, **style)
  return shown


def _words(sheet, masks, before, after, class_names, method, title):
  """Writes title, what becomes of the prediction, and the firing sparsity."""
  top = EDGE
  if title:
    sheet.write(EDGE, top, title, fontsize=12, weight='bold')
    top += 0.3
  first, second = before.argmax(), after.argmax()
  old, new = (short(class_names[c], 30) for c in (first, second))
  words = f'The prediction is the same: {old}, {100 * before[first]:.0f} %'
  color = palette.INK
  if first != second:
    words = f'The prediction changes: {old}, {100 * before[first]:.0f} %'
    color = palette.ORANGE
  words += ' → ' + (f'{new}, ' if first != second else '')
  words += f'{100 * after[second]:.0f} % with the pathway'
  sheet.write(EDGE, top, words, fontsize=9.5, color=color)
  words = f'{method}, {maps.summary(masks)}'
  sheet.write(EDGE, top + 0.22, words, color=palette.QUIET)


def _bars(axes: Axes, names, before, after, color) -> None:
  """Draws a pair of bars for each of a few classes."""
  places = np.arange(len(names))
  for shift, shares, tone, what in (
    (-0.19, before, '#b4b4b4', 'full target'),
    (0.19, after, color, 'with the pathway'),
  ):
    axes.barh(places + shift, 100 * shares, 0.36, color=tone, label=what)
    for place, value in zip(places + shift, 100 * shares):
      words = f'{value:.0f}' if value >= 0.5 else '<1'
      style = {'va': 'center', 'fontsize': 6.5, 'color': palette.QUIET}
      axes.annotate(
        words, (value, place), (2, 0), textcoords='offset points', **style
      )
  axes.set_yticks(places, names)
  axes.tick_params(length=0, labelcolor=palette.INK)
  axes.set(xlim=(0, 112), ylim=(len(names) - 0.5, -0.5), xticks=[])
  axes.spines['bottom'].set_visible(False)
  axes.set_title('Probability, %', pad=14)
  axes.legend(
    loc='lower left',
    bbox_to_anchor=(0, 0.98),
    ncols=2,
    borderpad=0,
    handlelength=0.8,
    handleheight=0.8,
    handletextpad=0.4,
    columnspacing=1,
    fontsize=6.5,
  )

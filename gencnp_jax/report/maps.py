"""Where a layer's mask is on: a map over positions, or a strip of neurons."""

from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Bool
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, PowerNorm
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from gencnp_jax import arguments
from gencnp_jax.report import palette
from gencnp_jax.report.sheet import Sheet

STRIP = 64  # cells of the strip that shows a fully connected layer


def share_on(mask: Bool[np.ndarray, '...']) -> np.ndarray:
  """Share of neurons on, in percent.

  Args:
    mask: one image's mask of a layer, `[h, w, c]` or `[c]`.

  Returns:
    Float `[h, w]`, of the channels at each position; of a fully connected
    layer `[groups]`, in at most 64 groups of neighbours.
  """
  if mask.ndim == 3:
    return 100 * mask.mean(-1)
  groups = np.array_split(mask, min(STRIP, mask.size))
  return 100 * np.array([group.mean() for group in groups])


def highest(shares: Iterable[np.ndarray]) -> tuple[float, float]:
  """Returns the ends of the colour scales of strips and of maps, in percent."""
  shares = list(shares)
  strip, map_ = (
    float(max((s.max() for s in shares if s.ndim == rank), default=0))
    for rank in (1, 2)
  )
  return strip or 100, map_ or 100


def draw(
  axes: Axes,
  share: np.ndarray,
  tops: tuple[float, float],
  cmap: str | Colormap | None = None,
) -> AxesImage:
  """Draws what `share_on` returned.

  Args:
    axes: bare axes, square or, for strips alone, flat.
    share: the map, or the strip.
    tops: what `highest` returned for all that shares a colour scale.
    cmap: the colours; otherwise a map's are viridis, a strip's are grey.

  Returns:
    The image drawn.
  """
  top = tops[share.ndim - 1]
  if share.ndim == 2:
    # By the root: one layer that fires much would leave the others dark.
    norm = PowerNorm(0.5, 0, top)
    style = {'cmap': cmap or 'viridis', 'norm': norm}
    return axes.imshow(share, interpolation='nearest', **style)
  drawn = axes.imshow(
    share[None] / 100,
    cmap=cmap or 'Greys',
    vmin=0,
    vmax=top / 100,
    extent=(0, 1, 0.38, 0.62),
    interpolation='nearest',
  )
  half = axes.bbox.height / axes.bbox.width / 2
  axes.set(xlim=(0, 1), ylim=(0.5 - half, 0.5 + half), aspect='equal')
  return drawn


def check(
  masks: Sequence[Bool[np.ndarray, '...']], name: str = 'masks'
) -> tuple[np.ndarray, ...]:
  """Returns one image's masks as arrays of bools.

  Args:
    masks: `[h_i, w_i, c_i]` or `[c_i]` each.
    name: what they are called in the error.

  Raises:
    ValueError: there is none, or one of another rank or without neurons.
  """
  if not isinstance(masks, tuple | list):
    arguments.layers(name, masks)
  masks = tuple(
    arguments.mask_of(f'{name}[{i}]', mask).astype(bool)
    for i, mask in enumerate(masks)
  )
  shapes = [mask.shape for mask in masks]
  if not masks or any(m.ndim not in (1, 3) or not m.size for m in masks):
    raise ValueError(
      f'{name} are those of one image, [h, w, c] or [c] each and at least one '
      f'(of a batch: mask[0]); got {shapes}.'
    )
  return masks


def heading(axes: Axes, name: str, shape: tuple[int, ...]) -> None:
  """Writes a layer's name and shape above axes."""
  axes.set_title(name, loc='center', pad=14)
  axes.annotate(
    dimensions(shape),
    (0.5, 1),
    (0, 4),
    xycoords='axes fraction',
    textcoords='offset points',
    ha='center',
    fontsize=6.5,
    color=palette.QUIET,
  )


def summary(masks: Sequence[Bool[np.ndarray, '...']]) -> str:
  """Says how many neurons of one image's pathway are on, and off."""
  on, size = sum(m.sum() for m in masks), sum(m.size for m in masks)
  return (
    f'firing sparsity {100 * (1 - on / size):.1f} %: {count(on)} of '
    f'{count(size)} neurons are on'
  )


def count(number: int) -> str:
  """Returns a number with a space between thousands."""
  return f'{number:,}'.replace(',', ' ')


def dimensions(shape: tuple[int, ...]) -> str:
  """Returns a shape as '8×8×64'."""
  return '×'.join(map(str, shape))


def scale(
  sheet: Sheet,
  shown: ScalarMappable,
  left: float,
  top: float,
  across: float,
  label: str = 'channels on at a position, %',
) -> None:
  """Draws the colour scale of an image, flat, its label below.

  Args:
    sheet: where to.
    shown: the image.
    left: in inches, like the others.
    top: of the bar.
    across: width of the bar.
    label: what the colours mean.
  """
  axes = sheet.axes(left, top, across, 0.07)
  bar = sheet.figure.colorbar(shown, cax=axes, orientation='horizontal')
  bar.outline.set_visible(False)
  bar.locator = MaxNLocator(4)
  bar.set_label(label, loc='left')

"""What `layers.pathway` draws of a layer beside its maps."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool
from matplotlib.axes import Axes

from gencnp_jax.report import palette
from gencnp_jax.report.maps import count

# Of a layer: a colour, and the mask of the neurons that have it. The first two
# are on; a third is off.
Parts = Sequence[tuple[str, Bool[np.ndarray, '...']]]


def channels(axes: Axes, parts: Parts) -> None:
  """Draws a step a channel, those that are on most first.

  Args:
    axes: the axes; their scale ends at the highest step.
    parts: masks `[h, w, c]`, or `[c]`: then every neuron is a step.
  """
  masks = [mask for _, mask in parts]
  width = masks[0].shape[-1]
  shares = [100 * mask.reshape(-1, width).mean(0) for mask in masks]
  on = sum(shares[:2])
  order = np.lexsort((-sum(shares), -shares[0], -on))
  base = np.zeros(width)
  for (color, _), share in zip(parts, shares):
    high = base + share[order]
    axes.stairs(high, baseline=base, fill=True, color=color, lw=0)
    base = high
  top = float(base.max()) or 100
  axes.set(xlim=(0, width), ylim=(0, top), xticks=[])
  axes.set_yticks([0, top], ['0', f'{top:.0f}'])
  axes.spines['left'].set_visible(False)  # It would hide the first of many.
  axes.tick_params(length=2, labelsize=6, pad=1)
  what = 'neurons' if masks[0].ndim == 1 else 'channels'
  words = f'{count((on > 0).sum())} of {count(width)} {what}'
  style = {'ha': 'right', 'va': 'top', 'fontsize': 6.5}
  axes.text(
    0.99, 0.97, words, transform=axes.transAxes, color=palette.QUIET, **style
  )


def counts(axes: Axes, parts: Parts, widest: float) -> None:
  """Draws a bar of all parts, and writes their numbers above and below.

  Args:
    axes: bare axes, as high as the bar.
    parts: as for `channels`.
    widest: where the axes end, in percent of the layer's neurons.
  """
  on, size = sum(mask.sum() for _, mask in parts[:2]), parts[0][1].size
  words = f'{count(on)} of {count(size)}  ({100 * on / size:.1f} %)'
  style = {'transform': axes.transAxes}
  axes.text(0, 1.25, words, va='bottom', **style)
  start = 0.0
  for i, (color, mask) in enumerate(parts):
    share = 100 * mask.mean()
    axes.barh(0, share, 1, start, color=color)
    start += share
    if len(parts) > 1:
      style |= {'color': color, 'va': 'top', 'fontsize': 7}
      axes.text(i / 3, -0.2, count(mask.sum()), **style)
  axes.set(xlim=(0, widest), ylim=(-0.5, 0.5))

"""How sparsity differs from image to image (paper, section 3.2)."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Integer
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gencnp_jax.report import palette

BINS = 10  # of confidence, each with as many images
MANY_CLASSES = 20  # not drawn one by one beyond


@palette.styled
def instance_sparsity(
  sparsity: Float[np.ndarray, ' n'],
  confidence: Float[np.ndarray, ' n'],
  correct: Bool[np.ndarray, ' n'] | None,
  predicted: Integer[np.ndarray, ' n'],
  class_names: Sequence[str],
) -> Figure:
  """Draws the firing sparsity of images: its spread, and what it goes with.

  Args:
    sparsity: float `[n]`, of each image, in [0, 1].
    confidence: float `[n]`, the target's, in [0, 1].
    correct: bool `[n]`, whether the target is right; None without labels.
    predicted: int `[n]`, the target's class.
    class_names: names of all classes.

  Returns:
    A figure: (a) a histogram; (b) sparsity over confidence, a point an image,
    with median and quartiles; (c) by class, up to 20 of them, and for right and
    wrong predictions. Without either there is no (c).

  Raises:
    ValueError: no image, lengths that differ, or a class without a name.
  """
  sparsity, confidence = (
    100 * np.asarray(sparsity),
    100 * np.asarray(confidence),
  )
  predicted = np.asarray(predicted)
  right = None if correct is None else np.asarray(correct, bool)
  lengths = [len(x) for x in (sparsity, confidence, predicted)]
  lengths += [] if right is None else [len(right)]
  if not lengths[0] or len(set(lengths)) > 1:
    raise ValueError(
      'sparsity, confidence, predicted and correct must have the same length, '
      f'at least 1; got {lengths}.'
    )
  if not 0 <= predicted.min() <= predicted.max() < len(class_names):
    raise ValueError(
      f'predicted runs from {predicted.min()} to {predicted.max()}; there are '
      f'{len(class_names)} class names.'
    )
  groups = []
  if len(class_names) <= MANY_CLASSES:
    groups += [(n, predicted == c) for c, n in enumerate(class_names)]
  by_class = bool(groups)
  if right is not None:
    groups += [('right', right), ('wrong', ~right)]
  count = 3 if groups else 2
  height = max(3.0, 0.9 + 0.2 * len(groups))
  figure = Figure((palette.WIDTH * count / 3, height), layout='constrained')
  figure.get_layout_engine().set(wspace=0.05)
  panels = figure.subplots(1, count)
  _histogram(panels[0], sparsity)
  _over_confidence(panels[1], sparsity, confidence)
  if groups:
    _by_group(panels[2], sparsity, groups, by_class, right is not None)
  return figure


def _histogram(axes: Axes, sparsity: np.ndarray) -> None:
  axes.hist(sparsity, bins=40, color=palette.BLUE, alpha=0.75)
  mean = sparsity.mean()
  axes.axvline(mean, color=palette.INK, lw=0.8, ls=(0, (4, 3)))
  axes.set_title(f'(a) Images, mean {mean:.1f} %')
  axes.set_xlabel('firing sparsity, %')
  axes.set_ylabel('number of images')
  axes.grid(axis='y')
  axes.set_axisbelow(True)


def _over_confidence(axes: Axes, sparsity, confidence) -> None:
  axes.scatter(
    confidence,
    sparsity,
    s=float(np.clip(6000 / len(sparsity), 1.5, 12)),
    color=palette.BLUE,
    alpha=0.25,
    linewidths=0,
    rasterized=True,  # Thousands of points make an SVG large.
  )
  order = np.argsort(confidence, kind='stable')
  bins = [b for b in np.array_split(order, BINS) if len(b)]
  middle = [np.median(confidence[b]) for b in bins]
  low, median, high = np.transpose(
    [np.percentile(sparsity[b], (25, 50, 75)) for b in bins]
  )
  # White below the ink: it has to stand out from the points.
  axes.vlines(middle, low, high, color='white', lw=3)
  axes.plot(middle, median, color='white', lw=3)
  axes.vlines(middle, low, high, color=palette.INK, lw=1.2)
  axes.plot(middle, median, 'o-', color=palette.INK, lw=1, ms=3.5)
  axes.set_xlabel('confidence of the target, %')
  if np.median(confidence) > 95:
    # Most images would lie on the right edge.
    palette.spread_near_100(axes, 'x', confidence)
    axes.set_xlabel('confidence of the target, %, logarithmic')
  axes.set_title('(b) By confidence')
  axes.set_ylabel('firing sparsity, %')
  axes.grid(axis='y')
  axes.set_axisbelow(True)


def _by_group(
  axes: Axes, sparsity, groups, by_class: bool, judged: bool
) -> None:
  """Draws mean, and mean minus and plus one standard deviation."""
  # A gap between the classes and right and wrong.
  places = np.arange(len(groups), dtype=float)
  if judged and by_class:
    places[-2:] += 0.6
  for y, (_, members) in zip(places, groups):
    values = sparsity[members]
    if values.size:
      mean, spread = values.mean(), values.std()
      axes.hlines(y, mean - spread, mean + spread, color=palette.BLUE, lw=1.4)
      axes.plot(mean, y, 'o', ms=4.5, color=palette.BLUE)
  axes.set_yticks(places, [name for name, _ in groups])
  axes.set_ylim(places[-1] + 0.6, -0.6)
  axes.tick_params(axis='y', length=0, labelcolor=palette.INK)
  axes.spines['left'].set_visible(False)
  axes.set_title(
    '(c) By predicted class' if by_class else '(c) Right and wrong predictions'
  )
  axes.set_xlabel('firing sparsity, mean ± standard deviation, %')
  axes.grid(axis='x')
  axes.set_axisbelow(True)

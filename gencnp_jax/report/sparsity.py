"""Firing sparsity by class and layer."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Integer
from matplotlib.figure import Figure

from gencnp_jax.report import palette

FEW = 30  # images of a class that are drawn one by one
MANY_CLASSES = 40  # no numbers in the cells beyond


@palette.styled
def firing_sparsity(
  sparsity: Float[np.ndarray, ' n'],
  predicted: Integer[np.ndarray, ' n'],
  class_names: Sequence[str],
  per_layer: Float[np.ndarray, 'classes layers'],
) -> Figure:
  """Draws firing sparsity per class, and the neurons on per class and layer.

  Args:
    sparsity: firing sparsity of each image, in [0, 1].
    predicted: the target's class of each image.
    class_names: names of all classes.
    per_layer: mean share of neurons on, NaN for a class without images.

  Returns:
    A figure: left an interval per class, right a heat map with the same rows.

  Raises:
    ValueError: the shapes do not agree.
  """
  sparsity, per_layer = 100 * np.asarray(sparsity), 100 * np.asarray(per_layer)
  predicted, classes = np.asarray(predicted), len(class_names)
  if per_layer.shape[:1] != (classes,) or sparsity.shape != predicted.shape:
    raise ValueError(
      f'per_layer {per_layer.shape} must have a row for each of the {classes} '
      f'class names, and sparsity {sparsity.shape} a value for each predicted '
      f'class {predicted.shape}.'
    )
  layers = per_layer.shape[1]
  height = float(np.clip(0.27 * classes + 1.15, 2.2, 11))
  figure = Figure((5.6 + 0.8 * layers, height), layout='constrained')
  figure.get_layout_engine().set(wspace=0.04)
  left, right = figure.subplots(
    1, 2, sharey=True, width_ratios=(4.4, max(0.8 * layers, 1.2))
  )
  _intervals(left, [sparsity[predicted == c] for c in range(classes)])
  if sparsity.size:
    mean = sparsity.mean()
    left.axvline(mean, color=palette.QUIET, lw=0.8, ls=(0, (4, 3)), zorder=1)
    left.set_title(f'Firing sparsity, mean {mean:.1f} %')
  else:
    left.set_title('Firing sparsity')
  left.set_xlabel('neurons off, % of an image’s')
  every = -(-classes // MANY_CLASSES)
  left.set_yticks(range(0, classes, every), list(class_names)[::every])
  left.set_ylim(classes - 0.5, -0.5)
  left.tick_params(axis='y', length=0, labelcolor=palette.INK)
  left.spines['left'].set_visible(False)

  top = max(np.nanmax(per_layer, initial=0), 1e-3)
  mesh = right.pcolormesh(
    np.arange(layers + 1) - 0.5,
    np.arange(classes + 1) - 0.5,
    np.ma.masked_invalid(per_layer),
    cmap='Blues',
    vmin=0,
    vmax=top,
    edgecolor='white',
    linewidth=0.8 if classes <= MANY_CLASSES else 0,
  )
  right.set_xlim(-0.5, layers - 0.5)
  names = [f'ReLU {i + 1}' for i in range(layers)]
  right.set_xticks(range(layers), names)
  right.tick_params(length=0, labelleft=False)
  right.spines[:].set_visible(False)
  right.set_title('Neurons on, %')
  if classes <= MANY_CLASSES:
    for (row, column), value in np.ndenumerate(per_layer):
      color = 'white' if value > 0.6 * top else palette.INK
      text = '–' if np.isnan(value) else f'{value:.1f}'
      right.text(
        column, row, text, ha='center', va='center', fontsize=7, color=color
      )
  else:
    figure.colorbar(mesh, ax=right, shrink=0.5).outline.set_visible(False)
  return figure


def _intervals(axes, groups):
  """Draws 5-95 % thin, the middle half thick, the median; or the points."""
  many = len(groups) > MANY_CLASSES
  thin, thick, tick = (0.5, 1.2, 3) if many else (1, 5, 9)
  for y, group in enumerate(groups):
    if not group.size:
      if not many:
        axes.annotate(
          'no image',
          (0.5, y),
          xycoords=('axes fraction', 'data'),
          ha='center',
          va='center',
          color=palette.QUIET,
          style='italic',
        )
      continue
    low, first, median, third, high = np.percentile(group, (5, 25, 50, 75, 95))
    if group.size <= FEW and not many:
      points = {'ms': 3, 'mew': 0, 'alpha': 0.5, 'color': palette.BLUE}
      axes.plot(group, np.full(group.size, y), 'o', **points)
    else:
      axes.hlines(y, low, high, color=palette.BLUE, lw=thin)
      axes.hlines(y, first, third, color=palette.BLUE, lw=thick, alpha=0.55)
    axes.plot(median, y, '|', ms=tick, mew=1.4, color=palette.INK)
  axes.grid(axis='x')
  axes.set_axisbelow(True)

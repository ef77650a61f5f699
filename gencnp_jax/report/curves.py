"""Line and dot plots: training curves, and methods side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from gencnp_jax import arguments
from gencnp_jax.arguments import finite
from gencnp_jax.report import palette

# Metric of a run log -> heading, unit; shares are drawn in percent.
CURVES = {
  'loss': ('Loss', ''),
  'accuracy': ('Accuracy', '%'),
  'agreement': ('Agreement with the target', '%'),
  'firing_sparsity': ('Firing sparsity', '%'),
  'learning_rate': ('Learning rate', ''),
  'images_per_second': ('Throughput, images/s', ''),
}
FEW = 30  # points of a curve that are marked one by one
SPLITS = {
  'train': {'color': palette.BLUE, 'lw': 1, 'alpha': 0.65, 'label': 'training'},
  'validation': {
    'color': palette.ORANGE,
    'lw': 1.3,
    'label': 'validation',
  },
}
# Keys of a method's row -> heading. A second key is drawn as an open dot.
COMPARED = (
  ('Agreement ↑', ('agreement',)),
  ('ICr ↑', ('increase_rate',)),
  ('Decrease of\nfallers ↓', ('mean_decrease_of_fallers',)),
  ('Class IoU', ('within', 'between')),
  ('Swap leakage ↓', ('swap',)),
)


@palette.styled
def training_curves(records: Sequence[Mapping[str, Any]]) -> Figure:
  """Draws the curves of one stage's run log as small multiples.

  Args:
    records: rows with 'step', 'split' ('train' or 'validation') and any of
      the metrics of `CURVES`, shares in [0, 1]. Where a step was logged twice,
      as after an interruption, the later row counts.

  Returns:
    A figure with a panel for each metric that was logged.

  Raises:
    ValueError: no row holds a known metric.
  """
  arguments.rows('records', records)
  series = {}
  for row in records:
    for key in CURVES:
      known = row.get('split') in [*SPLITS] and finite(row.get('step'))
      if known and finite(row.get(key)):
        points = series.setdefault(key, {}).setdefault(row['split'], {})
        points[row['step']] = row[key]
  if not series:
    raise ValueError(
      'records: no row has a step, a split ("train" or "validation") and one '
      f'of {", ".join(CURVES)}; is this the log of a stage that has run?'
    )
  shown = [key for key in CURVES if key in series]
  across = 4 if len(shown) == 4 else min(3, len(shown))
  down = -(-len(shown) // across)
  width = min(palette.WIDTH, 3.2 * across)
  figure = Figure((width, 1.95 * down + 0.35), layout='constrained')
  figure.get_layout_engine().set(wspace=0.06, hspace=0.08)
  panels = figure.subplots(down, across, squeeze=False, sharex=True)
  lines = {}
  for axes, key in zip(panels.flat, shown):
    title, unit = CURVES[key]
    axes.set_title(f'{title}, {unit}' if unit else title)
    scale = 100 if unit == '%' else 1
    for split in filter(series[key].get, SPLITS):
      steps = sorted(series[key][split])
      values = [scale * series[key][split][step] for step in steps]
      (lines[split],) = axes.plot(steps, values, **SPLITS[split])
      if len(steps) <= FEW:
        lines[split].set(marker='o', markersize=2.8)
    axes.grid(axis='y')
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f'{x:,.0f}'))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.set_xlabel('step')
    axes.xaxis.set_tick_params(labelbottom=True)
  for axes in panels.flat[len(shown) :]:
    axes.remove()
  figure.legend(
    handles=[lines[split] for split in SPLITS if split in lines],
    loc='outside upper right',
    ncols=2,
  )
  return figure


@palette.styled
def comparison(rows: Sequence[Mapping[str, Any]]) -> Figure:
  """Draws methods side by side, a panel for each metric.

  Args:
    rows: one mapping a method: 'method' and any of 'agreement',
      'increase_rate', 'mean_decrease_of_fallers', 'within' and 'between' (class
      IoU) and 'swap' (swap leakage), shares in [0, 1]; what is absent or NaN
      is left out.

  Returns:
    A figure; dots are labelled in percent.

  Raises:
    ValueError: no row holds one of the metrics.
  """
  arguments.rows('rows', rows, said=['method'])
  shown = [
    (title, keys)
    for title, keys in COMPARED
    if any(finite(row.get(key)) for row in rows for key in keys)
  ]
  if not shown:
    raise ValueError(
      'rows: no row holds one of '
      f'{", ".join(key for _, keys in COMPARED for key in keys)}.'
    )
  methods = [row['method'] for row in rows]
  colors = palette.method_colors(methods)
  # Two lines of heading and the axis, then a line for each method.
  size = (1.35 + (palette.WIDTH - 1.35) / 5 * len(shown), 1.0 + 0.3 * len(rows))
  figure = Figure(size, layout='constrained')
  panels = figure.subplots(1, len(shown), squeeze=False, sharey=True)[0]
  for axes, (title, keys) in zip(panels, shown):
    axes.set_title(title)
    axes.set(xlim=(-6, 106), xticks=(0, 50, 100), xlabel='%')
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), methods)
    axes.tick_params(axis='y', length=0, labelcolor=palette.INK, labelsize=8)
    axes.spines['left'].set_visible(False)
    axes.hlines(range(len(rows)), 0, 100, color=palette.RULE, lw=0.6, zorder=1)
    for y, (row, color) in enumerate(zip(rows, colors)):
      for key, fill in zip(keys, (color, 'white')):
        if not finite(row.get(key)):
          continue
        x = 100 * row[key]
        axes.plot(
          x, y, 'o', ms=5.5, color=color, mfc=fill, zorder=3, clip_on=False
        )
        if key == keys[0]:
          axes.annotate(
            f'{x:.1f}',
            (x, y),
            (-7 if x > 60 else 7, 3),
            textcoords='offset points',
            ha='right' if x > 60 else 'left',
            va='bottom',
            fontsize=7,
            color=palette.QUIET,
          )
    if len(keys) == 2:
      axes.set_xlabel('%  ● within  ○ between')
  return figure

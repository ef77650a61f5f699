"""Class overlap of pathways in each layer (paper, Figs. 5c and 10d-f)."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from gencnp_jax.arguments import finite
from gencnp_jax.report import lines, palette


@palette.styled
def layer_overlap(
  rows: Sequence[Mapping[str, Any]], layer_names: Sequence[str]
) -> Figure:
  """Draws the class IoU of each layer alone, a line a method.

  The bars on the right are the floors: what random masks score over all
  layers that keep as many neurons in each layer as the method does.

  Args:
    rows: one mapping a method: 'method', 'within_per_layer' (a share in [0, 1]
      or None for each layer) and perhaps 'profile_floor', a share.
    layer_names: names of the layers, from the image to the output.

  Returns:
    A figure of one panel.

  Raises:
    ValueError: no row, no overlap in any, or a row with other layers.
  """
  looks = lines.looks(rows)
  layers = len(layer_names)
  points = []
  for row in rows:
    values = row.get('within_per_layer') or ()
    if isinstance(values, str) or not isinstance(values, Sequence):
      raise ValueError(
        f'rows: within_per_layer is {values!r:.60}; it must be a share a layer.'
      )
    if values and len(values) != layers:
      raise ValueError(
        f'{row["method"]}: within_per_layer has {len(values)} values for the '
        f'{layers} layers {", ".join(layer_names)}.'
      )
    points += [
      {'method': row['method'], 'layer': i, 'within': value}
      for i, value in enumerate(values)
      if finite(value)
    ]
  if not points:
    raise ValueError(
      'rows: no row has within_per_layer, the class IoU of each layer.'
    )
  figure = Figure((palette.WIDTH, 3.3), layout='constrained')
  axes = figure.subplots()
  lines.draw(
    axes, points, looks, 'layer', lambda point: point['layer'], 'within'
  )
  floors = {
    row['method']: 100 * row['profile_floor']
    for row in rows
    if finite(row.get('profile_floor'))
  }
  # Side by side: floors at one sparsity are almost equal.
  step = 0.5 / max(len(floors), 1)
  for i, (method, floor) in enumerate(floors.items()):
    left = layers - 0.25 + i * step
    color = looks[method]['color']
    axes.hlines(floor, left, left + 0.8 * step, color=color, lw=2.2)
  names = [*layer_names]
  if floors:
    names.append('floor,\nall layers')
    axes.axvline(layers - 0.5, color=palette.RULE, lw=0.8)
  axes.set_xticks(range(len(names)), names)
  axes.set_xlim(-0.3, len(names) - 0.7)
  values = [point['within'] for point in points]
  lines.share_axis(axes, 'class IoU within (acIOU), %', lines.top(values))
  axes.set_title('Class IoU by layer ↑')
  lines.legend(figure, looks, loc='outside right center')
  return figure

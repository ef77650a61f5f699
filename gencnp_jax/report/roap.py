"""Remove the pathway, and predict with the rest (paper, Fig. 5a)."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

from gencnp_jax.arguments import finite
from gencnp_jax.report import lines, palette


@palette.styled
def roap_curve(
  rows: Sequence[Mapping[str, Any]], target_accuracy: float | None
) -> Figure:
  """Draws the accuracy of what a pathway leaves over, a line a method.

  Args:
    rows: one mapping a method and sparsity: 'method', 'cut' (the firing
      sparsity of the pathway that is removed) and 'roap' (the accuracy under
      1 - P), shares in [0, 1].
    target_accuracy: of the whole target, a share; None for no line.

  Returns:
    A figure of one panel.

  Raises:
    ValueError: no row, or none with 'roap'.
  """
  looks = lines.looks(rows)
  lines.cuts(rows)
  measured = [row['roap'] for row in rows if finite(row.get('roap'))]
  if not measured:
    raise ValueError("rows: no row has 'roap'; it needs labelled images.")
  figure = Figure((0.8 * palette.WIDTH, 3.3), layout='constrained')
  axes = figure.subplots()
  lines.draw(axes, rows, looks, 'cut', lambda row: 100 * row['cut'], 'roap')
  if target_accuracy is not None:
    height = 100 * target_accuracy
    axes.axhline(height, color=palette.QUIET, lw=0.7, zorder=1)
    # Beside the panel, where no line can run through it.
    axes.annotate(
      f'whole target\n{height:.1f} %',
      (1, height),
      (4, 0),
      xycoords=('axes fraction', 'data'),
      textcoords='offset points',
      va='center',
      fontsize=7.5,
      color=palette.QUIET,
    )
  axes.set_title('ROAP ↓')
  axes.set_xlabel('firing sparsity of the pathway that is removed, %')
  shares = [*measured, target_accuracy]
  lines.share_axis(axes, 'accuracy of the rest, %', lines.top(shares))
  lines.legend(figure, looks, loc='outside right center')
  return figure

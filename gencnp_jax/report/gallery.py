"""Heat maps of many images and methods (paper, Figs. 7, 8 and 15-18)."""

import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Shaped
from matplotlib.figure import Figure

from gencnp_jax.report import heat, maps, palette
from gencnp_jax.report.prediction import Prediction
from gencnp_jax.report.sheet import Sheet

CELL, GAP, WORDS, NOTE, FOOT = 1.1, 0.08, 1.15, 0.17, 0.6  # inches
# Kind -> colours and what they mean.
KINDS = {
  'cam': (heat.HEAT, heat.LABEL),
  'gradient': (heat.SALIENCY, 'gradient, % of a map’s scale'),
}
Notes = Mapping[str, Sequence[Prediction]]


@palette.styled
def gallery(
  images: Shaped[np.ndarray, 'k h w c'],
  heats: Mapping[str, Float[np.ndarray, 'k a b']],
  row_names: Sequence[str],
  column_notes: Mapping[str, str] | None = None,
  notes: Notes | None = None,
  kind: str = 'cam',
) -> Figure:
  """Draws a row an image: the image, then a heat map a method.

  Args:
    images: uint8 or float, of one or three channels; see `heat.pixels`.
    heats: heading -> maps in the order of the columns: `[k, a, b]` of any
      resolution for 'cam', `[k, h, w]` in [0, 1] for 'gradient'.
    row_names: what stands left of each image, such as its class.
    column_notes: heading -> a short line below it.
    notes: heading -> what the target says of each image under the method,
      written below the maps.
    kind: 'cam' lays smooth heat over the image, 'gradient' shows the pixels
      of a saliency map.

  Returns:
    A figure, wider and higher the more there is to show.

  Raises:
    ValueError: there is no image, the lengths differ, a heading of the notes
      is unknown, or so is the kind.
  """
  if kind not in KINDS:
    raise ValueError(f"kind is {kind!r}; it must be 'cam' or 'gradient'.")
  column_notes, notes = column_notes or {}, notes or {}
  check({'images': images, 'row_names': row_names}, heats, notes, column_notes)
  lines = {name: textwrap.wrap(name, 14) for name in heats}
  head = 0.14 + 0.15 * max(map(len, lines.values()), default=1)
  head += 0.14 * bool(column_notes)
  step = CELL + GAP + NOTE * bool(notes)
  sheet = Sheet(
    width(1 + len(heats), changed(notes)), head + len(images) * step + FOOT
  )
  for column, name in enumerate(heats, 1):
    middle = WORDS + column * (CELL + GAP) + CELL / 2
    above = head - 0.07 - 0.14 * bool(column_notes)
    style = {'ha': 'center', 'va': 'bottom'}
    words = '\n'.join(lines[name])
    sheet.write(middle, above, words, weight='bold', fontsize=8, **style)
    style |= {'fontsize': 6.5, 'color': palette.QUIET}
    sheet.write(middle, head - 0.06, column_notes.get(name, ''), **style)
  for row, image in enumerate(images):
    top = head + row * step
    side(sheet, row_names[row], top, weight='bold')
    heat.show(sheet.bare(WORDS, top, CELL, CELL), image)
    for column, (name, values) in enumerate(heats.items(), 1):
      left = WORDS + column * (CELL + GAP)
      axes = sheet.bare(left, top, CELL, CELL)
      if kind == 'cam':
        heat.overlay(axes, image, values[row])
      else:
        heat.saliency(axes, values[row])
      if name in notes:
        note(sheet, notes[name][row], left, top + CELL)
  foot(sheet, changed(notes), kind)
  return sheet.figure


def check(
  own: Mapping[str, Sequence],
  heats: Mapping[str, Sequence],
  notes: Notes,
  column_notes: Mapping[str, str],
) -> None:
  """Raises a ValueError where what is drawn together differs in length."""
  lengths = {}
  for name, values in (own | heats).items():
    try:
      lengths[name] = len(values)
    except TypeError as error:
      message = f'{name} is {values!r:.60}; pass one an image.'
      raise ValueError(message) from error
  if len(set(lengths.values())) > 1 or not min(lengths.values()):
    raise ValueError(
      f'of everything there must be one an image, at least one; got {lengths}.'
    )
  unknown = [name for name in (*notes, *column_notes) if name not in heats]
  if unknown:
    raise ValueError(
      f'notes on {unknown}, of which there are no heats; there are heats of '
      f'{list(heats)}.'
    )
  count = len(next(iter(own.values())))
  if any(len(said) != count for said in notes.values()):
    raise ValueError(f'notes: there must be one for each of {count} images.')


def width(columns: int, marked: bool) -> float:
  """Returns the width of a sheet, in inches, that has room for its foot."""
  # To the right of the scale stands what the mark means.
  least = WORDS + 2 * (CELL + GAP) + (2.8 if marked else 0.1)
  return max(WORDS + columns * (CELL + GAP), least)


def changed(notes: Notes) -> bool:
  """Whether any class is another than without the pathway."""
  return any(said.changed for column in notes.values() for said in column)


def side(sheet: Sheet, words: str, top: float, **style) -> None:
  """Writes a name, in lines, left of a row of cells."""
  parts = words.replace(', ', ',\n').splitlines()
  lines = [line for part in parts for line in textwrap.wrap(part, 13)]
  middle = top + CELL / 2
  style = {'ha': 'right', 'va': 'center', 'fontsize': 8} | style
  sheet.write(WORDS - 0.1, middle, '\n'.join(lines[:5]), **style)


def note(sheet: Sheet, said: Prediction, left: float, top: float) -> None:
  """Writes what the target says below a cell, orange if it has changed."""
  color = palette.ORANGE if said.changed else palette.QUIET
  style = {'fontsize': 6.5, 'ha': 'center', 'color': color}
  sheet.write(left + CELL / 2, top + 0.03, said.words(20), **style)


def foot(sheet: Sheet, marked: bool, kind: str) -> None:
  """Draws the colour scale, and explains the mark of a changed class."""
  cmap, label = KINDS[kind]
  top = sheet.height - FOOT + 0.1
  maps.scale(sheet, heat.scale(cmap), WORDS, top, 2 * CELL + GAP, label)
  if marked:
    words = '✗  another class than without the pathway'
    left = WORDS + 2 * (CELL + GAP) + 0.3
    sheet.write(left, top - 0.02, words, fontsize=7.5, color=palette.ORANGE)

"""A class-relevant pathway on other images (paper, Figs. 9, 19 and 20)."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Shaped
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gencnp_jax.report import heat, palette
from gencnp_jax.report.gallery import (
  CELL,
  FOOT,
  GAP,
  NOTE,
  WORDS,
  Notes,
  changed,
  check,
  foot,
  note,
  side,
  width,
)
from gencnp_jax.report.sheet import Sheet

EDGE, HEAD, BETWEEN, TITLE = 0.08, 0.4, 0.12, 0.36  # inches
LEAST = 5.2  # width that the headings need


@palette.styled
def transferred(
  own_images: Shaped[np.ndarray, 'k h w c'],
  own_heats: Mapping[str, Float[np.ndarray, 'k a b']],
  other_images: Shaped[np.ndarray, 'm h w c'],
  other_heats: Mapping[str, Float[np.ndarray, 'm a b']],
  class_name: str,
  own_notes: Notes | None = None,
  other_notes: Notes | None = None,
  class_pathway: str = '',
) -> Figure:
  """Draws images under their own pathways, others under that of their class.

  A column an image; in each part a row of images, and below it a row for each
  of its heats, such as 'full target' and 'own pathway'.

  Args:
    own_images: images of a class, as `gallery` takes them.
    own_heats: name of a row -> maps of any resolution, such as Grad-CAM's.
    other_images: other images of the class, as many or not.
    other_heats: name of a row -> maps of these.
    class_name: of all the images.
    own_notes: name of a row -> what the target says of each image.
    other_notes: likewise.
    class_pathway: what the class-relevant pathway is made of, in a line.

  Returns:
    A figure of two parts.

  Raises:
    ValueError: a part has no image, its lengths differ, or its notes are on
      a row that it has not.
  """
  parts = (
    _Part(
      palette.BLUE,
      'Their own pathways',
      'one pathway an image',
      own_images,
      own_heats,
      own_notes or {},
    ),
    _Part(
      palette.METHODS['originalactivation'],
      'The class-relevant pathway, transferred',
      class_pathway or 'one pathway for all of them',
      other_images,
      other_heats,
      other_notes or {},
    ),
  )
  for name, part in zip(('own_images', 'other_images'), parts):
    check({name: part.images}, part.heats, part.notes, {})
  marked = any(changed(part.notes) for part in parts)
  columns = max(len(part.images) for part in parts)
  sheet = Sheet(
    max(width(columns, marked), LEAST),
    TITLE + sum(HEAD + BETWEEN + part.height for part in parts) + FOOT,
  )
  sheet.write(EDGE, 0.09, class_name, fontsize=11, weight='bold')
  top = TITLE
  for part in parts:
    _draw(sheet, part, top)
    top += HEAD + part.height + BETWEEN
  foot(sheet, marked, 'cam')
  return sheet.figure


class _Part(NamedTuple):
  """Images and their heats under pathways of one kind."""

  color: str
  title: str
  under: str
  images: np.ndarray
  heats: Mapping[str, np.ndarray]
  notes: Notes

  @property
  def height(self) -> float:
    """Of the cells, in inches."""
    return (1 + len(self.heats)) * (CELL + GAP) + NOTE * len(self.notes)


def _draw(sheet: Sheet, part: _Part, top: float) -> None:
  """Draws a part below its heading, a thick line along it."""
  style = {'weight': 'bold', 'fontsize': 9, 'color': part.color}
  sheet.write(WORDS, top + 0.06, part.title, **style)
  style = {'fontsize': 7, 'color': palette.QUIET}
  sheet.write(WORDS, top + 0.22, part.under, **style)
  line = sheet.bare(EDGE, top + 0.06, 0.05, HEAD + part.height - GAP - 0.06)
  line.add_patch(Rectangle((0, 0), 1, 1, color=part.color, lw=0))
  top += HEAD
  for name in ('image', *part.heats):
    side(sheet, name, top)
    for column, image in enumerate(part.images):
      left = WORDS + column * (CELL + GAP)
      axes = sheet.bare(left, top, CELL, CELL)
      if name in part.heats:
        heat.overlay(axes, image, part.heats[name][column])
      else:
        heat.show(axes, image)
      if name in part.notes:
        note(sheet, part.notes[name][column], left, top + CELL)
    top += CELL + GAP + NOTE * (name in part.notes)

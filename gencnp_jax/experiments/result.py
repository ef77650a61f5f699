"""What an experiment shows: tables, figures, and what to make of them."""

from __future__ import annotations

import dataclasses

from etils import epath
from matplotlib.figure import Figure

from gencnp_jax.report import Section, Table, export


@dataclasses.dataclass(frozen=True)
class NamedFigure:
  """A figure.

  Attributes:
    name: of its files, without suffix.
    caption: what is drawn, and one line of what it says.
    figure: matplotlib's.
  """

  name: str
  caption: str
  figure: Figure


@dataclasses.dataclass(frozen=True)
class Result:
  """One experiment, as a section of the report and as files.

  Attributes:
    heading: a few words.
    text: plain text; blank lines part paragraphs.
    tables: each a CSV file.
    figures: each a PNG and an SVG file.
    warnings: one sentence each.
    folded: tables with the numbers of the figures; CSV files too.
    data: tables that are files alone, too long to be read.
  """

  heading: str
  text: str = ''
  tables: tuple[Table, ...] = ()
  figures: tuple[NamedFigure, ...] = ()
  warnings: tuple[str, ...] = ()
  folded: tuple[Table, ...] = ()
  data: tuple[Table, ...] = ()

  def section(self) -> Section:
    """Returns the section of the report."""
    return Section(
      self.heading,
      self.text,
      self.tables,
      tuple((shown.caption, shown.figure) for shown in self.figures),
      self.warnings,
      self.folded,
    )

  def save(self, folder: epath.Path) -> None:
    """Writes tables and figures into a folder, which is made if need be."""
    folder.mkdir(parents=True, exist_ok=True)
    for table in (*self.tables, *self.folded, *self.data):
      (folder / f'{table.slug}.csv').write_text(table.to_csv())
    for shown in self.figures:
      export.save(shown.figure, folder / shown.name)

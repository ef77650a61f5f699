"""The report: one HTML file that opens without network or scripts."""

import base64
import dataclasses
import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from gencnp_jax.report import export, templates
from gencnp_jax.report.table import Table

# Points and images make an SVG large; a picture is then smaller and as good.
SVG_BYTES = 400_000


@dataclasses.dataclass(frozen=True)
class Section:
  """One section: warnings, text, tables, figures, folded tables.

  Attributes:
    heading: a few words.
    text: plain text; blank lines part paragraphs, backticks mark code.
    tables: tables, numbered through the report.
    figures: (caption, matplotlib figure) pairs, numbered as well.
    warnings: one sentence each.
    folded: tables with the numbers of the figures, shown when asked for.
  """

  heading: str
  text: str = ''
  tables: Sequence[Table] = ()
  figures: Sequence[tuple[str, Figure]] = ()
  warnings: Sequence[str] = ()
  folded: Sequence[Table] = ()


@dataclasses.dataclass(frozen=True)
class Report:
  """What `write` writes.

  Attributes:
    title: what was explained.
    lead: one paragraph, the result in words.
    facts: name -> value: target, data set, seed, versions, device, times.
    sections: the sections.
    config: the configuration as text, shown folded.
  """

  title: str
  lead: str
  facts: Mapping[str, Any]
  sections: Sequence[Section]
  config: str = ''


class Picture(NamedTuple):
  """A figure as an `img` element needs it; width in CSS pixels."""

  caption: str
  source: str
  width: int


def write(path: str | os.PathLike, report: Report) -> Path:
  """Writes the report as one file, all of it or nothing.

  Args:
    path: the file; its folder is made where it is missing.
    report: the contents.

  Returns:
    The path.
  """
  tables, figures = itertools.count(1), itertools.count(1)
  sections = [
    {
      'section': section,
      'tables': [(next(tables), table) for table in section.tables],
      'figures': [
        (next(figures), _picture(caption, figure))
        for caption, figure in section.figures
      ],
      'folded': [(next(tables), table) for table in section.folded],
    }
    for section in report.sections
  ]
  template = templates.environment.get_template('report.html.j2')
  page = template.render(report=report, sections=sections)
  return export.replace(path, page.encode())


def _picture(caption: str, figure: Figure) -> Picture:
  """Inlines a figure: SVG, or PNG at twice the size where it holds images.

  As the source of an `img` the SVG's identifiers cannot clash with another's.
  """
  width = round(96 * figure.get_figwidth())
  if not any(axes.images for axes in figure.axes):
    svg = export.render(figure, 'svg')
    if len(svg) <= SVG_BYTES:
      return Picture(caption, _data('image/svg+xml', svg), width)
  png = export.render(figure, 'png')
  return Picture(caption, _data('image/png', png), width)


def _data(kind: str, content: bytes) -> str:
  return f'data:{kind};base64,{base64.b64encode(content).decode()}'

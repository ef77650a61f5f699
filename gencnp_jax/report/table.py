"""Result tables: one value object, shown as text, CSV, JSON and HTML.

Percent columns hold shares in [-1, 1] and are shown times 100. A value that
was not measured is None, NaN or absent; it is shown as an en dash, never as 0.
"""

import csv
import dataclasses
import io
import json
import math
import textwrap
from typing import Any, NamedTuple

import numpy as np

from gencnp_jax.report import console, templates
from gencnp_jax.report.column import Column, absent


class Cell(NamedTuple):
  """One shown cell: its text, its kind and whether it is the best."""

  text: str
  kind: str  # 'text', 'number' or 'paper'
  best: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
  """A table of results, the paper's numbers beside the measured ones.

  The best measured value of a column with a direction is marked, ties (as
  shown, after rounding) all of them. Rows with `'baseline': True` (say
  random pathways, which a metric may reward for breaking the prediction) do
  not compete. Rows may hold further keys; they are kept in the JSON only.

  Attributes:
    title: one line.
    columns: a sequence of `Column`; the first names the row.
    rows: one mapping a row, column key -> value.
    note: one paragraph below the table.
  """

  title: str
  columns: tuple[Column, ...]
  rows: tuple[dict[str, Any], ...]
  note: str = ''

  def __post_init__(self):
    object.__setattr__(self, 'columns', tuple(self.columns))
    object.__setattr__(self, 'rows', tuple(dict(row) for row in self.rows))
    keys = [column.key for column in self.columns]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if not keys or twice:
      raise ValueError(
        f'Table {self.title!r}: '
        + (f'columns {twice} appear twice.' if twice else 'no columns.')
      )
    for row in self.rows:  # a bad value is reported where the table is made
      for column in self.columns:
        column.show(row.get(column.key))
        column.show(row.get(f'{column.key}_paper'))

  @property
  def slug(self) -> str:
    """The title as a file name, without what follows 'beside'."""
    title = self.title.split(' beside ')[0].lower()
    return ''.join(c if c.isalnum() else '_' for c in title).strip('_')

  def best(self, column: Column) -> frozenset[int]:
    """Rows that hold the best measured value; none where nothing competes."""
    if not column.direction or column.fmt == 'text':
      return frozenset()
    values = {
      i: float(row[column.key])
      for i, row in enumerate(self.rows)
      if not absent(row.get(column.key)) and not row.get('baseline')
    }
    if len(values) < 2:
      return frozenset()
    top = (max if column.direction == 'higher' else min)(values.values())
    shown = column.show(top)
    return frozenset(i for i, v in values.items() if column.show(v) == shown)

  def cells(self) -> list[list[Cell]]:
    """Every cell as it is shown, paper cells in place, row by row."""
    best = {column.key: self.best(column) for column in self.columns}
    rows = []
    for i, row in enumerate(self.rows):
      rows.append([])
      for column in self.columns:
        kind = 'text' if column.fmt == 'text' else 'number'
        text = column.show(row.get(column.key))
        rows[-1].append(Cell(text, kind, i in best[column.key]))
        if column.paper:
          text = column.show(row.get(f'{column.key}_paper'))
          rows[-1].append(Cell(text, 'paper'))
    return rows

  def to_text(self) -> str:
    """The table as aligned text for a console; `*` marks the best."""
    heads = []
    for column in self.columns:
      suffix = column.suffix.replace(' ', '\N{NO-BREAK SPACE}')
      heads.append(f'{column.title} {suffix}'.strip())
      heads += ['paper'] * column.paper
    rows = [
      [cell.text + '*' * cell.best for cell in row] for row in self.cells()
    ]
    lines = [self.title, '', *console.aligned(heads, rows)]
    if self.note:
      lines += ['', *textwrap.wrap(self.note, 100)]
    return '\n'.join(lines)

  def to_csv(self) -> str:
    """Unrounded values under the columns' keys; an empty field is missing."""
    keys = []
    for column in self.columns:
      keys += [column.key] + [f'{column.key}_paper'] * column.paper
    out = io.StringIO()
    writer = csv.writer(out, lineterminator='\n')
    writer.writerow(keys)
    for row in self.rows:
      writer.writerow([_plain(row.get(key)) for key in keys])
    return out.getvalue()

  def to_json(self) -> str:
    """The whole table; `from_json` gives it back."""
    content = dataclasses.asdict(self)
    content['rows'] = [
      {key: _plain(value) for key, value in row.items()} for row in self.rows
    ]
    return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1)

  @classmethod
  def from_json(cls, text: str) -> 'Table':
    """Reads what `to_json` wrote."""
    content = json.loads(text)
    content['columns'] = [Column(**column) for column in content['columns']]
    return cls(**content)

  def to_html(self) -> str:
    """The table as an HTML fragment, without style."""
    module = templates.environment.get_template('table.html.j2').module
    return str(module.table(self))

  _repr_html_ = to_html  # shown by notebooks


def _plain(value: Any) -> Any:
  """A value as JSON and CSV can hold it; None where it is absent."""
  if absent(value):
    return None
  if isinstance(value, np.generic):
    value = value.item()
  if isinstance(value, float) and not math.isfinite(value):
    return None
  return value

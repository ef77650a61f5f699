"""One metric of methods over a share that was varied: a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gencnp_jax.report.column import Column
from gencnp_jax.report.table import Table


def pivot(
  title: str,
  rows: Sequence[Mapping[str, Any]],
  along: str,
  column: Column,
  printed: Mapping[str, Mapping[float, float]] | None = None,
  note: str = '',
) -> Table:
  """Returns a table of methods by the values of a share.

  Args:
    title: of the table.
    rows: one mapping a method and share: 'method', `along` and the metric. A
      method of 'baseline' True, or Random, does not compete.
    along: key of the share, such as 'cut'.
    column: of the metric.
    printed: method -> share -> the paper's value.
    note: below the table.
  """
  shares = sorted({row[along] for row in rows})
  there = {s for values in (printed or {}).values() for s in values}
  lines = []
  for method in dict.fromkeys(row['method'] for row in rows):
    own = [row for row in rows if row['method'] == method]
    random = own[0].get('baseline', method == 'Random')
    line = {'method': method, 'baseline': random}
    line |= {f'at_{row[along]:g}': row[column.key] for row in own}
    for share, value in (printed or {}).get(method, {}).items():
      line[f'at_{share:g}_paper'] = value
    lines.append(line)
  across = [
    Column(
      f'at_{share:g}',
      f'at {100 * share:g} %',
      column.direction,
      column.fmt,
      paper=share in there,
    )
    for share in shares
  ]
  method = Column('method', 'Method', fmt='text')
  return Table(title, (method, *across), lines, note)

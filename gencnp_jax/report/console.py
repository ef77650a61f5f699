"""Aligned columns of text for a console."""

import textwrap

MIN_WIDTH = 8  # of a heading before it is wrapped, in characters


def aligned(heads: list[str], rows: list[list[str]]) -> list[str]:
  """Sets headings, a rule and rows in columns, two spaces apart.

  Headings are wrapped to about the width of what stands below them. The first
  column is flush left, the others flush right; a trailing `*` hangs, so that
  the digits above and below it stay in line.

  Args:
    heads: one heading a column; a no-break space keeps words together.
    rows: the cells, each row as long as `heads`.

  Returns:
    The lines, without trailing blanks.
  """
  wrapped, columns = [], []
  for i, head in enumerate(heads):
    cells = [row[i] for row in rows]
    if any(cell.endswith('*') for cell in cells):
      cells = [c if c.endswith('*') else c + ' ' for c in cells]
    width = max([MIN_WIDTH, *map(len, cells)])
    wrapped.append(textwrap.wrap(head, width, break_long_words=False))
    width = max(map(len, [*wrapped[-1], *cells]), default=0)
    columns.append((width, cells))
  height = max(map(len, wrapped))
  out = []
  for i, (lines, (width, cells)) in enumerate(zip(wrapped, columns)):
    lines = [''] * (height - len(lines)) + lines + ['─' * width] + cells
    out.append([x.ljust(width) if i == 0 else x.rjust(width) for x in lines])
  lines = ['  '.join(line).rstrip() for line in zip(*out)]
  return [line.replace('\N{NO-BREAK SPACE}', ' ') for line in lines]

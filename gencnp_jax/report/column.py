"""One column of a table: its direction, its unit, how a value is shown."""

import dataclasses
import math
from typing import Any

import numpy as np

MISSING = '–'
ARROWS = {'': '', 'higher': '↑', 'lower': '↓'}
UNITS = {
  'percent': '%',
  'percent2': '%',
  'count': '',
  'text': '',
  'float': '',
  'seconds': 's',
}


@dataclasses.dataclass(frozen=True)
class Column:
  """One column of a table.

  Attributes:
    key: the key of its values in the rows; the paper's value, where there is
      one, is found under `key + '_paper'`.
    title: the heading, without unit and arrow.
    direction: 'higher' or 'lower', whichever is better, or '' for neither.
    fmt: one of `UNITS`; 'percent' shows one decimal, 'percent2' two.
    paper: whether the paper's numbers stand in a neighbouring column.
  """

  key: str
  title: str
  direction: str = ''
  fmt: str = 'percent'
  paper: bool = False

  def __post_init__(self):
    for field, legal in (('direction', ARROWS), ('fmt', UNITS)):
      value = getattr(self, field)
      if value not in legal:
        raise ValueError(
          f'Column {self.key!r}: {field}={value!r} is unknown; use one of '
          f'{", ".join(map(repr, legal))}.'
        )

  @property
  def suffix(self) -> str:
    """Unit and arrow, as they follow the title: '% ↑'."""
    return f'{UNITS[self.fmt]} {ARROWS[self.direction]}'.strip()

  def show(self, value: Any) -> str:
    """Formats one value; an en dash where there is none."""
    if absent(value):
      return MISSING
    if self.fmt == 'text':
      return str(value)
    if not isinstance(value, int | float | np.number):
      raise ValueError(
        f'Column {self.key!r}: {value!r} is not a number; a column of words '
        "needs fmt='text'."
      )
    value = float(value)
    if math.isinf(value):
      return '∞' if value > 0 else '−∞'
    if UNITS[self.fmt] == '%':
      if abs(value) > 1 + 1e-6:
        raise ValueError(
          f'Column {self.key!r}: {value:g} is no share in [-1, 1]; divide '
          'percentages by 100.'
        )
      text = f'{100 * value:.{1 if self.fmt == "percent" else 2}f}'
    elif self.fmt == 'count':
      text = f'{value:,.0f}'
    elif self.fmt == 'seconds':
      text = f'{value:,.1f}' if abs(value) < 100 else f'{value:,.0f}'
    else:
      text = f'{value:.3g}' if abs(value) < 1000 else f'{value:,.0f}'
    if not text.strip('-0.'):
      text = text.lstrip('-')  # a rounded -0.0 is 0.0
    return text.replace('-', '−')


def absent(value: Any) -> bool:
  """Whether a value was not measured."""
  return value is None or value == '' or value != value

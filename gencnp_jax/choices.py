"""Choosing among words: what is legal, and the nearest to a typo."""

from __future__ import annotations

import difflib
from collections.abc import Sequence


class SettingsError(ValueError):
  """A setting that is not legal: names the field, the value and the remedy."""


def comma_set(field: str, value: str, legal: Sequence[str]) -> tuple[str, ...]:
  """Reads a comma-set field; returns its words in the legal order.

  Raises:
    SettingsError: an unknown word, or none at all.
  """
  given = [w.strip() for w in value.split(',') if w.strip()]
  if not given:
    raise SettingsError(
      f'config.{field}={value!r}: name at least one of {", ".join(legal)}.'
    )
  for word in given:
    one_of(f'config.{field}', word, legal)
  return tuple(w for w in legal if w in given)


def one_of(field: str, value: str, legal: Sequence[str]) -> None:
  """Raises a SettingsError where a value is not among the legal ones."""
  if value in legal:
    return
  near = difflib.get_close_matches(str(value), legal, n=1)
  guess = f' Did you mean {near[0]!r}?' if near else ''
  raise SettingsError(
    f'{field}: {value!r} is unknown; choose from {", ".join(legal)}.{guess}'
  )


def some(names: Sequence[str], most: int) -> str:
  """Returns the first names in a line, and how many more there are."""
  more = f' and {len(names) - most} more' if len(names) > most else ''
  return ', '.join(names[:most]) + more

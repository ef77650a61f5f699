"""Names of the classes, from the text files that data sets bring along."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np


def listed(path: Path) -> tuple[str, ...]:
  """Reads classes.txt: a line a class, tab-separated, the name last.

  Raises:
    ValueError: it is no text.
  """
  return tuple(line.split('\t')[-1].strip() for _, line in lines(path))


def mapped(path: Path) -> tuple[str, ...]:
  """Reads ImageNet's map_clsloc.txt: lines such as `n02119789 1 kit_fox`.

  Returns:
    The names in the order of their numbers, which count from 1.

  Raises:
    ValueError: it is no text, a line has another form, or the numbers are not
      1 to the number of lines.
  """
  names, found = {}, lines(path)
  for number, line in found:
    parts = line.split(maxsplit=2)
    # No class has a number of ten digits, and Python refuses one of thousands.
    if len(parts) < 3 or not parts[1].isdecimal() or len(parts[1]) > 9:
      raise ValueError(
        f'{path}, line {number}: {line!r} is not a synset, the number of the '
        'class and its name; repair the line, or remove the file'
      )
    names[int(parts[1])] = parts[2].replace('_', ' ')
  if sorted(names) != list(range(1, len(found) + 1)):
    raise ValueError(
      f'{path}: the numbers of its {len(found)} classes must be 1 to '
      f'{len(found)}, each once; repair or remove it'
    )
  return tuple(names[number] for number in sorted(names))


def words(path: Path) -> dict[str, str]:
  """Reads words.txt: synset, tab, names with commas; -> the first name each.

  Raises:
    ValueError: it is no text, or a line has no tab.
  """
  names = {}
  for number, line in lines(path):
    synset, tab, described = line.partition('\t')
    if not tab:
      raise ValueError(
        f'{path}, line {number}: {line!r} is not a synset, a tab and names; '
        'repair the line, or remove the file'
      )
    names[synset.strip()] = described.split(',')[0].strip()
  return names


def numbers(labels: Iterable[np.ndarray]) -> tuple[str, ...]:
  """The numbers up to the largest label, where nothing has a name."""
  largest = max((int(part.max(initial=-1)) for part in labels), default=-1)
  return tuple(str(row) for row in range(largest + 1))


def lines(path: Path) -> list[tuple[int, str]]:
  """The lines of a text file that are not blank, and their numbers from 1.

  Raises:
    ValueError: it is no UTF-8 text; the message names it.
  """
  try:
    text = path.read_text(encoding='utf-8')
  except (OSError, UnicodeDecodeError) as error:
    raise ValueError(
      f'{path} is no UTF-8 text ({error}); copy it again'
    ) from error
  return [
    (number, line)
    for number, line in enumerate(text.splitlines(), 1)
    if line.strip()
  ]

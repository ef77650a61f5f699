"""Arrays that an experiment left beside its numbers, read for the report."""

from __future__ import annotations

from typing import NoReturn

from etils import epath

from gencnp_jax import npz_files

MEASURED = 'measured.json'
"""The numbers, without which an experiment is measured again."""
_REMEDY = (
  'remove {} and add experiments to config.stages, and it is measured again.'
)


class Arrays(dict):
  """Arrays by name; one that is missing names the file and the remedy.

  Args:
    path: the .npz file, beside the numbers.

  Raises:
    ValueError: it is gone, or damaged.
  """

  def __init__(self, path: epath.Path):
    self._path, self._remedy = path, _REMEDY.format(path.parent / MEASURED)
    try:
      super().__init__(npz_files.read(path, self._remedy))
    except FileNotFoundError as error:
      raise ValueError(f'{path} is gone; {self._remedy}') from error

  def __missing__(self, name: str) -> NoReturn:
    raise ValueError(f'{self._path} has no {name}; {self._remedy}')

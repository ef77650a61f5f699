"""Local files and folders, as people write them."""

from pathlib import Path


def expanded(path: str, field: str) -> Path:
  """A path with the home folder in place of its `~`.

  Args:
    path: of a file or a folder, there or not.
    field: what the message calls it.

  Raises:
    ValueError: nothing can have this name: no such user, or it is too long.
  """
  try:
    place = Path(path).expanduser()
    place.exists()
  except (OSError, RuntimeError) as error:
    raise ValueError(
      f'{field} {path!r} cannot be a path ({error}); write it in full'
    ) from error
  return place

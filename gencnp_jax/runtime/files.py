"""Files of a workdir: whole or not there, written by the first process."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, BinaryIO

from etils import epath

from gencnp_jax.runtime import processes


def write(path: epath.PathLike, fill: Callable[[BinaryIO], Any]) -> None:
  """Writes a file under a temporary name, then renames it.

  The first process writes; the others return when the file is there.

  Args:
    path: local or `gs://`; its folder is made if need be.
    fill: writes to the open file.

  Raises:
    OSError: what the file system said; a file that was there is as it was.
  """
  path = epath.Path(path)

  def replace():
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f'.{path.name}.{os.getpid()}'
    try:
      with temporary.open('wb') as file:
        fill(file)
      temporary.replace(path)
    except BaseException:
      temporary.unlink(missing_ok=True)
      raise

  processes.from_first(replace)


def write_text(path: epath.PathLike, text: str) -> None:
  """Writes text; see `write`."""
  write(path, lambda file: file.write(text.encode()))

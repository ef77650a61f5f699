"""Files that are whole or not there, and written by the first process."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import Any, BinaryIO

from etils import epath

from gencnp_jax.runtime import buckets, processes


def write(path: epath.PathLike, fill: Callable[[BinaryIO], Any]) -> None:
  """Writes a file in the first process; the others wait for it.

  See `replace`.
  """
  processes.from_first(lambda: replace(path, fill))


def write_text(path: epath.PathLike, text: str) -> None:
  """Writes text; see `write`."""
  write(path, lambda file: file.write(text.encode()))


def replace(path: epath.PathLike, fill: Callable[[BinaryIO], Any]) -> None:
  """Writes a file, all of it or nothing.

  Args:
    path: local or `gs://`; its folder is made if need be.
    fill: writes to the open file.

  Raises:
    OSError: what the file system said; a file that was there is as it was.
  """
  path = epath.Path(path)
  if buckets.is_remote(path):
    # An object appears when all of it was sent; a rename would copy it.
    content = io.BytesIO()
    fill(content)
    path.write_bytes(content.getvalue())
    return
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.parent / f'.{path.name}.{os.getpid()}'
  try:
    with temporary.open('wb') as file:
      fill(file)
    temporary.replace(path)
  except BaseException:
    temporary.unlink(missing_ok=True)
    raise

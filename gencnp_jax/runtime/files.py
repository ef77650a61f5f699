"""Files that are whole or not there, and written by the first process."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable
from typing import Any, BinaryIO

from etils import epath

from gencnp_jax.runtime import buckets, processes

_PART = re.compile(r'\..+\.\d+\.part')


def part_of(path: epath.Path) -> epath.Path:
  """Returns the name that a file has while it is being written."""
  # Beside it, so that the rename stays on one file system.
  return path.parent / f'.{path.name}.{os.getpid()}.part'


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
  part = part_of(path)
  try:
    with part.open('wb') as file:
      fill(file)
    part.replace(path)
  except BaseException:
    part.unlink(missing_ok=True)
    raise


def write(path: epath.PathLike, fill: Callable[[BinaryIO], Any]) -> None:
  """Writes a file in the first process; in the others it is there on return.

  Arguments and errors as `replace`.
  """
  processes.from_first(lambda: replace(path, fill))


def write_text(path: epath.PathLike, text: str) -> None:
  """Writes text; see `write`."""
  write(path, lambda file: file.write(text.encode()))


def remove_parts(folder: epath.Path) -> None:
  """Removes what runs that were killed have left half written in a workdir."""
  if buckets.is_remote(folder):
    return
  levels = ('', '*/', '*/*/', '*/*/*/')
  for path in [p for level in levels for p in folder.glob(f'{level}.*.part')]:
    if _PART.fullmatch(path.name):
      path.unlink(missing_ok=True)

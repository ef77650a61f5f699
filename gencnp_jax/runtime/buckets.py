"""Paths in a bucket, `gs://BUCKET/FOLDER`."""

from __future__ import annotations

import os

from etils import epath


def is_remote(path: epath.PathLike) -> bool:
  """Returns whether a path is a URL of an object store."""
  return '://' in os.fspath(path)


def absolute(path: epath.PathLike) -> epath.Path:
  """Returns an absolute path: a URL is one."""
  path = epath.Path(path)
  # epath would put the working directory before it.
  return path if is_remote(path) else path.absolute()

"""Paths in a bucket, `gs://BUCKET/FOLDER`: what is special, and what is wrong.

A bucket has no folders, only objects by name, each written whole or not at all;
what is renamed is copied object by object.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator

from etils import epath

_PREFIX = 'gs://'


class BucketError(ValueError):
  """A bucket that cannot be used, why, and what to do."""


def is_remote(path: epath.PathLike) -> bool:
  """Returns whether a path is a URL of an object store."""
  return '://' in os.fspath(path)


def absolute(path: epath.PathLike) -> epath.Path:
  """Returns an absolute path; a URL is one."""
  path = epath.Path(path)
  # epath would put the working directory before it.
  return path if is_remote(path) else path.absolute()


def check(path: epath.PathLike, field: str = '') -> None:
  """Asks for the bucket of a `gs://` path, once.

  Args:
    path: of any kind.
    field: what messages call it, such as '--workdir'; '' for the path alone.

  Raises:
    BucketError: it cannot be reached; names path and remedy.
  """
  if os.fspath(path).startswith(_PREFIX):
    with explained(path, field):
      _reach(_bucket(path))


def check_rights(path: epath.PathLike) -> None:
  """Asks what orbax asks when it removes an old step, before one is written.

  Raises:
    BucketError: it is not allowed; names path and remedy.
  """
  if os.fspath(path).startswith(_PREFIX):
    with explained(path):
      _describe(_bucket(path))


@contextlib.contextmanager
def explained(path: epath.PathLike, field: str = '') -> Iterator[None]:
  """Says what an error of Google Cloud Storage means, and what to do.

  Args:
    path: that is read or written within; of any kind.
    field: see `check`.

  Raises:
    BucketError: in the place of any error, where the path is a `gs://` one.
  """
  try:
    yield
  except Exception as error:  # gcsfs, google-auth and others raise many types.
    if not os.fspath(path).startswith(_PREFIX):
      raise
    where = f'{field}={path}' if field else f'{path}'
    raise BucketError(f'{where}: {_remedy(error, _bucket(path))}') from error


@functools.cache
def _reach(bucket: str) -> None:
  # TensorFlow would be epath's way, where it is installed.
  os.environ.setdefault('EPATH_USE_TF', 'false')
  from etils.epath import backend

  system = backend.fsspec_backend.fs(_PREFIX + bucket)
  # What others write would not be seen: tensorstore, and other processes.
  system.dircache.use_listings_cache = False
  system.dircache.clear()
  system.ls(bucket, max_results=1)


@functools.cache
def _describe(bucket: str) -> None:
  from google.cloud import storage

  storage.Client().get_bucket(bucket)


def _bucket(path: epath.PathLike) -> str:
  return os.fspath(path).removeprefix(_PREFIX).partition('/')[0]


def _remedy(error: Exception, bucket: str) -> str:
  """Returns in words what an error means, and what to do."""
  code = getattr(error, 'code', None)
  said = str(error).strip().rpartition('\n')[2] or type(error).__name__
  if isinstance(error, ImportError):
    return "gs:// needs gcsfs: pip install 'gencnp_jax[gcs]'."
  if code == 401 or type(error).__module__.startswith('google.auth.'):
    return (
      f'Google Cloud does not know who asks ({said}). Log in: gcloud auth '
      'application-default login.'
    )
  if code == 404 or isinstance(error, FileNotFoundError):
    return (
      f'there is no bucket {bucket}. Create it: gcloud storage buckets create '
      f'gs://{bucket}; or mend its name.'
    )
  if code == 403 or 'Forbidden' in str(error):
    return (
      f'Google Cloud does not allow it ({said}). Grant this account the role '
      f'roles/storage.admin on the bucket {bucket}, or log in as another.'
    )
  if 'Project' in said and isinstance(error, OSError):
    return (
      'Google Cloud does not know which project asks. Name it: export '
      'GOOGLE_CLOUD_PROJECT=NAME.'
    )
  return f'Google Cloud Storage cannot be used ({said}).'

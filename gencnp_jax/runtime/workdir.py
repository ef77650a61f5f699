"""The workdir: writable, used by one run at a time, made by one config."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import jax
from etils import epath

from gencnp_jax.runtime import buckets, files, processes

CONFIG = 'config.json'


class WorkdirError(ValueError):
  """A workdir that this run cannot use, and why."""


@contextlib.contextmanager
def open_workdir(
  path: epath.PathLike, field: str = '--workdir'
) -> Iterator[epath.Path]:
  """Makes a workdir if need be, checks that it is writable, and locks it.

  The lock is the operating system's, so that it ends with the process however
  that ends; the first of several processes holds it. An object store has none.

  Args:
    path: local, or a URL of an object store.
    field: what messages call the path: the flag or argument that gave it.

  Raises:
    BucketError: a bucket that cannot be used.
    WorkdirError: not writable, in use by another run, or not one folder for all
      processes.
  """
  buckets.check(path, field)
  with contextlib.ExitStack() as stack:

    def lock():
      stack.enter_context(_locked(path, field))

    processes.from_first(lock)
    _check_shared(epath.Path(path), field)
    yield epath.Path(path)
    processes.wait('the workdir is closed')


@contextlib.contextmanager
def _locked(path: epath.PathLike, field: str) -> Iterator[None]:
  workdir = epath.Path(path)
  # A local lock: an object store has none, and its files no descriptors.
  if buckets.is_remote(path):
    with buckets.explained(path, field):
      (workdir / '.writable').write_text('')
      (workdir / '.writable').unlink()
    yield
    return
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    file = open(workdir / '.lock', 'a+')  # noqa: SIM115
  except OSError as error:
    raise WorkdirError(
      f'{field}={path}: not writable ({error.strerror or error}). Choose '
      f'another folder with {field}.'
    ) from error
  with file:
    try:
      fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
      file.seek(0)
      raise WorkdirError(
        f'{field}={path} is in use by {file.read().strip() or "another run"}. '
        f'Wait for it, stop it, or choose another folder with {field}.'
      ) from error
    file.truncate(0)
    file.write(f'process {os.getpid()} on {socket.gethostname()}')
    file.flush()
    yield


def _check_shared(workdir: epath.Path, field: str) -> None:
  """Raises where the processes do not see the same folder."""
  if jax.process_count() == 1:
    return
  token = processes.from_first(lambda: uuid.uuid4().hex)
  path = workdir / '.shared'
  files.write_text(path, token)
  try:
    seen = path.read_text() == token
  except OSError:
    seen = False
  blind = [i for i, sees in enumerate(processes.from_all(seen)) if not sees]
  processes.from_first(lambda: path.unlink(missing_ok=True))
  if blind:
    raise WorkdirError(
      f'{field}={workdir}: process {blind[0]} does not see what process 0 writes '
      f'there ({len(blind)} of {jax.process_count()} do not). Name a folder that '
      'all hosts share, such as gs://BUCKET/FOLDER.'
    )


def clear(workdir: epath.Path) -> None:
  """Removes what is half written; a run that made nothing binds no later one.

  Args:
    workdir: an opened workdir.
  """
  files.remove_parts(workdir)
  made = (p for p in workdir.glob('*/*') if p.is_file() or any(p.iterdir()))
  if next(made, None) is None:
    (workdir / CONFIG).unlink(missing_ok=True)


def check_config(
  workdir: epath.Path,
  config: Mapping[str, Any],
  free: tuple[str, ...],
  defaults: Mapping[str, Any] | None = None,
  field: str = '--workdir',
) -> None:
  """Stores the config of a new workdir, or compares with the one that made it.

  Args:
    workdir: an opened workdir.
    config: nested mapping of JSON values.
    free: fields, or whole sections, that may change between runs.
    defaults: what a field was before there was such a field, nested likewise.
    field: see `open_workdir`.

  Raises:
    WorkdirError: names the fields that differ.
  """
  processes.from_first(
    lambda: _check_stored(workdir, config, free, defaults, field)
  )
  write_json(workdir / CONFIG, config)


def _check_stored(workdir, config, free, defaults, field) -> None:
  path = workdir / CONFIG
  now = flat(json.loads(json.dumps(config)))
  if path.exists():
    try:
      before = flat(json.loads(path.read_text()))
      before = flat(json.loads(json.dumps(defaults or {}))) | before
    # Text that is no JSON, bytes that are no text, JSON that is no mapping.
    except (ValueError, AttributeError, RecursionError) as error:
      raise WorkdirError(
        f'{path} is damaged ({error}). Remove it if the workdir was made by '
        f'this config, or choose another folder with {field}.'
      ) from error
    different = [
      f'  {key}: the workdir has {before.get(key)!r}, this run {now.get(key)!r}'
      for key in sorted(before.keys() | now.keys())
      if before.get(key) != now.get(key)
      and key not in free
      and key.split('.')[0] not in free
    ]
    if different:
      raise WorkdirError(
        f'{field}={workdir} was made by another config:\n'
        + '\n'.join(different)
        + f'\nChoose another folder with {field}, or go back to its values.'
      )


def write_json(path: epath.PathLike, content: Any) -> None:
  """Writes JSON; see `files.write`."""
  files.write_text(path, json.dumps(content, indent=2, allow_nan=False) + '\n')


def flat(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
  """Returns the values of a nested mapping by their dotted names."""
  fields = {}
  for key, value in tree.items():
    if isinstance(value, dict):
      fields.update(flat(value, f'{prefix}{key}.'))
    else:
      fields[f'{prefix}{key}'] = value
  return fields

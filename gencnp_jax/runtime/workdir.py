"""The workdir: writable, used by one run at a time, made by one config."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
from collections.abc import Iterator, Mapping
from typing import Any

from etils import epath

CONFIG = 'config.json'


class WorkdirError(ValueError):
  """A workdir that this run cannot use, and why."""


@contextlib.contextmanager
def open_workdir(
  path: epath.PathLike, field: str = '--workdir'
) -> Iterator[epath.Path]:
  """Makes a workdir if need be, checks that it is writable, and locks it.

  The lock is the operating system's, so that it ends with the process however
  that ends. An object store has none.

  Args:
    path: local, or a URL of an object store.
    field: what messages call the path: the flag or argument that gave it.

  Raises:
    WorkdirError: not writable, or in use by another run.
  """
  workdir = epath.Path(path)
  # A local lock: an object store has none, and its files no descriptors.
  is_local = '://' not in str(path)
  try:
    workdir.mkdir(parents=True, exist_ok=True)
    if is_local:
      file = open(workdir / '.lock', 'a+')  # noqa: SIM115
  except OSError as error:
    raise WorkdirError(
      f'{field}={path}: not writable ({error.strerror or error}). Choose '
      f'another folder with {field}.'
    ) from error
  if not is_local:
    yield workdir
    return
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
    yield workdir


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
  path = workdir / CONFIG
  now = _flat(json.loads(json.dumps(config)))
  if path.exists():
    try:
      before = _flat(json.loads(path.read_text()))
      before = _flat(json.loads(json.dumps(defaults or {}))) | before
    # Text that is no JSON, bytes that are no text, JSON that is no mapping.
    except (ValueError, AttributeError) as error:
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
  write_json(path, config)


def write_json(path: epath.PathLike, content: Any) -> None:
  """Writes JSON under a temporary name, then renames."""
  path = epath.Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  temporary = path.parent / f'.{path.name}.{os.getpid()}'
  temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + '\n')
  temporary.replace(path)


def _flat(tree: Mapping[str, Any], prefix: str = '') -> dict[str, Any]:
  fields = {}
  for key, value in tree.items():
    if isinstance(value, dict):
      fields.update(_flat(value, f'{prefix}{key}.'))
    else:
      fields[f'{prefix}{key}'] = value
  return fields

"""What several processes agree upon, and how they end together.

Every process runs the same program. What the file system says is asked by the
first process alone and told to the others, so that all of them take the same
way; with one process everything here is a plain call. The words travel through
the key-value store of `jax.distributed`.
"""

from __future__ import annotations

import contextvars
import itertools
import json
import os
import re
import socket
import threading
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import jax
import numpy as np
from orbax.checkpoint import multihost

# What a process waits for the others, in milliseconds: no limit but their
# death, which the runtime notices by their heartbeats.
_PATIENCE = 24 * 3600 * 1000
# Seconds from a process's failure to the end of the others.
_GRACE = 5.0
_FAILED = 'gencnp/failed/'
# How gloo and the runtime speak of a process that does not answer.
_GONE = re.compile(r'(closed|reset) by peer|Gloo .* failed|heartbeat', re.I)
_numbers = itertools.count()
# Within `from_first` the first process is on its own.
_alone = contextvars.ContextVar('alone', default=False)


class ClusterError(ValueError):
  """Processes that cannot work together, and why."""


def is_first() -> bool:
  """True in the process that writes files, and says what happens."""
  return not started() or jax.process_index() == 0


def started() -> bool:
  """True where `jax.distributed` runs; touches no device."""
  return jax.distributed.is_initialized()


def several() -> bool:
  """True where there are other processes to agree with."""
  return started() and jax.process_count() > 1 and not _alone.get()


def wait(what: str) -> None:
  """Waits until all processes are here."""
  if several():
    _client().wait_at_barrier(f'gencnp/{next(_numbers)}/{what}', _PATIENCE)


def from_first(ask: Callable[[], Any]) -> Any:
  """Calls a function in the first process, and returns its result in all.

  Args:
    ask: returns a JSON value. What it raises is raised in all processes.
  """
  if not several():
    return ask()
  key = f'gencnp/{next(_numbers)}'
  if not is_first():
    said = _heard(key)
    if 'error' in said:
      kind, message = said['error']
      raise (OSError if kind == 'OSError' else ValueError)(message)
    return said['value']
  token = _alone.set(True)
  try:
    value = ask()
  except Exception as error:
    kind = 'OSError' if isinstance(error, OSError) else 'ValueError'
    _tell(key, {'error': [kind, str(error)]})
    raise
  finally:
    _alone.reset(token)
  # As the others read it: a tuple is a list there.
  return _tell(key, {'value': value})['value']


def from_all(value: Any) -> list[Any]:
  """Returns the JSON values of all processes, in their order."""
  if not several():
    return [value]
  key = f'gencnp/{next(_numbers)}'
  _tell(f'{key}/{jax.process_index()}', {'value': value})
  count = jax.process_count()
  return [_heard(f'{key}/{i}')['value'] for i in range(count)]


def check_same(what: str, values: Mapping[str, Any], remedy: str) -> None:
  """Raises in all processes where one has other values than the first.

  Args:
    what: what the values are, for the message.
    values: JSON values by name.
    remedy: what to do, for the message.

  Raises:
    ClusterError: names the process and the first value that differs.
  """
  if not several():
    return
  mine = json.loads(json.dumps(values))
  first = from_first(lambda: mine)
  different = sorted(
    key
    for key in first.keys() | mine.keys()
    if first.get(key, ...) != mine.get(key, ...)
  )
  said = None
  if different:
    name = different[0]
    said = (
      f'process {jax.process_index()} on {socket.gethostname()} has another '
      f'{what} than process 0: {name} is {mine.get(name)!r}, there '
      f'{first.get(name)!r}. {remedy}'
    )
  for found in from_all(said):
    if found is not None:
      raise ClusterError(found)


def digest(*arrays: np.ndarray | None) -> int:
  """Returns a CRC-32 of arrays, to be compared between processes."""
  total = 0
  for array in arrays:
    if array is not None:
      flat = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
      total = zlib.crc32(flat, total)
  return total


def leave(message: str, code: int) -> NoReturn:
  """Ends this process, and with it the others, with one message.

  Without this the others would wait for the runtime to notice, and end in a
  stack trace.

  Args:
    message: what the first process says, or this one where the first has not
      met the same.
    code: exit code of this process.
  """
  if is_first():
    say(message)
  _client().key_value_set(f'{_FAILED}{jax.process_index()}', message)
  end = time.monotonic() + _GRACE
  while time.monotonic() < end:
    failed = _failed()
    if is_first() and len(failed) == jax.process_count():
      let_others_go()
      break
    if not is_first() and failed.get(0) == message:
      break
    time.sleep(0.1)
  else:
    if not is_first():
      say(f'{_place()}: {message}')
  os._exit(code)


def let_others_go() -> None:
  """Lets the first process end last: it hosts the runtime of the others."""
  if several() and is_first():
    time.sleep(1.0)


def lost(error: Exception) -> str | None:
  """Returns what to say where an error means that another process is gone.

  Args:
    error: of a collective, or of the runtime.

  Returns:
    The message, or None for any other error.
  """
  said = str(error)
  if not isinstance(error, jax.errors.JaxRuntimeError) or not _GONE.search(
    said
  ):
    return None
  return (
    'Error: another process of this run is gone: killed, or cut off. See what '
    'it said last. The same command, in all processes, goes on from what was '
    f'saved. ({said.splitlines()[0]})'
  )


def watch_others() -> None:
  """Ends this process soon after another one has failed, from a thread."""
  threading.Thread(target=_watch_others, daemon=True).start()


def say(message: str) -> None:
  """Writes a line for people, whatever Python is doing."""
  os.write(2, f'{message}\n'.encode())


def _watch_others() -> None:
  mine = jax.process_index()
  while True:
    time.sleep(1.0)
    try:
      failed = _failed()
    except Exception:  # The runtime is shutting down.
      return
    if not failed or mine in failed:
      continue
    if 0 not in failed:
      time.sleep(_GRACE)  # Its own message names what happened to it.
    if is_first():
      say('Another process has failed: this run ends.')
    _client().key_value_set(f'{_FAILED}{mine}', '')
    time.sleep(_GRACE if is_first() else 0)
    os._exit(1)


def _failed() -> dict[int, str]:
  """Returns the messages of the processes that have failed."""
  found = _client().key_value_dir_get(_FAILED)
  return {int(key.rsplit('/', 1)[1]): message for key, message in found}


def _client() -> Any:
  return multihost.get_jax_distributed_client()


def _tell(key: str, said: dict[str, Any]) -> dict[str, Any]:
  """Stores a value for the others; returns it as they will read it."""
  text = json.dumps(said)
  _client().key_value_set(key, text)
  return json.loads(text)


def _heard(key: str) -> dict[str, Any]:
  return json.loads(_client().blocking_key_value_get(key, _PATIENCE))


def _place() -> str:
  return f'Process {jax.process_index()} on {socket.gethostname()}'

"""Preemption: SIGTERM ends a run at its next safe point, the same everywhere.

A loop asks `requested()` once a dispatch, saves what it has, and raises
`Preempted`, which ends the program with exit code 42: start it again, and it
goes on. With `jax.distributed` the runtime's own protocol finds the dispatch
at which all processes stop.
"""

from __future__ import annotations

import contextlib
import itertools
import signal
import threading
from collections.abc import Iterator

import jax
from absl import logging
from jax.experimental import multihost_utils
from orbax.checkpoint import multihost

EXIT_CODE = 42
"""Of a program that was preempted, and can go on."""

# Where the runtime's protocol leaves that a process has received SIGTERM.
_NOTICE = 'RECEIVED_PREEMPTION_NOTICE'
_signal = threading.Event()
_agreed = threading.Event()
_asked = itertools.count()


class Preempted(SystemExit):
  """The end of a run that was asked to end.

  Args:
    saved: what is there, for people.
  """

  def __init__(self, saved: str = 'all that was finished is kept'):
    super().__init__(EXIT_CODE)
    self.saved = saved


@contextlib.contextmanager
def watched() -> Iterator[None]:
  """Lets SIGTERM ask for an end while it lasts, instead of ending at once.

  Nothing changes where the program has a handler of its own, outside the main
  thread, or where `jax.distributed` watches already.
  """
  if (
    jax.distributed.is_initialized()
    or threading.current_thread() is not threading.main_thread()
    or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
  ):
    yield
    return
  signal.signal(signal.SIGTERM, _receive)
  try:
    yield
  finally:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _signal.clear()


def requested() -> bool:
  """Returns whether to save and end now; to be asked once a dispatch.

  With several processes all of them ask equally often, and are told so at the
  same time.
  """
  if not jax.distributed.is_initialized():
    return _signal.is_set()
  if _agreed.is_set():
    return True
  if multihost_utils.reached_preemption_sync_point(next(_asked)):
    _agreed.set()
  return _agreed.is_set()


def noticed() -> bool:
  """Returns whether this process, or another of its run, was told to end.

  Unlike `requested` it may be asked at any time; processes are told at
  different times, so that one of them must decide for all.
  """
  if not jax.distributed.is_initialized():
    return _signal.is_set()
  try:
    multihost.get_jax_distributed_client().key_value_try_get(_NOTICE)
  except jax.errors.JaxRuntimeError:  # There is none.
    return False
  return True


def check() -> None:
  """Raises `Preempted` where an end was asked for."""
  if requested():
    raise Preempted()


def _receive(*unused) -> None:
  logging.warning('SIGTERM: this run saves and ends.')
  _signal.set()

"""What the commands share: one message for people instead of a traceback."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
from collections.abc import Iterator
from typing import Any, NoReturn

from absl import flags, logging

from gencnp_jax.runtime import preemption, processes

_TRACEBACK = 'GENCNP_TRACEBACK'
_INTERRUPTED = 130


@contextlib.contextmanager
def guarded() -> Iterator[None]:
  """Turns what ends a command into a message and an exit code.

  1: an error of ours, in one message. 42: preempted; 130: Ctrl-C; both go on
  when started again. A traceback is left to errors that nobody has foreseen.
  """
  try:
    with preemption.watched():
      yield
  except (ValueError, OSError) as error:
    stop(error)
  except preemption.Preempted as ended:
    if processes.is_first():
      logging.warning(
        'Preempted: %s; the same command goes on from there.', ended.saved
      )
    processes.wait('the end')
    processes.let_others_go()
    # An end of Python would wait for what still computes.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(preemption.EXIT_CODE)
  except KeyboardInterrupt:
    _leave(
      'Interrupted. What was saved is whole; the same command goes on from it.',
      _INTERRUPTED,
    )
  except Exception as error:
    if not processes.several():
      raise
    _leave(processes.lost(error) or traceback.format_exc(), 1)


def stop(error: Exception) -> NoReturn:
  """Ends the program with an error's message.

  A traceback helps with errors of ours alone: GENCNP_TRACEBACK=1 shows it.
  """
  if os.environ.get(_TRACEBACK):
    raise error
  # config_flags puts a traceback into the message; its last line says it all.
  lines = str(error).strip().splitlines()
  if 'Traceback (most recent call last):' in map(str.strip, lines):
    lines = lines[-1:]
  _leave('Error: ' + '\n'.join(lines), 1)


def parse(argv: list[str], *needed: tuple[Any, str]) -> list[str]:
  """Parses flags; one line says what is wrong with them.

  Args:
    argv: the command line.
    *needed: (flag holder, what it should be) of each flag that must be given.
  """
  try:
    rest = flags.FLAGS(argv)
  except flags.Error as error:
    stop(error)
  for flag, what in needed:
    if not flag.value:
      stop(ValueError(f'--{flag.name}={what}, is needed.'))
  return rest


def _leave(message: str, code: int) -> NoReturn:
  """Ends this process, and the others of its run."""
  if processes.several():
    processes.leave(message, code)
  if code == 1:
    sys.exit(message)
  print(message, file=sys.stderr)
  sys.exit(code)

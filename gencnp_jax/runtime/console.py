"""Quiet, plain log lines on the console."""

from __future__ import annotations

import logging as python_logging
import sys

from absl import logging

# The level from which a library is heard: some log every file they touch.
_HEARD_FROM = {
  # It logs, with a traceback, what `Checkpoints` raises.
  'orbax': python_logging.CRITICAL,
  'tensorstore': python_logging.ERROR,
  'etils': python_logging.ERROR,
  'jax': python_logging.WARNING,
  'fsspec': python_logging.ERROR,
  'gcsfs': python_logging.CRITICAL,
  'google': python_logging.ERROR,
}


def set_up() -> None:
  """Shows our own lines with the time alone, and others from warnings up."""
  logging.use_absl_handler()
  logging.set_verbosity(logging.INFO)
  handler = logging.get_absl_handler()
  handler.setFormatter(
    python_logging.Formatter('%(asctime)s %(message)s', '%H:%M:%S')
  )
  handler.addFilter(_is_wanted)
  # Orbax says once per array what a tensorstore that keeps no metrics lacks.
  python_logging.captureWarnings(True)
  sys.unraisablehook = _unraisable


def hush() -> None:
  """Leaves the lines to the first process; warnings are still said."""
  logging.set_verbosity(logging.WARNING)


def _unraisable(unraisable: sys.UnraisableHookArgs) -> None:
  """Leaves out what tensorstore says to a loop that orbax has closed.

  After an error in saving, which is raised by itself.
  """
  if str(unraisable.exc_value) != 'Event loop is closed':
    sys.__unraisablehook__(unraisable)


def _is_wanted(record: python_logging.LogRecord) -> bool:
  # Installed packages alone: a checkout may lie in a folder called jax.
  levels = [
    level
    for name, level in _HEARD_FROM.items()
    if f'-packages/{name}/' in record.pathname
  ]
  return record.levelno >= max(levels, default=python_logging.INFO)

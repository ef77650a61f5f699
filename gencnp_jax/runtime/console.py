"""Quiet, plain log lines on the console."""

from __future__ import annotations

import logging as python_logging

from absl import logging

# Libraries that log every file they touch at level INFO.
_CHATTY = ('orbax', 'tensorstore', 'etils')


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


def _is_wanted(record: python_logging.LogRecord) -> bool:
  chatty = any(f'/{name}/' in record.pathname for name in _CHATTY)
  return not chatty or record.levelno >= python_logging.ERROR

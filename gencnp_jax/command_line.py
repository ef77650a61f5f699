"""What the commands share: one message for people instead of a traceback."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

_TRACEBACK = 'GENCNP_TRACEBACK'


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
  sys.exit('Error: ' + '\n'.join(lines))

"""Worker processes that take turns, and what their rounds say."""

from __future__ import annotations

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import time
from collections.abc import Sequence
from typing import Any

LAUNCH = pathlib.Path(__file__).resolve().parent.parent


class Side:
  """A worker process that does one row's work on demand.

  Args:
    module: of `benchmarks`, with a worker's main.
    python: the interpreter.
    arguments: of the worker.

  Attributes:
    about: what the worker says of itself once it is warm.
    rounds: what it says of each round.
  """

  def __init__(self, module: str, python: str, arguments: Sequence[str]):
    threads = next(a for a in arguments if a.startswith('--threads='))
    environment = dict(os.environ, OMP_NUM_THREADS=threads.partition('=')[2])
    path = [str(LAUNCH), str(LAUNCH.parent), environment.get('PYTHONPATH')]
    environment['PYTHONPATH'] = os.pathsep.join(filter(None, path))
    self._process = subprocess.Popen(
      [python, '-m', f'benchmarks.{module}', *arguments],
      env=environment,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    self.rounds: list[dict[str, float]] = []
    self.about = self._answer()

  def run(self, count: int) -> None:
    """Does the work so often, and notes what one took."""
    self._process.stdin.write(f'{count}\n')
    self._process.stdin.flush()
    self.rounds.append(self._answer())

  def median(self, key: str) -> float:
    """Returns the median over the rounds."""
    return statistics.median(r[key] for r in self.rounds)

  @property
  def rate(self) -> float:
    """Units a second."""
    return self.about['units'] / self.median('wall_ms') * 1e3

  def summary(self) -> dict[str, Any]:
    """Returns medians, what the worker said of itself, and all rounds."""
    medians = {key: self.median(key) for key in self.rounds[0]}
    return {**self.about, **medians, 'rate': self.rate, 'rounds': self.rounds}

  def close(self) -> None:
    """Ends the worker."""
    self._process.stdin.close()
    self._process.wait()

  def _answer(self) -> dict[str, Any]:
    line = self._process.stdout.readline()
    if not line:
      command = ' '.join(map(str, self._process.args))
      raise SystemExit(f'This worker ended early, see above: {command}')
    return json.loads(line)


def take_turns(
  sides: dict[str, Side], rounds: int, seconds: float, budget: float = 90.0
) -> None:
  """Runs every side once a round, for about the same time each; ends them.

  Args:
    sides: by name.
    rounds: how many at most.
    seconds: about how long a side runs in a round, once at least.
    budget: seconds after which no further round begins, but for the second.
  """
  start = time.monotonic()
  for number in range(rounds):
    if number >= 2 and time.monotonic() - start > budget:
      break
    for side in sides.values():
      side.run(max(1, int(seconds / side.about['run_seconds'])))
  for side in sides.values():
    side.close()


def ratio(peer: Side, ours: Side, key: str = 'wall_ms') -> float:
  """Returns how often ours does what the peer does once: medians of rounds."""
  pairs = zip(peer.rounds, ours.rounds)
  scale = ours.about['units'] / peer.about['units']
  return scale * statistics.median(p[key] / o[key] for p, o in pairs)


def find_torch(python: str) -> str | None:
  """Returns the interpreter if PyTorch can be imported there."""
  if shutil.which(python) is None:
    return None
  command = [python, '-c', 'import torch']
  found = subprocess.run(command, capture_output=True, check=False)
  return python if found.returncode == 0 else None

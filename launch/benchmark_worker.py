"""What both sides of the benchmark share: the worker's side of the talk.

Imports nothing but the standard library, since one side has no JAX and the
other no PyTorch.
"""

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable

WARM_UP = 3


def parse() -> argparse.Namespace:
  """Returns the worker's arguments, and keeps it to so many cores."""
  parser = argparse.ArgumentParser()
  parser.add_argument('--row', required=True)
  parser.add_argument('--threads', type=int, required=True)
  parser.add_argument('--layout', default='contiguous')
  options = parser.parse_args()
  if hasattr(os, 'sched_setaffinity'):
    cores = sorted(os.sched_getaffinity(0))[: options.threads]
    os.sched_setaffinity(0, cores)
  return options


def serve(step: Callable[[], None], version: str) -> None:
  """Warms up, then answers each number of steps by a step's milliseconds.

  Args:
    step: runs one step and waits until it is done.
    version: of the framework.
  """
  start = time.perf_counter()
  step()
  first = time.perf_counter() - start
  for _ in range(WARM_UP):
    step()
  _say(version=version, first_step_seconds=first)
  for count in map(int, sys.stdin):
    wall, cpu = time.perf_counter(), _cpu_seconds()
    for _ in range(count):
      step()
    wall, cpu = time.perf_counter() - wall, _cpu_seconds() - cpu
    _say(wall_ms=wall / count * 1e3, cpu_ms=cpu / count * 1e3)


def _cpu_seconds() -> float:
  used = resource.getrusage(resource.RUSAGE_SELF)
  return used.ru_utime + used.ru_stime


def _say(**words) -> None:
  print(json.dumps(words), flush=True)

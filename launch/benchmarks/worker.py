"""What both sides of a benchmark share: the worker's side of the talk.

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
from typing import NamedTuple

WARM_UP = 3
WARM_UP_SECONDS = 5.0


class Work(NamedTuple):
  """What a worker does again and again.

  Attributes:
    run: does it once and waits until it is done.
    units: images (or whatever is counted) that it is done for.
    about: what else is known of it, as JSON.
  """

  run: Callable[[], None]
  units: int
  about: dict


def parse() -> argparse.Namespace:
  """Returns the worker's arguments, and keeps it to so many cores."""
  parser = argparse.ArgumentParser()
  parser.add_argument('--row', required=True)
  parser.add_argument('--threads', type=int, required=True)
  parser.add_argument('--batch', type=int, required=True)
  parser.add_argument('--dtype', default='float32')
  parser.add_argument('--layout', default='contiguous')
  parser.add_argument('--compiled', action='store_true')
  parser.add_argument('--without', default='', help='what is taken away')
  parser.add_argument('--count', type=int, default=0, help='of whatever')
  options = parser.parse_args()
  if hasattr(os, 'sched_setaffinity'):
    cores = sorted(os.sched_getaffinity(0))[: options.threads]
    os.sched_setaffinity(0, cores)
  return options


def serve(work: Work) -> None:
  """Warms up, then answers each number of runs by their milliseconds."""
  first = _timed(work.run)
  warm = []
  while len(warm) < WARM_UP and sum(warm) < WARM_UP_SECONDS:
    warm.append(_timed(work.run))
  _say(
    units=work.units, first_seconds=first, run_seconds=warm[-1], **work.about
  )
  for count in map(int, sys.stdin):
    wall, cpu = time.perf_counter(), _cpu_seconds()
    for _ in range(count):
      work.run()
    wall, cpu = time.perf_counter() - wall, _cpu_seconds() - cpu
    usage = resource.getrusage(resource.RUSAGE_SELF)
    _say(
      wall_ms=wall / count * 1e3,
      cpu_ms=cpu / count * 1e3,
      peak_mb=usage.ru_maxrss / 1024,  # In kilobytes on Linux.
    )


def _timed(run: Callable[[], None]) -> float:
  start = time.perf_counter()
  run()
  return time.perf_counter() - start


def _cpu_seconds() -> float:
  used = resource.getrusage(resource.RUSAGE_SELF)
  return used.ru_utime + used.ru_stime


def _say(**words) -> None:
  print(json.dumps(words), flush=True)

"""Measures training steps beside PyTorch's: one command, a table and a JSON.

  python launch/benchmark.py
  python launch/benchmark.py --rows=alexnet,vgg11 --json=benchmark.json

Each side runs in a process of its own and the processes take turns, so that
neither's threads disturb the other and both see the same weather on a shared
machine. Round after round every side runs a few steps; medians are over the
rounds, and a ratio is the median of the rounds' ratios. PyTorch (eager) runs in
both memory layouts and the better one counts. CPU milliseconds are of all
threads together: on a busy machine they are steadier than the wall's.

PyTorch is optional and in no extra of the package:

  pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu

or, from another environment, --torch_python=/path/to/python.
"""

import argparse
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys
from typing import Any

HERE = pathlib.Path(__file__).resolve().parent
BATCH = 128
ROWS = {
  'product': 'matrix product, 2048^3',
  'alexnet': 'AlexNet, training step',
  'vgg11': 'VGG-11-BN, training step',
  'alexnet_gencnp': 'GEN-CNP of AlexNet, distillation step',
  'vgg11_gencnp': 'GEN-CNP of VGG-11-BN, distillation step',
}
DEFAULT_ROWS = 'product,alexnet,vgg11,alexnet_gencnp'
PRODUCT_FLOPS = 2 * 2048**3
LAYOUTS = ('contiguous', 'channels_last')


class Side:
  """A worker process that runs steps of one row on demand."""

  def __init__(self, script: str, python: str, threads: int, *arguments: str):
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads))
    path = [str(HERE.parent), environment.get('PYTHONPATH')]
    environment['PYTHONPATH'] = os.pathsep.join(filter(None, path))
    command = [python, str(HERE / script), f'--threads={threads}', *arguments]
    self._process = subprocess.Popen(
      command,
      env=environment,
      stdin=subprocess.PIPE,
      stdout=subprocess.PIPE,
      text=True,
    )
    self.rounds: list[dict[str, float]] = []

  def ready(self) -> dict[str, Any] | None:
    """Waits for the warm-up; returns what the worker says of itself."""
    return self._answer()

  def run(self, steps: int) -> None:
    """Runs one round and notes the milliseconds of a step."""
    self._process.stdin.write(f'{steps}\n')
    self._process.stdin.flush()
    answer = self._answer()
    if answer is None:
      raise RuntimeError(f'{self._process.args} ended early.')
    self.rounds.append(answer)

  def median(self, key: str) -> float:
    """Returns the median over the rounds."""
    return statistics.median(r[key] for r in self.rounds)

  def close(self) -> None:
    """Ends the worker."""
    self._process.stdin.close()
    self._process.wait()

  def _answer(self) -> dict[str, Any] | None:
    line = self._process.stdout.readline()
    return json.loads(line) if line else None


def measure(row: str, options: argparse.Namespace) -> dict[str, Any]:
  """Returns the medians of one row, ours and PyTorch's."""
  threads = options.threads
  ours = Side('benchmark_jax.py', sys.executable, threads, f'--row={row}')
  sides = {'jax': ours}
  about = {'jax': ours.ready()}
  if about['jax'] is None:
    raise SystemExit(f'Our own side of {row} did not start, see above.')
  if options.torch_python:
    for layout in LAYOUTS if row != 'product' else LAYOUTS[:1]:
      arguments = f'--row={row}', f'--layout={layout}'
      side = Side(
        'benchmark_torch.py', options.torch_python, threads, *arguments
      )
      about[layout] = side.ready()
      sides[layout] = side
  for _ in range(options.rounds):
    for side in sides.values():
      side.run(options.steps)
  for side in sides.values():
    side.close()
  result = {
    'row': row,
    'first_step_seconds': about['jax']['first_step_seconds'],
    'jax': {key: ours.median(key) for key in ('wall_ms', 'cpu_ms')},
    'versions': {name: told['version'] for name, told in about.items()},
    'rounds': {name: side.rounds for name, side in sides.items()},
  }
  peers = {name: side for name, side in sides.items() if side is not ours}
  if peers:
    best = min(peers, key=lambda name: peers[name].median('wall_ms'))
    peer = peers[best]
    result['torch'] = {key: peer.median(key) for key in ('wall_ms', 'cpu_ms')}
    result['torch_layout'] = best
    for key in ('wall_ms', 'cpu_ms'):
      pairs = zip(peer.rounds, ours.rounds)
      result[f'ratio_{key}'] = statistics.median(
        p[key] / o[key] for p, o in pairs
      )
  return result


def rate(row: str, milliseconds: float) -> str:
  """Returns a step's rate with its unit."""
  if row == 'product':
    return f'{PRODUCT_FLOPS / milliseconds / 1e6:.0f} GFLOP/s'
  return f'{BATCH / milliseconds * 1e3:.0f} img/s'


def line(result: dict[str, Any]) -> str:
  """Returns a table line."""
  cells = [f'{ROWS[result["row"]]:38}']
  for side in ('jax', 'torch'):
    if side not in result:
      cells.append(f'{"-":>28}')
      continue
    wall, cpu = result[side]['wall_ms'], result[side]['cpu_ms']
    cells.append(f'{wall:8.1f}{cpu:8.1f}{rate(result["row"], wall):>14}')
  if 'torch' in result:
    ratios = result['ratio_wall_ms'], result['ratio_cpu_ms']
    cells.append('{:6.2f}{:6.2f}'.format(*ratios))
    cells.append(result['torch_layout'])
  return '  '.join(cells)


def find_torch(python: str) -> str | None:
  """Returns the interpreter if PyTorch can be imported there."""
  command = [python, '-c', 'import torch']
  found = subprocess.run(command, capture_output=True, check=False)
  return python if found.returncode == 0 else None


def main() -> None:
  """Measures the rows and prints them as they come."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--rows', default=DEFAULT_ROWS, help=', '.join(ROWS))
  parser.add_argument('--threads', type=int, default=2)
  parser.add_argument('--rounds', type=int, default=7)
  parser.add_argument('--steps', type=int, default=5, help='per round')
  parser.add_argument('--torch_python', default=sys.executable)
  parser.add_argument('--json', type=pathlib.Path, help='where to write all')
  options = parser.parse_args()
  rows = options.rows.split(',')
  if unknown := set(rows) - set(ROWS):
    parser.error(f'no such rows: {sorted(unknown)}; there are {list(ROWS)}')
  options.torch_python = find_torch(options.torch_python)
  if options.torch_python is None:
    print(
      'No PyTorch here, its columns stay empty. Its CPU build: pip install '
      'torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu'
    )
  busy = f'{os.getloadavg()[0]:.1f} at the start'
  print(
    f'{platform.machine()}, {os.cpu_count()} cores, {options.threads} threads, '
    f'load {busy}; batch {BATCH}, float32; medians of {options.rounds} rounds '
    f'of {options.steps} steps.\n'
    f'{"":38}  {"JAX: wall ms  cpu ms":>20}{"":8}  '
    f'{"PyTorch: wall ms  cpu ms":>24}      ratio: wall  cpu'
  )
  results = []
  for row in rows:
    results.append(measure(row, options))
    print(line(results[-1]), flush=True)
  if options.json:
    options.json.write_text(
      json.dumps({'load': busy, 'rows': results}, indent=1)
    )


if __name__ == '__main__':
  main()

"""Measures speed: one command, tables and a JSON.

  python launch/benchmark.py
  python launch/benchmark.py --groups=steps,methods --rows=alexnet --json=found.json

Groups:

  steps    training steps of the targets and of their GEN-CNPs
  methods  explaining, a batch at a time, beside a loop over images
  data     the data pipeline alone, and class IoU of 10 000 images
  start    the main job from its command to its first step
  growth   time against images, batch, passes, neurons, devices
  tricks   what each thing that was done for speed gives: without it, and with

Each side runs in a process of its own and the processes take turns, so that
neither's threads disturb the other and both see the same weather on a shared
machine; a matrix product and a copy take turns with them, for the floors. Medians
are over the rounds, and a ratio is the median of the rounds' ratios. PyTorch runs
eagerly in both memory layouts, of which the better one counts, and compiled. CPU
milliseconds are of all threads together: on a busy machine they are steadier than
the wall's.

A floor is the time that the arithmetic takes at the rate of the matrix product,
or the bytes at the rate of the copy, whichever is longer. Winograd's algorithm
multiplies less: a share may exceed 100 %.

PyTorch is optional and in no extra of the package:

  pip install torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu

or, from another environment, --torch_python=/path/to/python.
"""

import argparse
import json
import os
import pathlib
import platform
import sys
import time
from typing import Any

from benchmarks import sides, start

from gencnp_jax.report import Table
from gencnp_jax.report.column import Column

MODELS = ('alexnet', 'vgg11')
STEPS = tuple(f'{m}{kind}' for kind in ('', '_gencnp') for m in MODELS)
# Images at a time, by method: DGR holds gates and velocities.
METHODS = {
  'gencnp': 256,
  'neuron_mct': 256,
  'neuron_int_grad': 256,
  'greedy': 256,
  'dgr': 64,
  'original_activation': 256,
  'random': 256,
}
# PyTorch's side, and the images there are: 0 for those of `--images`.
DATA = {
  'data/device': ('loader', 50_000),
  'data/host': ('loader', 50_000),
  'class_iou/alexnet': ('dense', 0),
  'class_iou/vgg11': ('dense', 0),
}
# What grows, by what a step of the table is measured at.
GROWTH = {
  'images/neuron_mct': (128, 512, 2048),
  'images/gencnp': (128, 512, 2048),
  'batch/alexnet': (32, 128, 512),
  'batch/alexnet_gencnp': (32, 128, 512),
  'batch/neuron_mct': (1, 16, 64, 256),
  'batch/greedy': (1, 16, 64, 256),
  'passes': (1, 3, 7, 15),
  'neurons': (16_384, 65_536, 262_144),
  'pairs': (1250, 2500, 5000, 10_000),
  'devices': (1, 2, 4),
}
# What is measured without each of them.
TAKEN_AWAY = {
  'step/alexnet': ('lowering', 'winograd', 'pooling', 'two_axes'),
  'step/vgg11': ('lowering', 'winograd', 'pooling', 'two_axes'),
  'step/alexnet_gencnp': ('winograd', 'two_axes'),
  'alexnet/neuron_mct': ('lowering', 'pooling', 'bisection'),
}
GROUPS = ('steps', 'methods', 'data', 'start', 'growth', 'tricks')


class Bench:
  """Starts sides, lets them take turns, and puts what they say in rows."""

  def __init__(self, options: argparse.Namespace):
    self._options = options
    self._torch = sides.find_torch(options.torch_python)
    if self._torch is None:
      print(
        'No PyTorch here, its columns stay empty. Its CPU build: pip install '
        'torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu'
      )

  def steps(self) -> list[dict[str, Any]]:
    """Training steps beside PyTorch's, eager and compiled."""
    batch = self._options.batch
    return [
      self._compare(
        f'step/{row}',
        batch,
        {
          'contiguous': ['--layout=contiguous'],
          'channels_last': ['--layout=channels_last'],
          'compiled': ['--compiled', '--layout=channels_last'],
        },
      )
      for row in self._options.rows or STEPS
    ]

  def methods(self) -> list[dict[str, Any]]:
    """Explaining beside PyTorch's loop over images."""
    target, steps = self._options.target, self._options.dgr_steps
    more = {'dgr': [f'--count={steps}']}
    return [
      self._compare(
        f'{target}/{row}', METHODS[row], {'loop': []}, *more.get(row, ())
      )
      for row in self._options.rows or METHODS
    ]

  def data(self) -> list[dict[str, Any]]:
    """The data pipeline, and the metric of all pairs."""
    found = []
    for row in self._options.rows or DATA:
      name, of = DATA[row]
      count = f'--count={of or self._options.images}'
      found.append(self._compare(row, self._options.batch, {name: []}, count))
    return found

  def start(self) -> list[dict[str, Any]]:
    """The main job's first step, with an empty cache and with a full one."""
    return start.measure(list(self._options.rows or MODELS))

  def growth(self) -> list[dict[str, Any]]:
    """What a unit takes as something grows."""
    return [row for kind in GROWTH for row in self._grow(kind)]

  def _grow(self, kind: str) -> list[dict[str, Any]]:
    # One after the other: the large ones would take the memory of the others.
    found = []
    for size in GROWTH[kind]:
      side = self._side(f'growth/{kind}', 64, f'--count={size}')
      sides.take_turns({'jax': side}, self._options.rounds, 1.0)
      unit = side.median('wall_ms') / side.about['units'] * 1e3
      if kind == 'pairs':  # Each image with each.
        unit /= size
      found.append({'row': kind, 'size': size, 'microseconds': unit})
      found[-1]['relative'] = unit / found[0]['microseconds']
      found[-1]['jax'] = side.summary()
      print(f'{kind} {size}: {unit:.3g} us', file=sys.stderr, flush=True)
    return found

  def tricks(self) -> list[dict[str, Any]]:
    """Each row with all that was done for speed, and without one thing."""
    found = []
    for row, names in TAKEN_AWAY.items():
      running = {'': self._side(row, self._options.batch)}
      running |= {
        name: self._side(row, self._options.batch, f'--without={name}')
        for name in names
      }
      sides.take_turns(running, self._options.rounds, self._options.seconds)
      for name in names:
        times = sides.ratio(running[name], running[''])
        found.append(
          {
            'row': row,
            'without': running[name].about['without'],
            'rate': running[name].rate,
            'with': running[''].rate,
            'times': times,
          }
        )
        print(f'{row} without {name}: {times:.2f}', file=sys.stderr, flush=True)
    return found

  def _side(self, row: str, batch: int, *more: str) -> sides.Side:
    return sides.Side(
      'jax_side', sys.executable, self._given(row, batch, *more)
    )

  def _given(self, row: str, batch: int, *more: str) -> list[str]:
    """Returns the arguments of a worker of either framework."""
    return [
      f'--row={row}',
      f'--batch={batch}',
      f'--threads={self._options.threads}',
      f'--dtype={self._options.dtype}',
      *more,
    ]

  def _compare(
    self, row: str, batch: int, peers: dict[str, list[str]], *more: str
  ) -> dict[str, Any]:
    """Runs ours and the peers in turn, with a product and a copy between."""
    rounds, seconds = self._options.rounds, self._options.seconds

    def start(name):
      given = self._given(row, batch, *more, *peers[name])
      return sides.Side('torch_side', self._torch, given)

    eager = [name for name in peers if name != 'compiled' and self._torch]
    if len(eager) > 1:
      # The slower one would take memory from the others, and from ours.
      tried = {name: start(name) for name in eager}
      sides.take_turns(tried, 2, seconds)
      eager = [max(eager, key=lambda name: tried[name].rate)]
    ours = self._side(row, batch, *more)
    running = {'jax': ours}
    running |= {name: self._side(name, batch) for name in ('product', 'copy')}
    running |= {name: start(name) for name in eager}
    if 'compiled' in peers and self._torch:
      running['compiled'] = start('compiled')
    sides.take_turns(running, rounds, seconds)
    found = {'row': row, 'batch': batch, **_shares(running)}
    found |= {name: side.summary() for name, side in running.items()}
    for name in eager:
      found['peer'], found['peer_rate'] = name, running[name].rate
      found['ratio'] = sides.ratio(running[name], ours)
      found['ratio_cpu'] = sides.ratio(running[name], ours, 'cpu_ms')
    if 'compiled' in running:
      found['compiled_rate'] = running['compiled'].rate
      found['ratio_compiled'] = sides.ratio(running['compiled'], ours)
    print(f'{row}: {ours.rate:.4g} a second', file=sys.stderr, flush=True)
    return found


def _shares(running: dict[str, sides.Side]) -> dict[str, float]:
  """Returns how long the floors take, and the share of the larger one."""
  about = running['jax'].about
  floors = {
    name: about[key] / running[side].rate * 1e3
    for name, key, side in (
      ('floor_arithmetic_ms', 'operations', 'product'),
      ('floor_bytes_ms', 'bytes', 'copy'),
    )
    if key in about
  }
  if not floors:
    return {}
  share = max(floors.values()) / running['jax'].median('wall_ms')
  return {**floors, 'share': share}


COLUMNS = {
  'steps': (
    ('row', 'row', 'text'),
    ('rate', 'images/s', 'float'),
    ('wall_ms', 'ms', 'float'),
    ('peer_rate', 'PyTorch eager', 'float'),
    ('ratio', 'ratio', 'float'),
    ('ratio_cpu', 'ratio, CPU ms', 'float'),
    ('compiled_rate', 'torch.compile', 'float'),
    ('ratio_compiled', 'ratio', 'float'),
    ('share', 'share of floor', 'share'),
    ('compile_seconds', 'compiling, s', 'float'),
    ('temporary_mb', 'temporaries, MB', 'float'),
  ),
  'methods': (
    ('row', 'method', 'text'),
    ('batch', 'batch', 'count'),
    ('rate', 'images/s', 'float'),
    ('peer_rate', 'PyTorch, one by one', 'float'),
    ('ratio', 'ratio', 'float'),
    ('share', 'share of floor', 'share'),
    ('compile_seconds', 'compiling, s', 'float'),
    ('temporary_mb', 'temporaries, MB', 'float'),
  ),
  'data': (
    ('row', 'row', 'text'),
    ('rate', 'images/s', 'float'),
    ('wall_ms', 'ms', 'float'),
    ('peer_rate', 'PyTorch', 'float'),
    ('ratio', 'ratio', 'float'),
    ('share', 'share of floor', 'share'),
  ),
  'start': (
    ('row', 'row', 'text'),
    ('first', 'first start, s', 'float'),
    ('second', 'second start, s', 'float'),
  ),
  'growth': (
    ('row', 'what grows', 'text'),
    ('size', 'to', 'count'),
    ('microseconds', 'a unit takes, us', 'float'),
    ('relative', 'of the first', 'float'),
  ),
  'tricks': (
    ('row', 'row', 'text'),
    ('without', 'with this instead', 'text'),
    ('rate', 'images/s', 'float'),
    ('with', 'as it is', 'float'),
    ('times', 'times', 'float'),
  ),
}


def table(group: str, rows: list[dict[str, Any]]) -> Table:
  """Returns a group's rows as a table."""
  shown = []
  for row in rows:
    jax = {k: v for k, v in row.get('jax', {}).items() if k != 'rounds'}
    flat = {**jax, **row, 'row': row['row'].replace('step/', '')}
    if 'seconds' in row:
      flat['first'], flat['second'] = row['seconds']
    if 'share' in flat:
      flat['share'] = f'{flat["share"]:.0%}'
    shown.append(flat)
  columns = [
    Column(key, title, fmt='text' if fmt == 'share' else fmt)
    for key, title, fmt in COLUMNS[group]
  ]
  return Table(group, tuple(columns), tuple(shown))


def main() -> None:
  """Measures the groups and prints each as it is done."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--groups', default='steps,methods,data,start')
  parser.add_argument('--rows', default='', help='of one group; all if empty')
  parser.add_argument('--target', default='alexnet', help='of the methods')
  parser.add_argument('--threads', type=int, default=2)
  parser.add_argument('--rounds', type=int, default=7)
  parser.add_argument(
    '--seconds', type=float, default=1.0, help='a side, round'
  )
  parser.add_argument('--batch', type=int, default=128)
  parser.add_argument('--dtype', default='float32')
  parser.add_argument('--images', type=int, default=10_000, help='of class IoU')
  parser.add_argument('--dgr_steps', type=int, default=1000)
  parser.add_argument('--torch_python', default=sys.executable)
  parser.add_argument('--json', type=pathlib.Path, help='where to write all')
  options = parser.parse_args()
  groups = options.groups.split(',')
  if unknown := set(groups) - set(GROUPS):
    parser.error(f'no such groups: {sorted(unknown)}; there are {GROUPS}')
  options.rows = [row for row in options.rows.split(',') if row]
  legal = {
    'steps': STEPS,
    'methods': METHODS,
    'data': DATA,
    'start': MODELS,
  }
  for group in groups:
    if unknown := set(options.rows) - set(legal.get(group, ())):
      parser.error(f'{group}: no such rows: {sorted(unknown)}')
  about = {
    'machine': platform.machine(),
    'cores': os.cpu_count(),
    'threads': options.threads,
    'load': os.getloadavg()[0],
    'batch': options.batch,
    'dtype': options.dtype,
    'rounds': options.rounds,
    'started': time.strftime('%Y-%m-%d %H:%M', time.gmtime()),
  }
  print(', '.join(f'{key} {value}' for key, value in about.items()))
  bench, found = Bench(options), {'about': about}
  for group in groups:
    found[group] = getattr(bench, group)()
    print(f'\n{table(group, found[group]).to_text()}', flush=True)
    if options.json:
      options.json.write_text(json.dumps(found, indent=1))


if __name__ == '__main__':
  main()

"""What a training step costs on 1, 2, 4, 8 devices, beside a plain formula.

  python launch/scaling.py
  python launch/scaling.py --models=alexnet --devices=1,4 --json=scaling.json

A process for each number of forced CPU devices compiles the package's own
training steps, of the targets and of their GEN-CNPs at 32 x 32, for a global
batch of 128 and for 128 on each device, and reads from the executables their
arithmetic, their memory and every collective. Those steps are not run: they
have the native convolutions that GPU and TPU get, slow on CPU. Others are, at a
batch of 16 and with the CPU's own lowerings: the losses must not depend on the
number of devices.

Exits with 1 where the bytes exchanged are not the formula's, or the losses
differ by more than 1e-5.
"""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import jax
from scaling_collectives import GROUPS, wire

HERE = pathlib.Path(__file__).resolve().parent
BATCH, RUN_BATCH = 128, 16
TOLERANCE = 1e-5
ROWS = {
  'alexnet': ('', '_gencnp', '_gencnp_swap'),
  # AlexNet's blocks are too short for loops.
  'vgg11': ('', '_gencnp', '_gencnp_swap', '_gencnp_loops'),
}
RUNS = {
  'alexnet': ('', '_gencnp_swap', '_gencnp_swap_soft'),
  # Its GEN-CNP takes minutes to compile with the CPU's own lowerings.
  'vgg11': ('',),
}


def start(number: int, models: list[str], steps: int) -> subprocess.Popen:
  """Starts the worker of so many devices."""
  flags = [
    os.environ.get('XLA_FLAGS', ''),
    f'--xla_force_host_platform_device_count={number}',
    # Of LLVM: half the time, the same program and memory.
    '--xla_backend_optimization_level=0',
  ]
  path = [str(HERE.parent), os.environ.get('PYTHONPATH')]
  environment = {
    **os.environ,
    'JAX_PLATFORMS': 'cpu',
    'XLA_FLAGS': ' '.join(filter(None, flags)),
    'PYTHONPATH': os.pathsep.join(filter(None, path)),
  }
  command = [
    sys.executable,
    str(HERE / 'scaling_worker.py'),
    f'--rows={",".join(words(models, ROWS))}',
    f'--runs={",".join(words(models, RUNS))}',
    f'--batch={BATCH}',
    f'--run_batch={RUN_BATCH}',
    f'--steps={steps}',
  ]
  return subprocess.Popen(
    command, env=environment, stdout=subprocess.PIPE, text=True
  )


def words(models: list[str], kinds: dict[str, tuple[str, ...]]) -> list[str]:
  """Returns the kinds of these models, in their order."""
  return [model + kind for model in models for kind in kinds[model]]


def results(number: int, models: list[str], steps: int) -> Iterator[dict]:
  """Yields what the worker of so many devices finds."""
  print(f'{number} devices ...', file=sys.stderr, flush=True)
  with start(number, models, steps) as worker:
    for answer in worker.stdout:
      yield json.loads(answer)
  if worker.returncode:
    raise SystemExit(f'The worker of {number} devices failed, see above.')


def net_lines(found: list[dict]) -> list[str]:
  """Returns what each step costs on each number of devices.

  Of memory, on one device: what goes in, what is taken besides, and both as
  `gencnp_jax.model.size` estimates them.
  """
  lines = [
    f'{"training step":22}{"devices":>8}{"batch":>7}{"MFLOP/image":>13}'
    f'{"MB state":>10}{"MB step":>9}{"estimated":>11}{"launches":>10}'
    f'{"seconds":>9}'
  ]
  for one in found:
    flops = one['flops'] * one['devices'] / one['batch']
    estimated = '-'
    if one['estimated_bytes']:
      estimated = f'{one["estimated_bytes"] / 1e6:,.1f}'
    lines.append(
      f'{one["row"]:22}{one["devices"]:>8}{one["batch"]:>7}{flops / 1e6:>13,.1f}'
      f'{one["argument_bytes"] / 1e6:>10,.1f}'
      f'{one["temporary_bytes"] / 1e6:>9,.1f}{estimated:>11}'
      f'{one["launches"]:>10}{one["compile_seconds"]:>9.1f}'
    )
  return lines


def carried_lines(found: list[dict]) -> tuple[list[str], int]:
  """Returns the bytes of each group beside the formula's, and how many differ.

  What is the same on several numbers of devices takes one line.
  """
  lines = [
    f'{"":22}{"":22}{"bytes":>14}{"formula":>14}{"difference":>11}'
    f'{"wire, by devices":>20}'
  ]
  seen: dict[tuple, list[int]] = {}
  for one in found:
    name = one.get('row') or f'{one["gather"]}, {one["images"]} images'
    for group in {**one['expected'], **one['carried']}:
      have = one['carried'].get(group, 0)
      want = one['expected'].get(group, 0)
      numbers = seen.setdefault((name, group, have, want), [])
      if one['devices'] not in numbers:
        numbers.append(one['devices'])
  for (name, group, have, want), numbers in seen.items():
    kind = {'swap': 'collective-permute', 'results': 'all-gather'}
    sent = ', '.join(
      f'{number}: {wire(kind.get(group, "all-reduce"), have, number):,.0f}'
      for number in numbers
    )
    lines.append(
      f'{name:22}{GROUPS[group]:22}{have:>14,}{want:>14,}{have - want:>11,}'
      f'    {sent}'
    )
  return lines, sum(have != want for _, _, have, want in seen)


def run_lines(found: list[dict]) -> tuple[list[str], int]:
  """Returns how losses differ from the first device count's, and how many do.

  Hard masks are cut at a threshold: after a step, a rounding error may turn a
  neuron on or off. Of them the first step counts, of all others every step.
  """
  lines = [
    f'{"losses":26}{"devices":>8}{"first":>13}{"last":>13}'
    f'{"first differs":>15}{"any differs":>13}'
  ]
  reference: dict[str, list[float]] = {}
  wrong = 0
  for one in found:
    losses = one['losses']
    pairs = zip(losses, reference.setdefault(one['run'], losses))
    differ = [abs(a / b - 1) for a, b in pairs]
    hard = 'gencnp' in one['run'] and 'soft' not in one['run']
    wrong += (differ[0] if hard else max(differ)) > TOLERANCE
    lines.append(
      f'{one["run"]:26}{one["devices"]:>8}{losses[0]:>13.6f}{losses[-1]:>13.6f}'
      f'{differ[0]:>15.1e}{max(differ):>13.1e}'
    )
  return lines, wrong


def about(seconds: float) -> dict[str, Any]:
  """Returns where and with what this was measured."""
  return {
    'date': time.strftime('%Y-%m-%d'),
    'machine': platform.machine(),
    'cores': os.cpu_count(),
    'jax': jax.__version__,
    'seconds': round(seconds),
  }


def ordered(found: list[dict], key: str, names: list[str]) -> list[dict]:
  """Returns the results that have a key, in the order of its values."""
  those = [one for one in found if key in one]
  return sorted(those, key=lambda one: names.index(one[key]))


def main() -> None:
  """Measures, and prints the tables."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--models', default=','.join(ROWS), help='comma-set')
  parser.add_argument('--devices', default='1,2,4,8', help='forced; in order')
  parser.add_argument('--steps', type=int, default=3, help='that are run')
  parser.add_argument('--json', type=pathlib.Path, help='where to write all')
  options = parser.parse_args()
  models = options.models.split(',')
  if unknown := set(models) - set(ROWS):
    parser.error(f'no such models: {sorted(unknown)}; there are {list(ROWS)}')
  begin, found = time.perf_counter(), []
  for number in map(int, options.devices.split(',')):
    found += results(number, models, options.steps)
  told = about(time.perf_counter() - begin)
  steps = ordered(found, 'row', words(models, ROWS))
  runs = ordered(found, 'run', words(models, RUNS))
  gathers = [one for one in found if 'gather' in one]
  carried, unlike = carried_lines(steps + gathers)
  losses, apart = run_lines(runs)
  print(' '.join(f'{key}: {value}' for key, value in told.items()))
  for lines in net_lines(steps), carried, losses:
    print('', *lines, sep='\n')
  print(
    f"\n{unlike} of {len(carried) - 1} are not the formula's; {apart} of "
    f'{len(runs)} runs differ by more than {TOLERANCE}.'
  )
  if options.json:
    lines = ',\n'.join(map(json.dumps, found))
    head = json.dumps(told)[:-1]
    options.json.write_text(f'{head}, "found": [\n{lines}\n]}}\n')
  if unlike or apart:
    raise SystemExit(1)


if __name__ == '__main__':
  main()

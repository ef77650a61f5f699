"""Everything that only an accelerator can do, in one command, beside its goals.

  python launch/accelerator.py --out=runs/accelerator
  python launch/accelerator.py --toy        # is it in order? minutes on a CPU

Both targets on CIFAR-10, a GEN-CNP of each, all methods on all test images, and
the benchmark in bfloat16 and float32. A table says what came out, what was
wanted, and how long each part took. The same command goes on where it ended.
"""

import argparse
import json
import os
import pathlib
import re
import sys
import time
from typing import Any

import logged

from gencnp_jax.report import Table
from gencnp_jax.report.column import Column
from gencnp_jax.runtime import profile

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODELS = ('vgg11', 'alexnet')
STAGES = ('target', 'gencnp', 'evaluate')
# Dense bfloat16 operations a second, as their makers state them.
PEAKS = {
  'H100': 989e12,
  'H200': 989e12,
  'A100': 312e12,
  'TPU v4': 275e12,
  'TPU v5 lite': 197e12,
  'TPU v5p': 459e12,
}
SECONDS = re.compile(r'Stage (\w+): (\d+) s')


def train_and_evaluate(
  model: str, out: pathlib.Path, options: argparse.Namespace
) -> dict[str, Any]:
  """Runs the main job of a target, bfloat16, a process a stage."""
  words = [model, 'smoke' if options.toy else 'full']
  workdir, seconds = out / model, {}
  command = [
    *(sys.executable, '-m', 'gencnp_jax.main'),
    f'--config=configs/cifar.py:{",".join(words)}',
    f'--workdir={workdir}',
    '--config.dtype=bfloat16',
    '--config.runtime.profile=3',
    *(['--config.evaluate.limit=64'] if options.toy else []),
    *options.rest,
  ]
  for stage in STAGES:
    log, done = (out / f'{model}_{stage}.{end}' for end in ('log', 'json'))
    if not done.exists():  # Or the seconds would be those of skipping it.
      start = time.perf_counter()
      logged.run([*command, f'--config.stages={stage}'], log, ROOT)
      taken = time.perf_counter() - start
      alone = float(dict(SECONDS.findall(log.read_text()))[stage])
      done.write_text(json.dumps({stage: taken, f'{stage} alone': alone}))
    seconds |= json.loads(done.read_text())
  rows = logged.rows_of(workdir)
  return {
    'seconds': seconds,
    'accuracy': rows[0]['target_accuracy'],
    'rows': rows,
  }


def benchmark(
  out: pathlib.Path, dtype: str, options: argparse.Namespace
) -> dict[str, Any]:
  """Runs the benchmark's steps and methods."""
  path = out / f'benchmark_{dtype}.json'
  command = [
    sys.executable,
    'launch/benchmark.py',
    '--groups=steps,methods' if dtype == 'float32' else '--groups=steps',
    f'--dtype={dtype}',
    f'--json={path}',
  ]
  if options.toy:
    command += ['--rounds=2', '--seconds=.1', '--batch=8', '--dgr_steps=3']
    command += ['--rows=alexnet', '--groups=steps']
  logged.run(command, out / f'benchmark_{dtype}.log', ROOT)
  return json.loads(path.read_text())


def peak_of(device: str) -> float | None:
  """Returns the device's bfloat16 peak in operations a second, if known."""
  return next((peak for name, peak in PEAKS.items() if name in device), None)


def table(
  found: dict[str, Any], steps: dict[str, Any], out: pathlib.Path
) -> Table:
  """Returns what came out beside what was wanted."""
  rows = []

  def row(what: str, value: str, wanted: str = '') -> None:
    rows.append({'what': what, 'found': value, 'wanted': wanted})

  vgg11 = found['vgg11']['seconds']
  row('VGG-11, test accuracy', f'{found["vgg11"]["accuracy"]:.2%}', '92.5 %')
  row('AlexNet, test accuracy', f'{found["alexnet"]["accuracy"]:.2%}', '77.5 %')
  row('VGG-11, training', f'{vgg11["target alone"]:.0f} s', 'under 60 s')
  row('its GEN-CNP', f'{vgg11["gencnp alone"]:.0f} s', 'under 120 s')
  evaluations = sum(f['seconds']['evaluate'] for f in found.values())
  row('all methods, both targets', f'{evaluations:.0f} s', 'under 600 s')
  total = sum(f['seconds'][stage] for f in found.values() for stage in STAGES)
  row('all stages of both, with every start', f'{total:.0f} s')
  for step in steps['steps']:
    peak = peak_of(step['jax']['device'])
    operations = step['jax']['operations'] / step['jax']['wall_ms'] * 1e3
    of_peak = f', {operations / peak:.0%} of the peak' if peak else ''
    row(
      f'{step["row"]}, a step',
      f'{step["jax"]["wall_ms"]:.2f} ms, {step["share"]:.0%} of the floor'
      + of_peak,
    )
  for model in MODELS:
    for stage in STAGES[:2]:
      summary = out / model / stage / 'profile' / profile.SUMMARY
      if summary.exists():
        first = summary.read_text().splitlines()[0]
        row(f'{model}, {stage}, profiled', first.partition(';')[0])
  columns = [
    Column(key, key, fmt='text') for key in ('what', 'found', 'wanted')
  ]
  device = steps['steps'][0]['jax']['device']
  return Table(f'CIFAR-10 on {device}', tuple(columns), tuple(rows))


def main() -> None:
  """Runs all parts, the most wanted first."""
  parser = argparse.ArgumentParser(
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    epilog='Other options go to the main job, such as --config.data.path=...',
  )
  parser.add_argument('--out', type=pathlib.Path, default='runs/accelerator')
  parser.add_argument('--toy', action='store_true', help='tiny, all of it')
  options, options.rest = parser.parse_known_args()
  out = options.out.resolve()
  out.mkdir(parents=True, exist_ok=True)
  # Programs that were compiled stay for the next start.
  cache = str(out / 'compiled')
  os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', cache)
  found = {model: train_and_evaluate(model, out, options) for model in MODELS}
  steps = benchmark(out, 'bfloat16', options)
  benchmark(out, 'float32', options)
  shown = table(found, steps, out)
  print(f'\n{shown.to_text()}')
  (out / 'table.txt').write_text(f'{shown.to_text()}\n')
  (out / 'found.json').write_text(json.dumps(found, indent=1))


if __name__ == '__main__':
  main()

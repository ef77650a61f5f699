"""The main job with several seeds: means, and how far the seeds lie apart.

  python launch/seeds.py --config=configs/cifar.py --seeds=0,1,2

Each seed trains a target and a GEN-CNP of its own, in a workdir of `--out`
(`--out=runs/seeds` has `runs/seeds/0` and so on), skipped where it is done. A
table says mean and standard deviation (n - 1) of every method's numbers.
"""

import argparse
import pathlib
import statistics
from collections.abc import Sequence
from typing import Any

import logged

from gencnp_jax.report import Table, comparison
from gencnp_jax.report.column import MISSING, Column

COLUMNS = (
  Column('firing_sparsity', 'Sparsity'),
  Column('target_accuracy', 'Target'),
  Column('agreement', 'Agreement', 'higher'),
  Column('accuracy', 'Accuracy', 'higher'),
  Column('increase_rate', 'ICr', 'higher'),
  Column('mean_decrease_of_fallers', 'mDC*', 'lower'),
  Column('within', 'acIOU', 'higher'),
  Column('between', 'Between', 'lower'),
  Column('within_predicted', 'Within, predicted', 'higher'),
  Column('swap', 'Swap leak', 'lower'),
  Column('roap', 'ROAP', 'lower'),
  *comparison.curve_columns(('disconnected', 'influence')),
)
"""What is shown, in percent."""


def table(seeds: Sequence[int], found: Sequence[list[dict[str, Any]]]) -> Table:
  """Returns mean and standard deviation of each method's numbers.

  Args:
    seeds: two or more.
    found: for each, one row a method.
  """
  rows = []
  for method in dict.fromkeys(row['method'] for row in found[0]):
    of_method = [
      next(row for row in rows_of if row['method'] == method)
      for rows_of in found
    ]
    shown = {
      c.key: _spread(c, [r.get(c.key) for r in of_method]) for c in COLUMNS
    }
    rows.append({'method': method, **shown})
  columns = [
    Column(c.key, f'{c.title} % {c.suffix[2:]}'.strip(), fmt='text')
    for c in COLUMNS
  ]
  names = ', '.join(map(str, seeds))
  return Table(
    f'Seeds {names}',
    (Column('method', 'Method', fmt='text'), *columns),
    rows,
    'Mean and standard deviation over the seeds, each with a target of its own.',
  )


def _spread(column: Column, values: list[Any]) -> str:
  """Returns 'mean ± deviation' of the values; nothing where one is missing."""
  if any(value is None for value in values):
    return MISSING
  mean, deviation = statistics.mean(values), statistics.stdev(values)
  return f'{column.show(mean)} ± {column.show(deviation)}'


def main() -> None:
  """Runs the seeds one after the other, and prints and writes the table."""
  parser = argparse.ArgumentParser(
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
    epilog='Other options go to the main job, such as --config.evaluate.limit=1000.',
  )
  parser.add_argument('--config', default='configs/cifar.py')
  parser.add_argument('--seeds', default='0,1,2')
  parser.add_argument('--out', type=pathlib.Path, default='runs/seeds')
  options, options.rest = parser.parse_known_args()
  try:
    seeds = sorted({int(seed) for seed in options.seeds.split(',')})
  except ValueError:
    parser.error(f'--seeds={options.seeds}: whole numbers, such as 0,1,2')
  if len(seeds) < 2:
    parser.error(f'--seeds={options.seeds}: two or more, or nothing is apart')
  options.out.mkdir(parents=True, exist_ok=True)
  found = [
    logged.evaluated(
      options.config,
      options.out / str(seed),
      [f'--config.seed={seed}', *options.rest],
    )
    for seed in seeds
  ]
  shown = table(seeds, found)
  print(f'\n{shown.to_text()}')
  (options.out / 'seeds.csv').write_text(shown.to_csv())


if __name__ == '__main__':
  main()

"""Settings of GEN-CNP side by side, on held-out training images.

  python launch/tune.py --target=runs/cifar                  # all groups
  python launch/tune.py --target=runs/cifar --groups=answer --config.gencnp.epochs=2

Each row is a GEN-CNP of its own, distilled from the trained target of `--target`
with what the row says changed, and measured on the validation images. Rows are
workdirs in `--out`, skipped where they are done, beside a table a group as CSV.
The test images play no part.
"""

import argparse
import pathlib
import sys

import logged

from gencnp_jax import settings
from gencnp_jax.report import Table, comparison
from gencnp_jax.report.column import Column

# What a row changes of the config's section `gencnp`, by group.
_SHARP = {'distil_temperature': 0.25}
_CLASS = _SHARP | {'class_input': True, 'beta': 1.0}
_MEAN = {
  'class_input': True,
  'penalty_reduction': 'mean',
  'layer_floor': 0.005,
  'beta': 2.5,
}
_ODDS = _MEAN | {'answer': 'odds'}
_SKIP = _ODDS | {'beta': 30.0, 'skip': True}
_KEPT = _ODDS | {'beta': 30.0, 'beta_warmup': 0.5, 'charged': 'kept'}
_CUTS = {'cut': 0.5, 'cut_range': (0.9, 0.99)}
_SPARSEST = settings.OBJECTIVES['sparsest'] | {'epochs': 6.0}
_SHORT = _SPARSEST | {'epochs': 2.0}
_EVIDENCE = settings.OBJECTIVES['evidence'] | {
  'gamma': 3.0,
  'beta': 30.0,
  'beta_warmup': 0.0,
  'charged': 'all',
  'cut': 0.5,
  'cut_range': (0.88, 0.96),
}
GROUPS = {
  # What a pathway is asked to say.
  'answer': {
    'Eq. 2': {},
    'T .25': _SHARP,
    'T .25, mixed images': _SHARP | {'mix': 0.5},
  },
  # The PDN is told the class.
  'class': {
    'class, T .25': _CLASS,
    'class, T .25, bounds 3': _CLASS | {'lower': -3.0, 'upper': 3.0},
    'class, T .1': _CLASS | {'distil_temperature': 0.1},
    'class, T .1, mean penalty': _MEAN | {'distil_temperature': 0.1},
  },
  # Better odds than the target's, at a rising price of a neuron.
  'odds': {
    'odds, beta 2.5': _ODDS,
    'odds, beta 7': _ODDS | {'beta': 7.0},
    'odds, beta 30': _ODDS | {'beta': 30.0},
    'odds, beta 30, class not told': _ODDS
    | {'beta': 30.0, 'class_input': False},
    'odds, beta 200': _ODDS | {'beta': 200.0},
    'odds, beta 100 rising': _ODDS | {'beta': 100.0, 'beta_warmup': 0.7},
    'odds, beta 100 rising, cuts': _ODDS
    | {'beta': 100.0, 'beta_warmup': 0.5, **_CUTS},
    'odds, beta 30, cuts': _ODDS | {'beta': 30.0, **_CUTS},
    'odds, beta 30, cuts, bounds 3': _ODDS
    | {'beta': 30.0, **_CUTS, 'lower': -3.0, 'upper': 3.0},
    'odds, beta 30 rising, skip': _SKIP | {'beta_warmup': 0.5},
    'odds, beta 150 rising, skip': _SKIP | {'beta': 150.0, 'beta_warmup': 0.8},
    'odds, beta 30 rising, charged: kept': _KEPT,
    'odds, beta 100 rising, sparsity goal .95': _KEPT
    | {'beta': 100.0, 'sparsity_goal': 0.95},
    'odds, beta 300 rising, sparsity goal .98': _KEPT
    | {'beta': 300.0, 'sparsity_goal': 0.98},
  },
  # 98 of 100 neurons off.
  'sparsest': {
    'beta 400 rising over half, skip': _SPARSEST
    | {'beta': 400.0, 'beta_warmup': 0.5, 'sparsity_goal': 1.0},
    'sparsest': _SPARSEST,
    'sparsest, beta 400, 8 epochs': _SPARSEST | {'beta': 400.0, 'epochs': 8.0},
    'sparsest, 16 epochs': _SPARSEST | {'epochs': 16.0},
    'sparsest, cuts': _SPARSEST | {'cut': 0.6, 'cut_range': (0.95, 0.985)},
    'sparsest, rate 3e-3': _SPARSEST | {'learning_rate': 3e-3},
    'sparsest, rate 3e-3, kernels 7x7 in front': _SPARSEST
    | {'learning_rate': 3e-3, 'kernel_sizes': (7, 0, 0, 0, 0)},
  },
  # The model and its training, on the way to 98 of 100 neurons off.
  'model': {
    'as it is': _SHORT,
    'hidden 256': _SHORT | {'hidden': 256},
    'hidden 2048': _SHORT | {'hidden': 2048},
    'z 1': _SHORT | {'num_fc': 1},
    'z 3': _SHORT | {'num_fc': 3},
    'kernels 2x2': _SHORT | {'kernel_sizes': (2,) * 5},
    'kernels 7x7 in front': _SHORT | {'kernel_sizes': (7, 0, 0, 0, 0)},
    'learned bounds': _SHORT | {'learn_bounds': True},
    'sigma 4': _SHORT | {'sigma': 4.0},
    'rate 3e-4': _SHORT | {'learning_rate': 3e-4},
    'rate 3e-3': _SHORT | {'learning_rate': 3e-3},
    'augmented': _SHORT | {'augment': True},
  },
  # The answer in the image and not in the mask.
  'evidence': {
    'evidence': _EVIDENCE,
    'no skip': _EVIDENCE | {'skip': False},
    'no swap term': _EVIDENCE | {'gamma': 0.0},
    'swap: uniform': _EVIDENCE | {'swap': 'uniform'},
    'swap: own': _EVIDENCE | {'swap': 'own', 'gamma': 1.0},
    'class not told': _EVIDENCE | {'class_input': False},
  },
  # Whose pathways have a price; settings as in the word `evidence`.
  'charged': {
    'beta 60, charged: kept': settings.OBJECTIVES['evidence'] | {'beta': 60.0},
    'beta 200, charged: kept': settings.OBJECTIVES['evidence']
    | {'beta': 200.0},
  },
}

COLUMNS = (
  Column('name', 'Changed', fmt='text'),
  Column('firing_sparsity', 'Sparsity'),
  Column('agreement', 'Agreement', 'higher'),
  Column('increase_rate', 'ICr', 'higher'),
  Column('mean_decrease_of_fallers', 'mDC*', 'lower'),
  Column('within', 'acIOU', 'higher'),
  Column('between', 'Between', 'lower'),
  Column('swap', 'Swap leak', 'lower'),
  Column('own', 'Own', 'higher'),
  *comparison.curve_columns(('disconnected', 'influence')),
)


def measure(name: str, changes: dict, options: argparse.Namespace) -> dict:
  """Returns the row of one GEN-CNP, trained and measured where it is not."""
  flags = [f'--config.gencnp.{key}={value}' for key, value in changes.items()]
  workdir = options.out / name.replace(' ', '_')
  if (workdir / 'evaluate' / 'results.json').exists():
    rows = logged.rows_of(workdir)
  else:
    rows = logged.evaluated(
      options.config,
      workdir,
      [
        f'--config.target.workdir={options.target}',
        '--config.evaluate.split=validation',
        '--config.evaluate.methods=gencnp',
        *flags,
        *options.rest,
      ],
    )
  row = next(row for row in rows if row['method'] == 'GEN-CNP')
  return {**row, 'name': name}


def main() -> None:
  """Prints a table a group, and writes it."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--target', required=True, help='a trained workdir')
  parser.add_argument('--config', default='configs/cifar.py:eq2')
  parser.add_argument('--out', type=pathlib.Path, default='runs/tune')
  parser.add_argument('--groups', default=','.join(GROUPS))
  options, options.rest = parser.parse_known_args()
  groups = options.groups.split(',')
  if unknown := set(groups) - set(GROUPS):
    parser.error(
      f'no such groups: {sorted(unknown)}; there are {", ".join(GROUPS)}'
    )
  options.out.mkdir(parents=True, exist_ok=True)
  for group in groups:
    rows = []
    for name, changes in GROUPS[group].items():
      rows.append(measure(name, changes, options))
      print(f'{group}, {name}: done', file=sys.stderr, flush=True)
    table = Table(group, COLUMNS, rows)
    print(f'{table.to_text()}\n', flush=True)
    (options.out / f'{group}.csv').write_text(table.to_csv())


if __name__ == '__main__':
  main()

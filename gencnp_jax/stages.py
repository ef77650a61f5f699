"""The stages of a run: target, gencnp, evaluate, experiments, report.

Each is skipped where its product is in the workdir, and callable alone where
what it needs is there.
"""

from __future__ import annotations

import datetime
import json
import time
from typing import Any

from absl import logging
from etils import epath

from gencnp_jax import data, legal, products, settings, training_stages
from gencnp_jax import report as report_lib
from gencnp_jax.experiments import (
  faithfulness,
  main_report,
  methods,
  paper,
  registry,
)
from gencnp_jax.experiments.run import Run
from gencnp_jax.runtime import (
  devices,
  files,
  preemption,
  processes,
  workdir,
)


def run(config: Any, path: epath.PathLike) -> None:
  """Runs the config's stages in a workdir.

  Raises:
    ValueError: a setting, a data set or a workdir that will not do; the message
      names the field, the value and the remedy.
  """
  legal.validate(config)
  chosen = settings.comma_set('stages', config.stages, settings.STAGES)
  if 'experiments' in chosen:
    registry.check(config)
  for name in ('target', 'gencnp'):
    if name in chosen:
      devices.share(config[name].batch_size, f'config.{name}.batch_size')
  processes.check_same(
    'setting',
    {'workdir': str(path), **workdir.flat(config.to_dict(), 'config.')},
    'Start the same command on all hosts.',
  )
  with workdir.open_workdir(path) as directory:
    processes.from_first(lambda: workdir.clear(directory))
    workdir.check_config(
      directory,
      config.to_dict(),
      settings.FREE,
      settings.before().to_dict(),
    )
    this = Run(
      config, directory, _Lazy(lambda: data.load(config.data, config.seed))
    )
    for name in chosen:
      preemption.check()
      start = time.monotonic()
      _STAGES[name](this)
      logging.info('Stage %s: %.0f s.', name, time.monotonic() - start)


def train_target(run: Run) -> None:
  """Trains the target, or takes the trained one of another workdir."""
  training_stages.train_target(run.config, run.directory, run.splits)


def train_gencnp(run: Run) -> None:
  """Distils a GEN-CNP from the frozen target."""
  training_stages.train_gencnp(run.config, run.directory, run.splits)


def evaluate(run: Run) -> None:
  """Measures GEN-CNP and the baselines, with the settings of the section."""
  folder = run.evaluate_folder
  section = json.loads(json.dumps(run.config.evaluate.to_dict()))
  if products.is_evaluated(folder, section):
    return
  generative = run.generative
  # What is there was measured with other settings, in part or in whole.
  processes.from_first(lambda: _remove_results(folder))
  content = methods.measure(run, generative, folder)
  tables = faithfulness.tables(
    content['rows'], paper.data_set(run), run.config.target.model
  )
  curve = report_lib.comparison.curve_tables(content['curve'])
  for table in (*tables, *curve):
    files.write_text(folder / f'{table.slug}.csv', table.to_csv())
  # One table of the curve says enough on a console; the report has them all.
  for table in (*tables, *curve[:1]) if processes.is_first() else ():
    print(table.to_text(), end='\n\n', flush=True)
  # Last: where it is, the stage is done.
  content |= {'settings': section, 'facts': _facts(run, content)}
  workdir.write_json(folder / products.RESULTS, content)


def experiments(run: Run) -> None:
  """Measures what the config's experiments need besides the evaluation."""
  for name in settings.experiments(run.config.experiments.names):
    registry.measure(run, name)


def report(run: Run) -> None:
  """Writes tables, figures and report.html from what the others left."""
  processes.from_first(lambda: _report(run))


def _report(run: Run) -> None:
  if not (run.evaluate_folder / products.RESULTS).exists():
    raise ValueError(
      f'{run.directory}: stage report needs the results of stage evaluate; add '
      'it to config.stages.'
    )
  logging.info('Report: %s', main_report.write_report(run))


def _remove_results(folder: epath.Path) -> None:
  for path in (folder / products.RESULTS, *folder.glob('*.csv')):
    path.unlink(missing_ok=True)


_STAGES = {
  'target': train_target,
  'gencnp': train_gencnp,
  'evaluate': evaluate,
  'experiments': experiments,
  'report': report,
}


def _facts(run: Run, content: dict[str, Any]) -> dict[str, Any]:
  config = run.config
  return {
    'target': config.target.model,
    'data set': run.chosen.name,
    f'{config.evaluate.split} images': content['rows'][0]['images'],
    'seed': config.seed,
    'device': products.device(),
    'evaluation': f'{content["seconds"]:.0f} s, float32 products in full precision',
    'date': datetime.date.today().isoformat(),
    'versions': ', '.join(f'{k} {v}' for k, v in products.versions().items()),
  }


class _Lazy:
  """Loads once, when first asked: a skipped stage loads nothing."""

  def __init__(self, load):
    self._load, self._value = load, None

  def __call__(self):
    if self._value is None:
      self._value = self._load()
    return self._value

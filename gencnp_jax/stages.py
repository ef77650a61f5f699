"""The stages of a run: target -> gencnp -> evaluate -> report.

Each is a function of (config, workdir), skipped where its product is in the
workdir, and callable alone where what it needs is there.
"""

from __future__ import annotations

import datetime
import json
import time
from typing import Any

import numpy as np
from absl import logging
from etils import epath

from gencnp_jax import (
  data,
  explainers,
  pathway,
  products,
  settings,
  training,
  workspace,
)
from gencnp_jax import report as report_lib
from gencnp_jax.experiments import comparison, evaluation, main_report
from gencnp_jax.runtime import checkpoints, devices, workdir
from gencnp_jax.target import Preprocess


def run(config: Any, path: epath.PathLike) -> None:
  """Runs the config's stages in a workdir.

  Raises:
    ValueError: a setting, a data set or a workdir that will not do; the message
      names the field, the value and the remedy.
  """
  settings.validate(config)
  chosen = settings.comma_set('stages', config.stages, settings.STAGES)
  for name in ('target', 'gencnp'):
    if name in chosen:
      devices.share(config[name].batch_size, f'config.{name}.batch_size')
  with workdir.open_workdir(path) as directory:
    if not any(directory.glob('*/*')):
      # A run that failed before it made anything binds no later one.
      (directory / workdir.CONFIG).unlink(missing_ok=True)
    workdir.check_config(
      directory,
      config.to_dict(),
      settings.FREE,
      settings.defaults().to_dict(),
    )
    splits = _Lazy(lambda: data.load(config.data, config.seed))
    for name in chosen:
      start = time.monotonic()
      _STAGES[name](config, directory, splits)
      logging.info('Stage %s: %.0f s.', name, time.monotonic() - start)


def train_target(config: Any, directory: epath.Path, splits: Any) -> None:
  """Trains the target, or takes the trained one of another workdir."""
  if config.target.workdir:
    products.take_target(config, directory)
    return
  if products.is_trained(directory, 'target'):
    return
  section = config.target
  loaded = splits()
  if loaded.train.labels is None:
    raise ValueError(
      f'config.data: {loaded.train.name} has no labels; a target cannot be '
      'trained on it. Give labels, or config.target.workdir a trained one.'
    )
  model = workspace.build_model(
    section.model, len(loaded.train.class_names), config.dtype, devices.AXIS
  )
  preprocess = Preprocess(loaded.train.mean, loaded.train.std)
  about = {
    **products.about(config, loaded, 'target'),
    'model': section.model,
    'mean': list(loaded.train.mean),
    'std': list(loaded.train.std),
  }
  task = training.Classification(model, preprocess)
  _train(config, section, directory, 'target', task, None, loaded, about)


def train_gencnp(config: Any, directory: epath.Path, splits: Any) -> None:
  """Distils a GEN-CNP from the frozen target."""
  if products.is_trained(directory, 'gencnp'):
    return
  target = products.needed(directory, 'target', workspace.load_target)
  section = config.gencnp
  loaded = splits()
  products.check_same_data(directory, loaded)
  if section.off == 'mean' and not workspace.has_off(directory):
    off = explainers.activation_means(target, loaded.train.images)
    workspace.write_off(directory, off)
  off = workspace.read_off(directory, section)
  task = training.Distillation(
    workspace.build_gencnp(section.to_dict(), config.dtype, devices.AXIS),
    alpha=section.alpha,
    beta=section.beta,
    gamma=section.gamma,
    penalty_reduction=section.penalty_reduction,
  )
  about = {
    **products.about(config, loaded, 'gencnp'),
    'gencnp': json.loads(json.dumps(section.to_dict())),
  }
  frozen = (target, off)
  _train(config, section, directory, 'gencnp', task, frozen, loaded, about)


def evaluate(config: Any, directory: epath.Path, splits: Any) -> None:
  """Measures GEN-CNP and the baselines, with the settings of the section."""
  folder = directory / 'evaluate'
  section = json.loads(json.dumps(config.evaluate.to_dict()))
  if products.is_evaluated(folder, section):
    return
  generative = products.needed(directory, 'gencnp', workspace.load_explainer)
  loaded = splits()
  # What is there was measured with other settings, in part or in whole.
  for path in (folder / products.RESULTS, *folder.glob('*.csv')):
    path.unlink(missing_ok=True)
  content = evaluation.measure(config, generative, loaded, folder)
  data_set, model = config.data.name, config.target.model
  tables = comparison.tables(content['rows'], data_set, model)
  curve = report_lib.comparison.curve_tables(content['curve'])
  for table in (*tables, *curve):
    (folder / f'{table.slug}.csv').write_text(table.to_csv())
  # One table of the curve says enough on a console; the report has them all.
  for table in (*tables, *curve[:1]):
    print(table.to_text(), end='\n\n', flush=True)
  # Last: where it is, the stage is done.
  workdir.write_json(
    folder / products.RESULTS,
    {
      'rows': content['rows'],
      'curve': content['curve'],
      'settings': section,
      'facts': _facts(config, loaded, content),
    },
  )


def report(config: Any, directory: epath.Path, splits: Any) -> None:
  """Writes report.html from what the other stages left."""
  del splits
  folder = directory / 'evaluate'
  if not (folder / products.RESULTS).exists():
    raise ValueError(
      f'{directory}: stage report needs the results of stage evaluate; add it '
      'to config.stages.'
    )
  content = json.loads((folder / products.RESULTS).read_text())
  with (
    (folder / evaluation.DETAILS).open('rb') as file,
    np.load(file) as arrays,
  ):
    details = dict(arrays)
  examples = pathway.Explanation.load(folder / evaluation.EXAMPLES)
  path = main_report.write_report(directory, config, content, details, examples)
  logging.info('Report: %s', path)


_STAGES = {
  'target': train_target,
  'gencnp': train_gencnp,
  'evaluate': evaluate,
  'report': report,
}


def _train(config, section, directory, stage, task, frozen, loaded, about):
  # What is trained anew has not been evaluated.
  if (directory / 'evaluate').exists():
    (directory / 'evaluate').rmtree()
  where = workspace.checkpoint_directory(directory, stage)
  with checkpoints.Checkpoints(where, about) as saved:
    training.train(
      task,
      frozen,
      loaded,
      section,
      saved,
      directory / stage / 'log.jsonl',
      seed=config.seed,
      crop_pad=config.data.crop_pad if section.augment else 0,
      flip=config.data.flip and section.augment,
      runtime=config.runtime,
    )
  workdir.write_json(directory / stage / products.DONE, about)


def _facts(config, loaded, content: dict[str, Any]) -> dict[str, Any]:
  return {
    'target': config.target.model,
    'data set': loaded.test.name,
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

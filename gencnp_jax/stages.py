"""The stages of a run: target -> gencnp -> evaluate -> report.

Each is a function of (config, workdir), skipped where its product is in the
workdir, and callable alone where what it needs is there.
"""

from __future__ import annotations

import datetime
import json
import os
import platform
import shutil
import time
from typing import Any

import flax
import jax
import numpy as np
from absl import logging
from etils import epath

from gencnp_jax import (
  data,
  explainers,
  metrics,
  pathway,
  settings,
  training,
  workspace,
)
from gencnp_jax.experiments import comparison, main_report
from gencnp_jax.runtime import checkpoints, devices, workdir
from gencnp_jax.target import Preprocess

RESULTS = 'results.json'
DETAILS = 'details.npz'
EXAMPLES = 'examples.npz'
DONE = 'done.json'
_PRODUCTS = {'target': DONE, 'gencnp': DONE, 'evaluate': RESULTS}


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
    workdir.check_config(directory, config.to_dict(), settings.FREE)
    splits = _Lazy(lambda: data.load(config.data, config.seed))
    for name in chosen:
      start = time.monotonic()
      _STAGES[name](config, directory, splits)
      logging.info('Stage %s: %.0f s.', name, time.monotonic() - start)


def train_target(config: Any, directory: epath.Path, splits: Any) -> None:
  """Trains the target, or takes the trained one of another workdir."""
  if config.target.workdir:
    _take_target(config, directory)
    return
  if _is_done(directory, 'target'):
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
    **_about(config, loaded, 'target'),
    'model': section.model,
    'mean': list(loaded.train.mean),
    'std': list(loaded.train.std),
  }
  task = training.Classification(model, preprocess)
  _train(config, section, directory, 'target', task, None, loaded, about)


def train_gencnp(config: Any, directory: epath.Path, splits: Any) -> None:
  """Distils a GEN-CNP from the frozen target."""
  if _is_done(directory, 'gencnp'):
    return
  target = _needed(directory, 'target', workspace.load_target)
  section = config.gencnp
  loaded = splits()
  _check_same_data(directory, loaded)
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
    **_about(config, loaded, 'gencnp'),
    'gencnp': json.loads(json.dumps(section.to_dict())),
  }
  frozen = (target, off)
  _train(config, section, directory, 'gencnp', task, frozen, loaded, about)


def evaluate(config: Any, directory: epath.Path, splits: Any) -> None:
  """Measures GEN-CNP and the baselines on the test set."""
  if _is_done(directory, 'evaluate'):
    return
  results = directory / 'evaluate' / RESULTS
  generative = _needed(directory, 'gencnp', workspace.load_explainer)
  loaded = splits()
  test = loaded.test
  count = min(config.evaluate.limit or len(test.images), len(test.images))
  images = test.images[:count]
  labels = None if test.labels is None else test.labels[:count]
  start = time.monotonic()
  # Float32 products run in lower precision on TPU and GPU unless told not to.
  with jax.default_matmul_precision('highest'):
    measured, examples = _measure(config, generative, loaded, images, labels)
  seconds = time.monotonic() - start
  results.parent.mkdir(parents=True, exist_ok=True)
  with (results.parent / DETAILS).open('wb') as file:
    np.savez_compressed(
      file,
      predictions=measured[0].predictions,
      sparsity=measured[0].sparsity_of_images,
      layer_shares=measured[0].layer_counts / measured[0].layer_sizes,
      example_images=images[: len(examples)],
    )
  examples.save(results.parent / EXAMPLES)
  rows = comparison.rows(measured)
  for table in comparison.tables(rows, config.data.name, config.target.model):
    name = table.title.split(' beside ')[0].lower()
    name = ''.join(c if c.isalnum() else '_' for c in name).strip('_')
    (results.parent / f'{name}.csv').write_text(table.to_csv())
    print(table.to_text(), flush=True)
    print()
  # Last: where it is, the stage is done.
  workdir.write_json(
    results, {'rows': rows, 'facts': _facts(config, loaded, count, seconds)}
  )


def report(config: Any, directory: epath.Path, splits: Any) -> None:
  """Writes report.html from what the other stages left."""
  del splits
  folder = directory / 'evaluate'
  if not (folder / RESULTS).exists():
    raise ValueError(
      f'{directory}: stage report needs the results of stage evaluate; add it '
      'to config.stages.'
    )
  content = json.loads((folder / RESULTS).read_text())
  with (folder / DETAILS).open('rb') as file, np.load(file) as arrays:
    details = dict(arrays)
  examples = pathway.Explanation.load(folder / EXAMPLES)
  path = main_report.write_report(directory, config, content, details, examples)
  logging.info('Report: %s', path)


_STAGES = {
  'target': train_target,
  'gencnp': train_gencnp,
  'evaluate': evaluate,
  'report': report,
}


def _take_target(config, directory):
  source = epath.Path(config.target.workdir) / 'target'
  destination = directory / 'target'
  if destination.exists():
    logging.info('%s is there; stage target is skipped.', destination)
    return
  about = checkpoints.read_about(
    workspace.checkpoint_directory(config.target.workdir, 'target')
  )
  if about['model'] != config.target.model:
    raise ValueError(
      f'config.target.model={config.target.model!r}: the target of '
      f'config.target.workdir={config.target.workdir} is {about["model"]!r}.'
    )
  _check_finished(source.parent, 'target')
  # Under a temporary name first: half a copy is never taken for a target.
  temporary = directory / f'.target.{os.getpid()}'
  shutil.copytree(source, temporary)
  temporary.replace(destination)


def _train(config, section, directory, stage, task, frozen, loaded, about):
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
  workdir.write_json(directory / stage / DONE, about)


def _is_done(directory: epath.Path, stage: str) -> bool:
  """True, and says so, where a stage's product is in the workdir."""
  product = directory / stage / _PRODUCTS[stage]
  if product.exists():
    logging.info('%s is there: stage %s is skipped.', product, stage)
  return product.exists()


def _measure(config, generative, loaded, images, labels):
  names = settings.comma_set(
    'evaluate.methods', config.evaluate.methods, settings.METHODS
  )
  batch_size = config.evaluate.batch_size or None
  common = {
    'labels': labels,
    'batch_size': batch_size,
    'blank': metrics.mean_image(loaded.train.images),
    'seed': config.seed,
  }
  measured = explainers.evaluate([generative], images, **common)
  # Pathways that are all or nothing still have baselines to stand beside.
  shapes = generative.target.activation_shapes(images.shape[1:])
  neuron = 1 / pathway.neuron_count(shapes)
  sparsity = config.evaluate.sparsity or float(
    np.clip(measured[0].faithfulness.firing_sparsity, neuron, 1 - neuron)
  )
  baselines = {
    'neuron_mct': explainers.NeuronMCT,
    'original_activation': explainers.OriginalActivation,
    'random': explainers.Random,
  }
  others = [
    baselines[name](
      generative.target, sparsity, seed=config.seed, off=generative.off
    )
    for name in names
    if name in baselines
  ]
  if others:
    measured += explainers.evaluate(others, images, **common)
  shown = images[: max(config.evaluate.examples, 1)]
  return measured, generative(shown, importance=False)


def _needed(directory: epath.Path, stage: str, load: Any) -> Any:
  """Loads the product of a stage, or says which stage is missing."""
  try:
    product = load(directory)
    _check_finished(directory, stage)
    return product
  except checkpoints.CheckpointError as error:
    product = directory / stage
    # A stage that is done is skipped until its folder is gone.
    again = f'remove {product} and ' if (product / DONE).exists() else ''
    raise ValueError(
      f'{error} This stage needs what stage {stage} trains; {again}add {stage} '
      'to config.stages.'
    ) from error


def _check_finished(directory: epath.Path, stage: str) -> None:
  """Raises where a stage has checkpoints, and was interrupted."""
  if not (directory / stage / DONE).exists():
    raise ValueError(
      f'{directory / stage}: its training was interrupted; go on with stage '
      f'{stage} in config.stages of that workdir.'
    )


def _check_same_data(directory: epath.Path, loaded: data.Splits) -> None:
  """Raises where the target was trained on data of another kind."""
  about = checkpoints.read_about(
    workspace.checkpoint_directory(directory, 'target')
  )
  classes, known = len(about['class_names']), len(loaded.train.class_names)
  if loaded.train.labels is None:  # Unlabelled images have no classes to fit.
    known = classes
  for what, trained, given in (
    ('classes', classes, known),
    ('images', tuple(about['image_shape']), loaded.train.images.shape[1:]),
  ):
    if trained != given:
      raise ValueError(
        f'config.data: {what} of {loaded.train.name} are {given}; the target in '
        f'{directory} was trained for {trained} ({about["data"]}). Choose the '
        'data it was trained on, or train another target.'
      )


def _about(config, loaded, kind: str) -> dict[str, Any]:
  return {
    'kind': kind,
    'name': config.name,
    'dtype': config.dtype,
    'data': loaded.train.name,
    'class_names': list(loaded.train.class_names),
    'image_shape': list(loaded.train.images.shape[1:]),
    'config': json.loads(json.dumps(config.to_dict())),
    'versions': _versions(),
  }


def _versions() -> dict[str, str]:
  return {
    'python': platform.python_version(),
    'jax': jax.__version__,
    'flax': flax.__version__,
  }


def _facts(config, loaded, count: int, seconds: float) -> dict[str, Any]:
  device = jax.devices()[0]
  return {
    'target': config.target.model,
    'data set': loaded.test.name,
    'test images': count,
    'seed': config.seed,
    'device': f'{jax.device_count()} x {device.device_kind}',
    'evaluation': f'{seconds:.0f} s, float32 products in full precision',
    'date': datetime.date.today().isoformat(),
    'versions': ', '.join(f'{k} {v}' for k, v in _versions().items()),
  }


class _Lazy:
  """Loads once, when first asked: a skipped stage loads nothing."""

  def __init__(self, load):
    self._load, self._value = load, None

  def __call__(self):
    if self._value is None:
      self._value = self._load()
    return self._value

"""The stages that train: the target, and GEN-CNP from it.

Each is a function of (config, workdir, data), skipped where its product is
there. The variants that experiments compare are trained by the same two.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from etils import epath

from gencnp_jax import data, explainers, products, training, workspace
from gencnp_jax.runtime import checkpoints, devices, processes, profile, workdir
from gencnp_jax.target import Preprocess, Target


def train_target(
  config: Any, directory: epath.Path, splits: Callable[[], data.Splits]
) -> None:
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


def train_gencnp(
  config: Any, directory: epath.Path, splits: Callable[[], data.Splits]
) -> None:
  """Distils a GEN-CNP from the frozen target."""
  if products.is_trained(directory, 'gencnp'):
    return
  target = products.needed(directory, 'target', workspace.load_target)
  loaded = splits()
  products.check_same_data(directory, loaded)
  about = {
    **products.about(config, loaded, 'gencnp'),
    'gencnp': json.loads(json.dumps(config.gencnp.to_dict())),
  }
  distil(config, directory, target, loaded, about)


def distil(
  config: Any,
  directory: epath.Path,
  target: Target,
  loaded: data.Splits,
  about: dict[str, Any],
) -> None:
  """Distils a GEN-CNP from any frozen target.

  Args:
    config: its `gencnp`, `data`, `runtime`, `dtype` and `seed` are read.
    directory: the workdir.
    target: what is explained.
    loaded: the images that it takes.
    about: what the checkpoint says of itself.
  """
  section = config.gencnp
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
    answer=section.answer,
    distil_temperature=section.distil_temperature,
    beta_warmup=section.beta_warmup,
    cut=section.cut,
    cut_range=tuple(section.cut_range),
    swap=section.swap,
    charged=section.charged,
    sparsity_goal=section.sparsity_goal,
  )
  frozen = (target, off)
  _train(config, section, directory, 'gencnp', task, frozen, loaded, about)


def _train(config, section, directory, stage, task, frozen, loaded, about):
  if processes.several():
    digest = processes.digest(loaded.train.images, loaded.train.labels)
    processes.check_same(
      'data set', {'checksum': digest}, 'Give all hosts the same files.'
    )
  products.forget(directory, stage)
  where = workspace.checkpoint_directory(directory, stage)
  traced = profile.recorded(
    directory / stage / 'profile', config.runtime.profile
  )
  with traced, checkpoints.Checkpoints(where, about) as saved:
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
      mix=section.get('mix', 0.0),
      runtime=config.runtime,
      section=f'config.{stage}.',
    )
  workdir.write_json(directory / stage / products.DONE, about)

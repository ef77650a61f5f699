"""What a stage makes, whether it is there, and whether it fits.

A product is finished where its marker is in the workdir; checkpoints without
one are those of an interrupted training.
"""

from __future__ import annotations

import json
import platform
from typing import Any

import flax
import jax
from absl import logging
from etils import epath

from gencnp_jax import data, workspace
from gencnp_jax.runtime import checkpoints, files, processes

RESULTS = 'results.json'
DONE = 'done.json'
_HALF = '.half'


def is_trained(directory: epath.Path, stage: str) -> bool:
  """True, and says so, where a stage's product is in the workdir."""
  marker = directory / stage / DONE
  done = processes.from_first(marker.exists)
  if done:
    logging.info('%s is there: stage %s is skipped.', marker, stage)
  return done


def is_evaluated(
  folder: epath.Path, section: dict[str, Any], quiet: bool = False
) -> bool:
  """True, and says so, where results with these settings are in the folder.

  Args:
    folder: of the stage evaluate.
    section: the config's section, as JSON gives it back.
    quiet: say nothing where they are.
  """
  return processes.from_first(lambda: _is_evaluated(folder, section, quiet))


def _is_evaluated(folder, section, quiet) -> bool:
  path = folder / RESULTS
  if not path.exists():
    return False
  try:
    before = dict(json.loads(path.read_text())['settings'])
  except (ValueError, KeyError, TypeError, RecursionError):
    logging.warning('%s is damaged, or of an earlier version: again.', path)
    return False
  changed = sorted(k for k in section if section[k] != before.get(k))
  if changed:
    logging.info(
      '%s was measured with other settings (%s): again.',
      path,
      ', '.join(f'evaluate.{key}' for key in changed),
    )
    return False
  if not quiet:
    logging.info('%s is there: stage evaluate is skipped.', path)
  return True


def take_target(config: Any, directory: epath.Path) -> None:
  """Copies the trained target of `config.target.workdir`, unless one is there.

  Raises:
    ValueError: no target there, another model, or an interrupted training.
  """
  processes.from_first(lambda: _take_target(config, directory))


def _take_target(config: Any, directory: epath.Path) -> None:
  source = epath.Path(config.target.workdir) / 'target'
  destination = directory / 'target'
  half = destination / _HALF
  if destination.exists() and not half.exists():
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
  check_finished(source.parent, 'target')
  _forget(directory, 'target')
  # Object stores do not rename a folder: half a copy is known by a file.
  files.write_text(half, '')
  _copy(source, destination)
  half.unlink()


def _copy(source: epath.Path, destination: epath.Path) -> None:
  """Copies a folder, from and to any file system."""
  destination.mkdir(parents=True, exist_ok=True)
  for path in source.iterdir():
    if path.is_dir():
      _copy(path, destination / path.name)
    else:
      path.copy(destination / path.name, overwrite=True)


def forget(directory: epath.Path, stage: str) -> None:
  """Removes what was made of the product that a stage is about to make.

  Args:
    directory: the workdir.
    stage: target or gencnp.
  """
  processes.from_first(lambda: _forget(directory, stage))


def _forget(directory: epath.Path, stage: str) -> None:
  stale = ['evaluate', 'experiments']
  if stage == 'target':
    stale += ['gencnp', 'variants']
  for name in stale:
    if (directory / name).exists():
      logging.warning(
        '%s is of an earlier %s: removed.', directory / name, stage
      )
      (directory / name).rmtree()


def needed(directory: epath.Path, stage: str, load: Any) -> Any:
  """Loads the product of a stage, or says which stage is missing."""
  try:
    product = load(directory)
    check_finished(directory, stage)
    return product
  except checkpoints.CheckpointError as error:
    product = directory / stage
    # A stage that is done is skipped until its folder is gone.
    again = f'remove {product} and ' if (product / DONE).exists() else ''
    raise ValueError(
      f'{error} This stage needs what stage {stage} trains; {again}add {stage} '
      'to config.stages.'
    ) from error


def check_finished(directory: epath.Path, stage: str) -> None:
  """Raises where a stage has checkpoints, and was interrupted."""
  if not (directory / stage / DONE).exists():
    raise ValueError(
      f'{directory / stage}: its training was interrupted; go on with stage '
      f'{stage} in config.stages of that workdir.'
    )


def check_same_data(directory: epath.Path, loaded: data.Splits) -> None:
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


def about(config: Any, loaded: data.Splits, kind: str) -> dict[str, Any]:
  """Returns what a checkpoint says of itself, so that it opens by path."""
  return {
    'kind': kind,
    'name': config.name,
    'dtype': config.dtype,
    'data': loaded.train.name,
    'class_names': list(loaded.train.class_names),
    'image_shape': list(loaded.train.images.shape[1:]),
    'config': json.loads(json.dumps(config.to_dict())),
    'device': device(),
    'versions': versions(),
  }


def device() -> str:
  """Returns how many devices of which kind compute."""
  return f'{jax.device_count()} x {jax.devices()[0].device_kind}'


def versions() -> dict[str, str]:
  """Returns the versions that numbers depend on."""
  return {
    'python': platform.python_version(),
    'jax': jax.__version__,
    'flax': flax.__version__,
  }

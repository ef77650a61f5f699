"""`fit`: a GEN-CNP for a classifier of your own, in one call."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping
from typing import Any

import ml_collections
import numpy as np
from etils import epath

from gencnp_jax import (
  arguments,
  data,
  legal,
  pathway,
  products,
  settings,
  training_stages,
  workspace,
)
from gencnp_jax.choices import SettingsError, one_of
from gencnp_jax.explainers import Generative, inputs
from gencnp_jax.model import size as size_lib
from gencnp_jax.runtime import (
  devices,
  memory,
  preemption,
  processes,
  run_log,
)
from gencnp_jax.runtime import workdir as workdir_lib
from gencnp_jax.target import Target

# Of the memory there is, what training may take.
_SHARE = 0.6
# Settings of a whole config that are not of its section `gencnp`.
_COMMON = ('seed', 'dtype')


def fit(
  target: Target,
  images: Any,
  config: Mapping[str, Any] | None = None,
  *,
  workdir: epath.PathLike | None = None,
  memory_gb: float | None = None,
) -> Generative:
  """Trains a GEN-CNP for any target (paper, section 3).

  Prints first how many parameters it has, and what training takes.

  Args:
    target: the classifier; it is frozen.
    images: `[n, h, w, channels]`, uint8 or float, what the target takes: its
      training images, or others like them. No labels are needed.
    config: settings that differ from the defaults, such as
      `{'epochs': 8, 'beta': 0.4, 'hidden': 256}`: fields of the section
      `gencnp` in settings.py, and 'seed' and 'dtype'. Or a whole config.
    workdir: where checkpoints go, so that an interrupted call goes on, a
      finished one returns at once, and `load_explainer(workdir, target)` opens
      it later. None keeps nothing.
    memory_gb: what training may take on a device, in 10^9 bytes, the images and
      the target not counted; None for 60 % of what it has.

  Returns:
    The explainer: `fit(target, images)(images[:8])`.

  Raises:
    SettingsError: a setting that is unknown or not legal.
    ValueError: images that the target does not take; a GEN-CNP that is too
      large, with what would fit; a workdir of another target or config.
  """
  if not isinstance(target, Target):
    raise ValueError(
      f'target is {type(target).__name__}; pass Target(apply_fn, variables).'
    )
  config = _config(config)
  images = inputs.check_images(images)
  if np.issubdtype(images.dtype, np.floating):
    images = images.astype(np.float32, copy=False)
  elif images.dtype != np.uint8:
    raise ValueError(
      f'images are {images.dtype}: pass uint8, or the floats that the target '
      'takes.'
    )
  inputs.check_classes_there(target.num_classes(images.shape[1:]))
  known = workspace.fitted(target, images.shape[1:])
  _check_size(target, images, config, memory_gb)
  with (
    preemption.watched(),
    _directory(workdir, config, images, known) as directory,
  ):
    done = (directory / 'gencnp' / products.DONE).exists
    if not processes.from_first(done):
      _distil(target, images, config, directory, known)
    return workspace.load_explainer(directory, target)


def _config(given: Mapping[str, Any] | None) -> ml_collections.ConfigDict:
  """Returns a whole config, with what is given changed, checked."""
  if isinstance(given, ml_collections.ConfigDict):
    config = given
  else:
    if not isinstance(given, Mapping | None):
      raise SettingsError(
        f'config is {type(given).__name__}; pass a mapping, such as '
        "{'epochs': 8}; what the word evidence asks for is "
        "settings.OBJECTIVES['evidence']. No labels are needed."
      )
    config = settings.defaults()
    for name, value in (given or {}).items():
      one_of('config', name, (*config.gencnp, *_COMMON))
      section = config if name in _COMMON else config.gencnp
      try:
        section[name] = value
      except (TypeError, OverflowError) as error:
        raise SettingsError(f'config[{name!r}]={value!r}: {error}') from error
  legal.validate(config)
  return config


def _check_size(target, images, config, memory_gb: float | None) -> None:
  """Prints the size of the GEN-CNP; raises where training would not fit."""
  section = config.gencnp
  shapes = target.activation_shapes(images.shape[1:])
  model = workspace.build_gencnp(section.to_dict(), config.dtype, None)
  batch = devices.share(section.batch_size, 'config batch_size')
  moments = 2 if section.optimiser == 'adam' else int(section.momentum > 0)
  classes = target.num_classes(images.shape[1:])
  size = size_lib.measure(model, shapes, batch, moments, classes)
  limit = _SHARE * memory.device_bytes()
  if memory_gb is not None:
    if not arguments.finite(memory_gb) or not memory_gb > 0:
      raise ValueError(
        f'memory_gb={memory_gb!r}: must be above 0, or None for {100 * _SHARE:.0f} % '
        'of what the device has.'
      )
    limit = memory_gb * 1e9
  said = (
    f'GEN-CNP for {len(shapes)} activations of '
    f'{pathway.neuron_count(shapes):,} neurons: {_size(size, batch)}'
  )
  if size.training <= limit:
    print(f'{said}.', flush=True)
    return
  # The batch of a device is its share of the config's.
  per_device = section.batch_size // batch
  remedies = []
  for changes, fits in size_lib.smaller(
    model, shapes, batch, moments, limit, classes
  ):
    if 'batch_size' in changes:
      changes = changes | {'batch_size': changes['batch_size'] * per_device}
    words = ', '.join(f'{k}={v}' for k, v in changes.items())
    remedies.append(
      f'  {words}: {_short(fits.parameters)} parameters, about '
      f'{_bytes(fits.training)}\n'
    )
  raise ValueError(
    f'{said}. It may take memory_gb={limit / 1e9:.3g}. '
    + (
      'In config, choose a smaller hidden, or an embedding below the smallest '
      f"map (h' x w'). What fits:\n{''.join(remedies)}"
      if remedies
      else 'No hidden, embedding and batch_size are small enough. '
    )
    + 'Or explain fewer of the activations: Target(..., relus=...).'
  )


def _size(size: size_lib.Size, batch: int) -> str:
  share = 100 * size.pdn / size.parameters
  return (
    f'{_short(size.parameters)} parameters ({share:.0f} % in the PDN, which '
    f'reads {_short(size.features)} numbers); training takes about '
    f'{_bytes(size.training)} on each device, {batch} images at a time'
  )


def _short(count: float) -> str:
  """Returns three digits and a unit, such as '15.2 M'."""
  for unit in ('', ' k', ' M'):
    if count < 999.5:
      return f'{count:.3g}{unit}'
    count /= 1000
  return f'{count:,.3g} G' if count < 999.5 else f'{count:,.0f} G'


def _bytes(count: float) -> str:
  said = _short(count)
  return f'{said}B' if said[-1].isalpha() else f'{said} B'


@contextlib.contextmanager
def _directory(
  path: epath.PathLike | None, config, images, known
) -> Iterator[epath.Path]:
  """Opens the workdir, or a folder that is removed again."""
  if path is None:
    if processes.several():
      raise ValueError(
        'workdir=None: several processes need a folder that all of them see.'
      )
    with tempfile.TemporaryDirectory() as folder:
      yield epath.Path(folder)
    return
  with workdir_lib.open_workdir(path, 'workdir') as directory:
    processes.from_first(lambda: workdir_lib.clear(directory))
    workdir_lib.check_config(
      directory,
      {
        'seed': config.seed,
        'dtype': config.dtype,
        'gencnp': config.gencnp.to_dict(),
        'target': known,
        'images': {
          'shape': images.shape,
          'dtype': str(images.dtype),
          'checksum': zlib.crc32(np.ascontiguousarray(images)),
        },
      },
      free=(),
      field='workdir',
    )
    yield directory


def _distil(target, images, config, directory: epath.Path, known) -> None:
  channels = images.shape[-1]
  dataset = data.Dataset(
    images, None, (), 'images of a user', (0.0,) * channels, (1.0,) * channels
  )
  splits = data.Splits(dataset, None, dataset)
  about = {
    **products.about(config, splits, 'gencnp'),
    'gencnp': json.loads(json.dumps(config.gencnp.to_dict())),
    'fitted': known,
  }
  start = time.monotonic()
  training_stages.distil(config, directory, target, splits, about)
  record = run_log.read(directory / 'gencnp' / 'log.jsonl')[-1]
  print(
    f'Trained in {time.monotonic() - start:.0f} s. Over the last epoch: firing '
    f'sparsity {100 * record["firing_sparsity"]:.1f} %, agreement '
    f'{100 * record["agreement"]:.1f} %.',
    flush=True,
  )

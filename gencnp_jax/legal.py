"""What is legal in a config: each value, before anything is computed."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any

import ml_collections

from gencnp_jax import kinds, settings
from gencnp_jax.choices import SettingsError, comma_set, one_of
from gencnp_jax.model import gencnp as gencnp_model
from gencnp_jax.model.daq import SIGMA, TEMPERATURE
from gencnp_jax.training import distillation
from gencnp_jax.training import state as training_state

# What float32 holds.
_FLOATS = 3.4e38
# Of one step an epoch, the least makes a step.
_EPOCHS = 1e-6, 1e6
_BOUNDS = 1e3
_DISTIL = 1e-3, 1e3
_GAP = 1e-3
# What the draw of a crop, 16 bits in int32, has room for.
_CROP_PAD = 2**14
_DEPTH = 100
_KERNEL = 1024


def validate(config: ml_collections.ConfigDict) -> None:
  """Checks every value before anything is computed or written.

  Raises:
    SettingsError: names the field, the value and what would be legal.
  """
  kinds.check(config, settings.defaults())
  _check('name', config.name, _can_be_a_folder, 'the name of a folder')
  comma_set('stages', config.stages, settings.STAGES)
  settings.methods(config.evaluate.methods)
  one_of('config.evaluate.split', config.evaluate.split, settings.SPLITS)
  settings.experiments(config.experiments.names)
  for field, empty in (
    ('evaluate.sparsities', 'empty, or '),
    ('evaluate.roap_sparsities', 'empty, or '),
    ('experiments.sample_sparsities', ''),
    ('experiments.class_sparsities', ''),
  ):
    section, name = field.split('.')
    _check(
      field,
      tuple(config[section][name]),
      lambda v, empty=empty: (
        all(_open_share(s) for s in v)
        and len(set(v)) == len(v)
        and (v or empty)
      ),
      f'{empty}different shares between 0 and 1',
    )
  _check('seed', config.seed, lambda v: 0 <= v < 2**31, 'in [0, 2^31)')
  one_of('config.dtype', config.dtype, settings.DTYPES)
  one_of('config.target.model', config.target.model, settings.MODELS)
  one_of('config.data.train_on', config.data.train_on, settings.TRAIN_ON)
  one_of('config.gencnp.off', config.gencnp.off, settings.OFF)
  _check_ablations(config.gencnp)
  one_of(
    'config.gencnp.penalty_reduction',
    config.gencnp.penalty_reduction,
    distillation.REDUCTIONS,
  )
  for name in ('target', 'gencnp'):
    section = config[name]
    one_of(
      f'config.{name}.optimiser', section.optimiser, training_state.OPTIMISERS
    )
    one_of(
      f'config.{name}.schedule', section.schedule, training_state.SCHEDULES
    )
    _check_range(f'{name}.epochs', section.epochs, *_EPOCHS)
    _check(f'{name}.batch_size', section.batch_size, _positive, 'at least 1')
    _check(
      f'{name}.learning_rate', section.learning_rate, _above_zero, 'above 0'
    )
    _check(f'{name}.warmup', section.warmup, _open_share, 'between 0 and 1')
    _check(f'{name}.momentum', section.momentum, _share, 'in [0, 1)')
    for field in ('weight_decay', 'clip_norm'):
      _check(f'{name}.{field}', section[field], _not_negative, '0 or more')
  gencnp = config.gencnp
  for field in ('alpha', 'beta', 'gamma'):
    _check(f'gencnp.{field}', gencnp[field], _not_negative, '0 or more')
  one_of('config.gencnp.answer', gencnp.answer, distillation.ANSWERS)
  _check_range('gencnp.distil_temperature', gencnp.distil_temperature, *_DISTIL)
  one_of('config.gencnp.swap', gencnp.swap, distillation.SWAPS)
  one_of('config.gencnp.charged', gencnp.charged, distillation.CHARGED)
  for field in ('beta_warmup', 'mix'):
    _check(f'gencnp.{field}', gencnp[field], lambda v: 0 <= v <= 1, 'in [0, 1]')
  _check(
    'gencnp.sparsity_goal',
    gencnp.sparsity_goal,
    lambda v: 0 < v <= 1,
    'above 0 and at most 1 (none)',
  )
  _check(
    'gencnp.cut_range',
    tuple(gencnp.cut_range),
    lambda v: len(v) == 2 and all(map(_open_share, v)) and v[0] <= v[1],
    'two shares between 0 and 1, the lower first',
  )
  for field in ('hidden', 'num_fc'):
    _check(f'gencnp.{field}', gencnp[field], _positive, 'at least 1')
  _check('gencnp.num_fc', gencnp.num_fc, lambda v: v <= _DEPTH, 'at most 100')
  _check_range('gencnp.sigma', gencnp.sigma, *SIGMA)
  _check_range('gencnp.temperature', gencnp.temperature, *TEMPERATURE)
  _check(
    'gencnp.upper',
    gencnp.upper,
    lambda v: gencnp.lower >= -_BOUNDS and gencnp.lower + _GAP <= v <= _BOUNDS,
    f'above gencnp.lower={gencnp.lower}, by {_GAP:g} or more, and both between '
    f'{-_BOUNDS:g} and {_BOUNDS:g}',
  )
  # Some pathways are to be DAQ's own, and most neurons may go off.
  for field in ('cut', 'layer_floor'):
    _check(f'gencnp.{field}', gencnp[field], _share, 'in [0, 1)')
  _check(
    'gencnp.embedding',
    tuple(gencnp.embedding),
    lambda v: len(v) in (0, 2) and all(kinds.is_whole(x) and x >= 1 for x in v),
    "empty, or (h', w')",
  )
  _check(
    'gencnp.kernel_sizes',
    tuple(gencnp.kernel_sizes),
    lambda v: all(_is_kernel(k) for k in v),
    'empty, or for each activation 0, a whole number or a pair of them, at most '
    f'{_KERNEL}',
  )
  _check(
    'evaluate.sparsity',
    config.evaluate.sparsity,
    _share,
    'between 0 and 1, or 0 for the mean of GEN-CNP',
  )
  _check(
    'evaluate.pathways',
    config.evaluate.pathways,
    _share,
    'between 0 and 1, or 0 for none',
  )
  _check(
    'experiments.embedded',
    config.experiments.embedded,
    lambda v: v >= 10,
    'at least 10',
  )
  _check(
    'experiments.pictured',
    config.experiments.pictured,
    _positive,
    'at least 1',
  )
  _check(
    'data.validation_share', config.data.validation_share, _share, 'in [0, 1)'
  )
  _check(
    'runtime.dispatch_seconds',
    config.runtime.dispatch_seconds,
    _above_zero,
    'above 0',
  )
  _check(
    'data.crop_pad',
    config.data.crop_pad,
    lambda v: v < _CROP_PAD,
    f'below {_CROP_PAD}',
  )
  for field in (
    'data.limit',
    'data.image_size',
    'data.crop_pad',
    'gencnp.canvases',
    'evaluate.limit',
    'evaluate.batch_size',
    'evaluate.examples',
    'runtime.steps_per_dispatch',
    'runtime.checkpoint_every',
    'runtime.evaluate_every',
    'runtime.profile',
  ):
    section, name = field.split('.')
    _check(field, config[section][name], _not_negative, '0 or more')


def _is_kernel(value: Any) -> bool:
  sides = value if isinstance(value, tuple | list) else (value, value)
  return len(sides) == 2 and all(
    kinds.is_whole(k) and 0 <= k <= _KERNEL for k in sides
  )


def _can_be_a_folder(name: str) -> bool:
  path = pathlib.PurePath(name)
  outside = path.is_absolute() or '..' in path.parts
  return bool(path.parts) and not outside and name.isprintable()


def _check_ablations(gencnp: ml_collections.ConfigDict) -> None:
  """Checks the fields of Table 2's ablations."""
  for field, known in (
    ('embedders', gencnp_model.EMBEDDERS),
    ('quantiser', gencnp_model.QUANTISERS),
  ):
    one_of(f'config.gencnp.{field}', gencnp[field], known)
  if gencnp.embedders == 'none' and gencnp.shared_pdn:
    raise SettingsError(
      "config.gencnp.embedders='none' has a PDN a layer: set "
      'config.gencnp.shared_pdn=False with it.'
    )
  if gencnp.quantiser == 'sigmoid' and gencnp.layer_floor:
    raise SettingsError(
      f'config.gencnp.layer_floor={gencnp.layer_floor}: soft masks of '
      "config.gencnp.quantiser='sigmoid' have no floor; set it to 0."
    )


def _positive(value: float) -> bool:
  return value >= 1


def _not_negative(value: float) -> bool:
  return 0 <= value < _FLOATS


def _above_zero(value: float) -> bool:
  return 0 < value < _FLOATS


def _share(value: float) -> bool:
  return 0 <= value < 1


def _open_share(value: Any) -> bool:
  return kinds.is_number(value) and 0 < value < 1


def _check(
  field: str, value: Any, legal: Callable[[Any], bool], what: str
) -> None:
  if not legal(value):
    raise SettingsError(f'config.{field}={value!r}: must be {what}.')


def _check_range(field: str, value: float, least: float, most: float) -> None:
  _check(
    field,
    value,
    lambda v: least <= v <= most,
    f'above 0: from {least:g} to {most:g}',
  )

"""Every setting, its default, its meaning, and what is legal.

`defaults()` is the base of each file in `configs/`; a config is an
`ml_collections.ConfigDict`, so that `--config.gencnp.beta=1` works and a typo
names the nearest field. Where the paper leaves a choice open, README says which
are the paper's and which are ours.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Sequence
from typing import Any

import ml_collections

from gencnp_jax.training import state as training_state
from gencnp_jax.training import tasks

STAGES = ('target', 'gencnp', 'evaluate', 'report')
MODELS = ('alexnet', 'vgg11')
DTYPES = ('float32', 'bfloat16')
OFF = ('zero', 'mean')
METHODS = (
  'gencnp',
  'neuron_mct',
  'neuron_int_grad',
  'dgr',
  'dgr_r',
  'greedy',
  'original_activation',
  'random',
)
QUICK_METHODS = ('gencnp', 'neuron_mct', 'original_activation', 'random')
SPLITS = ('test', 'validation')


class SettingsError(ValueError):
  """A setting that is not legal: names the field, the value and the remedy."""


def defaults() -> ml_collections.ConfigDict:
  """Returns a fresh config with every field."""
  config = ml_collections.ConfigDict()
  config.name = 'gencnp'  # Of the experiment; the default workdir is runs/name.
  config.seed = 0  # Of initialisation, order, augmentation and draws.
  config.stages = ','.join(STAGES)  # Comma-set of the stages to run.
  config.dtype = 'float32'  # Compute dtype; parameters are always float32.

  data = config.data = ml_collections.ConfigDict()
  data.name = 'cifar10'  # cifar10, digits, npz, folder or tfds.
  data.path = ''  # npz and folder: where; tfds: the TFDS name.
  data.dir = ''  # TFDS directory; '' = $TFDS_DATA_DIR or the TFDS default.
  data.image_size = 0  # Side in pixels; 0 = as stored.
  data.validation_share = 0.02  # Of the training split, held out by seed.
  data.limit = 0  # Examples a split; 0 = all.
  data.crop_pad = 4  # Random crop after zero padding; 0 = none.
  data.flip = True  # Random horizontal flips.

  target = config.target = ml_collections.ConfigDict()
  target.model = 'alexnet'  # alexnet or vgg11.
  target.augment = True  # Crop and flip, as `data` says.
  target.workdir = ''  # Take the trained target of another workdir.
  _training(target, epochs=40, optimiser='sgd', learning_rate=0.08)
  target.momentum = 0.9  # Nesterov.
  target.weight_decay = 5e-4
  target.clip_norm = 1.0  # AlexNet diverges at such rates without.

  gencnp = config.gencnp = ml_collections.ConfigDict()
  gencnp.hidden = 1024  # Width of the PDN.
  gencnp.num_fc = 2  # z, its number of layers.
  gencnp.kernel_sizes = ()  # k_i per activation; () or 0 chooses.
  gencnp.embedding = ()  # (h', w'); () = the smallest map.
  gencnp.canvases = 0  # Loops a recursive block; 0: the backend decides.
  gencnp.lower = -1.5  # DAQ's bounds, in standard deviations of D.
  gencnp.upper = 1.5
  gencnp.learn_bounds = False
  gencnp.sigma = 2.0  # DAQ's kernel width.
  gencnp.temperature = 2.0  # DAQ's temperature.
  gencnp.layer_floor = 0.0  # Share of each layer that always fires.
  gencnp.alpha = 1.0  # Weight of the distillation.
  gencnp.beta = 0.6  # Weight of the sparsity penalty.
  gencnp.gamma = 0.0  # Weight of the swap term.
  gencnp.penalty_reduction = 'layer_mean'  # layer_mean, mean or sum.
  gencnp.off = 'zero'  # What stands in for an off neuron: zero or mean.
  gencnp.augment = False  # Distil on images as they are explained.
  _training(gencnp, epochs=4, optimiser='adam', learning_rate=1e-3)

  evaluate = config.evaluate = ml_collections.ConfigDict()
  evaluate.methods = ','.join(QUICK_METHODS)  # Comma-set of METHODS, or all.
  evaluate.split = 'test'  # Or validation, to choose settings by.
  evaluate.sparsities = ()  # Of the curve; () for none.
  evaluate.sparsity = 0.0  # Of the baselines; 0 = GEN-CNP's own mean.
  evaluate.limit = 0  # Images; 0 = all.
  evaluate.batch_size = 0  # Images at a time; 0 picks what fits.
  evaluate.examples = 8  # Images shown in the report.

  runtime = config.runtime = ml_collections.ConfigDict()
  runtime.steps_per_dispatch = 0  # 0: one on CPU, many on GPU and TPU.
  runtime.checkpoint_every = 0  # Steps; 0 = an epoch.
  runtime.evaluate_every = 0  # Steps; 0 = an epoch.
  runtime.tensorboard = False  # Needs the extra `tensorboard`.
  return config


FREE = ('name', 'stages', 'runtime', 'evaluate', 'data.dir', 'target.workdir')
"""Fields, or whole sections, that may change between runs in one workdir."""


def _training(
  section: Any, epochs: float, optimiser: str, learning_rate: float
):
  section.epochs = float(epochs)
  section.batch_size = 128  # Global, whatever the device count.
  section.optimiser = optimiser  # sgd or adam.
  section.learning_rate = learning_rate  # The peak.
  section.schedule = 'one_cycle'  # one_cycle, steps or constant.
  section.warmup = 0.2  # Share of the run in which one_cycle rises.
  section.momentum = 0.0
  section.weight_decay = 0.0
  section.clip_norm = 0.0  # Largest gradient norm; 0 = no clipping.


def words(argument: str | None, legal: Sequence[str]) -> set[str]:
  """Reads the part of --config behind the colon: a comma-set of fixed words.

  Args:
    argument: such as 'vgg11,smoke', in any order; None or '' for none.
    legal: the words there are.

  Raises:
    SettingsError: an unknown word, with the nearest; two targets at once.
  """
  given = [w.strip() for w in (argument or '').split(',') if w.strip()]
  for word in given:
    _one_of('the config argument', word, legal)
  targets = sorted(set(given) & set(MODELS))
  if len(targets) > 1:
    raise SettingsError(
      f'the config argument: {" and ".join(targets)} exclude each other; '
      'choose one.'
    )
  return set(given)


def comma_set(field: str, value: str, legal: Sequence[str]) -> tuple[str, ...]:
  """Reads a comma-set field; returns its words in the legal order.

  Raises:
    SettingsError: an unknown word, or none at all.
  """
  given = [w.strip() for w in value.split(',') if w.strip()]
  if not given:
    raise SettingsError(
      f'config.{field}={value!r}: name at least one of {", ".join(legal)}.'
    )
  for word in given:
    _one_of(f'config.{field}', word, legal)
  return tuple(w for w in legal if w in given)


def methods(value: str) -> tuple[str, ...]:
  """Reads `evaluate.methods`: a comma-set of METHODS, or 'all'."""
  if value.strip() == 'all':
    return METHODS
  return comma_set('evaluate.methods', value, METHODS)


def validate(config: ml_collections.ConfigDict) -> None:
  """Checks every value before anything is computed or written.

  Raises:
    SettingsError: names the field, the value and what would be legal.
  """
  comma_set('stages', config.stages, STAGES)
  methods(config.evaluate.methods)
  _one_of('config.evaluate.split', config.evaluate.split, SPLITS)
  _check(
    'evaluate.sparsities',
    tuple(config.evaluate.sparsities),
    lambda v: all(_open_share(s) for s in v) and len(set(v)) == len(v),
    'empty, or different shares between 0 and 1',
  )
  _check('seed', config.seed, lambda v: 0 <= v < 2**31, 'in [0, 2^31)')
  _one_of('config.dtype', config.dtype, DTYPES)
  _one_of('config.target.model', config.target.model, MODELS)
  _one_of('config.gencnp.off', config.gencnp.off, OFF)
  _one_of(
    'config.gencnp.penalty_reduction',
    config.gencnp.penalty_reduction,
    tasks.REDUCTIONS,
  )
  for name in ('target', 'gencnp'):
    section = config[name]
    _one_of(
      f'config.{name}.optimiser', section.optimiser, training_state.OPTIMISERS
    )
    _one_of(
      f'config.{name}.schedule', section.schedule, training_state.SCHEDULES
    )
    _check(f'{name}.epochs', section.epochs, _above_zero, 'above 0')
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
  for field in ('hidden', 'num_fc'):
    _check(f'gencnp.{field}', gencnp[field], _positive, 'at least 1')
  for field in ('sigma', 'temperature'):
    _check(f'gencnp.{field}', gencnp[field], _above_zero, 'above 0')
  _check(
    'gencnp.upper',
    gencnp.upper,
    lambda v: v > gencnp.lower,
    f'above gencnp.lower={gencnp.lower}',
  )
  _check('gencnp.layer_floor', gencnp.layer_floor, _share, 'in [0, 1)')
  _check(
    'gencnp.embedding',
    tuple(gencnp.embedding),
    lambda v: len(v) in (0, 2) and all(x >= 1 for x in v),
    "empty, or (h', w')",
  )
  _check(
    'evaluate.sparsity',
    config.evaluate.sparsity,
    _share,
    'between 0 and 1, or 0 for the mean of GEN-CNP',
  )
  _check(
    'data.validation_share', config.data.validation_share, _share, 'in [0, 1)'
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
  ):
    section, name = field.split('.')
    _check(field, config[section][name], _not_negative, '0 or more')


def _positive(value: float) -> bool:
  return value >= 1


def _not_negative(value: float) -> bool:
  return 0 <= value < math.inf


def _above_zero(value: float) -> bool:
  return 0 < value < math.inf


def _share(value: float) -> bool:
  return 0 <= value < 1


def _open_share(value: float) -> bool:
  return 0 < value < 1


def _check(
  field: str, value: Any, legal: Callable[[Any], bool], what: str
) -> None:
  if not legal(value):
    raise SettingsError(f'config.{field}={value!r}: must be {what}.')


def _one_of(field: str, value: str, legal: Sequence[str]) -> None:
  if value in legal:
    return
  near = difflib.get_close_matches(value, legal, n=1)
  guess = f' Did you mean {near[0]!r}?' if near else ''
  raise SettingsError(
    f'{field}: {value!r} is unknown; choose from {", ".join(legal)}.{guess}'
  )

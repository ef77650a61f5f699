"""The train state, and the optimisers that move it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

OPTIMISERS = ('sgd', 'adam')
SCHEDULES = ('one_cycle', 'steps', 'constant')


@struct.dataclass
class TrainState:
  """What a step changes.

  Attributes:
    step: int32, steps done.
    params: parameters, float32.
    batch_stats: running statistics.
    opt_state: the optimiser's.
  """

  step: jax.Array
  params: Any
  batch_stats: Any
  opt_state: Any

  @classmethod
  def create(
    cls, variables: Any, optimiser: optax.GradientTransformation
  ) -> TrainState:
    """Returns the state before the first step."""
    opt_state = optimiser.init(variables['params'])
    return cls.join(variables, {'step': jnp.int32(0), 'opt_state': opt_state})

  @classmethod
  def join(cls, variables: Any, training: Any) -> TrainState:
    """Returns the state of `variables` and `training`."""
    return cls(
      params=variables['params'],
      batch_stats=variables.get('batch_stats', {}),
      **training,
    )

  @property
  def variables(self) -> dict[str, Any]:
    """The module's variables."""
    if not self.batch_stats:
      return {'params': self.params}
    return {'params': self.params, 'batch_stats': self.batch_stats}

  @property
  def training(self) -> dict[str, Any]:
    """What going on with the training needs besides the variables."""
    return {'step': self.step, 'opt_state': self.opt_state}


def learning_rate(config: Any, total_steps: int) -> optax.Schedule:
  """Returns the schedule of a config: steps done -> learning rate.

  Args:
    config: with `schedule` ('one_cycle': cosine up over the share `warmup`,
      then down; 'steps': times .1 at half and at three quarters; 'constant'),
      `learning_rate` (the peak) and `warmup`.
    total_steps: length of the run.
  """
  peak = config.learning_rate
  if config.schedule == 'one_cycle':
    return optax.cosine_onecycle_schedule(total_steps, peak, config.warmup)
  if config.schedule == 'steps':
    drops = {total_steps // 2: 0.1, total_steps * 3 // 4: 0.1}
    return optax.piecewise_constant_schedule(peak, drops)
  return optax.constant_schedule(peak)


def optimiser(config: Any, total_steps: int) -> optax.GradientTransformation:
  """Returns the optimiser of a config.

  Args:
    config: with the fields of `learning_rate`, and `optimiser`, `clip_norm` (0
      for none), `weight_decay` and `momentum` (SGD, Nesterov).
    total_steps: length of the run.
  """
  schedule = learning_rate(config, total_steps)
  parts = []
  if config.clip_norm:
    parts.append(optax.clip_by_global_norm(config.clip_norm))
  if config.weight_decay:
    parts.append(optax.add_decayed_weights(config.weight_decay))
  if config.optimiser == 'sgd':
    parts.append(optax.sgd(schedule, momentum=config.momentum, nesterov=True))
  else:
    parts.append(optax.adam(schedule))
  return optax.chain(*parts)

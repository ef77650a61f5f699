"""The training loop, for targets and for GEN-CNP alike."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gencnp_jax import data
from gencnp_jax.runtime import (
  blocks,
  devices,
  preemption,
  profile,
  progress,
  run_log,
)
from gencnp_jax.runtime import checkpoints as checkpoints_lib
from gencnp_jax.training import feed as feed_lib
from gencnp_jax.training import state as state_lib
from gencnp_jax.training import step as step_lib
from gencnp_jax.training.epoch import Epoch, NonFiniteLoss, check_finite
from gencnp_jax.training.pace import Pace

_MOST = 2**31


def train(
  task: Any,
  frozen: Any,
  splits: data.Splits,
  config: Any,
  checkpoints: checkpoints_lib.Checkpoints,
  log_path: Any,
  *,
  seed: int,
  crop_pad: int,
  flip: bool,
  mix: float = 0.0,
  runtime: Any,
  section: str = '',
) -> state_lib.TrainState:
  """Trains a task to its last step, from its last checkpoint on.

  Args:
    task: a `Classification` or a `Distillation`.
    frozen: what the task holds fixed: None, or (target, off).
    splits: the data.
    config: with `epochs`, `batch_size` and the optimiser's fields.
    checkpoints: where the state is saved.
    log_path: of the JSONL run log.
    seed: of initialisation, order and augmentation.
    crop_pad: zero padding of the random crop, in pixels; 0 for none.
    flip: random horizontal flips.
    mix: share of the images that are mixed with another.
    runtime: with `steps_per_dispatch`, `checkpoint_every`, `evaluate_every`
      (0 lets the backend, or the epoch, decide), `dispatch_seconds` and
      `tensorboard`.
    section: what stands before a field of `config` in messages.

  Returns:
    The last state, replicated on the devices.

  Raises:
    NonFiniteLoss: the last good checkpoint is kept.
    Preempted: the state is saved.
    ValueError: a batch size that the devices do not divide, or have no memory
      for.
  """
  train_set, batch_size = splits.train, config.batch_size
  per_device = devices.share(batch_size, f'{section}batch_size')
  steps_per_epoch = _steps_per_epoch(train_set, batch_size)
  # Rounded first: 1.1 * 10 is a little more than 11.
  total = math.ceil(round(config.epochs * steps_per_epoch, 6))
  if total >= _MOST:
    raise ValueError(
      f'{section}epochs={config.epochs}: these are {total} steps; JAX counts up '
      f'to {_MOST}.'
    )
  optimiser = state_lib.optimiser(config, total)
  schedule = state_lib.learning_rate(config, total)

  def create(frozen):
    images = train_set.images
    sample = jnp.zeros((1, *images.shape[1:]), images.dtype)
    variables = task.init(jax.random.key(seed), frozen, sample)
    return state_lib.TrainState.create(variables, optimiser)

  # Restored before anything is initialised: a resumed run needs shapes alone.
  shapes = jax.eval_shape(create, frozen)
  restored = checkpoints.restore(shapes.variables, shapes.training)
  if restored is None:
    step, state, before = 0, jax.jit(create)(frozen), {}
  else:
    step, variables, training, before = restored
    state = state_lib.TrainState.join(variables, training)
  state, frozen = devices.replicate((state, frozen))
  log = run_log.RunLog(log_path, step, runtime.tensorboard)

  feed = feed_lib.Feed(train_set, seed, batch_size)
  step_fn = step_lib.compiled(
    task,
    optimiser,
    seed=seed,
    total=total,
    crop_pad=crop_pad,
    flip=flip,
    mix=mix,
    per_device=per_device,
    on_device=feed.on_device,
  )
  pace = Pace(runtime, before)
  save_every = runtime.checkpoint_every or steps_per_epoch
  look_every = runtime.evaluate_every or steps_per_epoch
  epoch, saved_at, pending = Epoch(before), step, None

  def save():
    nonlocal saved_at
    if step == saved_at:
      return
    check_finite(step, state.variables, state.training)
    checkpoints.save(
      step, state.variables, state.training, epoch.progress() | pace.progress()
    )
    saved_at = step

  def validate():
    if splits.validation is not None:
      found = evaluate(task, state, frozen, splits.validation)
      log.write(step, 'validation', **found)

  bar = progress.Progress(
    total * batch_size, type(task).__name__.lower(), done=step * batch_size
  )
  try:
    with bar:
      # A run may end between a checkpoint and the validation of its step.
      looked = step > 0 and (step % look_every == 0 or step == total)
      if looked and not log.has(step, 'validation'):
        validate()
      while step < total:
        if preemption.requested():
          raise preemption.Preempted()
        # A dispatch never runs over the next step at which something happens.
        events = (
          save_every - step % save_every,
          look_every - step % look_every,
        )
        count = min(pace.steps, total - step, *events)
        profile.step(state)
        state, new = step_fn(state, frozen, *feed(step, count))
        step += count
        # The check waits for the dispatch before this one, so that the device
        # always has the next one to work on.
        if pending is not None:
          epoch.add(*pending)
          pace.done(count)
        pending = (step - count, new)
        bar.update(count * batch_size)
        looks = step % look_every == 0 or step == total
        saves = step % save_every == 0 or step == total
        if not (looks or saves):
          continue
        # Here it waits for this one: what is saved has a finite loss.
        epoch.add(*pending)
        pending = None
        pace.pause()
        if looks:
          rate = float(schedule(step - 1))
          log.write(step, 'train', **epoch.close(), learning_rate=rate)
        # Before the validation, in which the run may be asked to end.
        if saves:
          save()
        if looks:
          validate()
  except preemption.Preempted:
    if pending is not None:
      epoch.add(*pending)
    save()
    checkpoints.finish()
    raise preemption.Preempted(f'step {step} of {total} is saved') from None
  except NonFiniteLoss as error:
    if epoch.sums:
      log.write(error.step - 1, 'train', **epoch.close())
    raise error.with_leaf(state) from None
  except jax.errors.JaxRuntimeError as error:
    if not devices.is_out_of_memory(error):
      raise
    raise ValueError(
      f'{section}batch_size={batch_size}: the devices have no memory for a '
      f'step. Lower it (to {max(batch_size // 2, jax.device_count())}, say), or '
      "compute in dtype='bfloat16'."
    ) from error
  return state


def evaluate(
  task: Any,
  state: state_lib.TrainState,
  frozen: Any,
  dataset: data.Dataset,
  batch_size: int = 512,
) -> dict[str, float]:
  """Returns the task's metrics over a data set, every image counted once."""
  labels = dataset.labels
  if labels is None:
    labels = np.zeros(len(dataset.images), np.int32)
  rows = blocks.collect_rows(
    task.rows,
    (state.variables, frozen),
    dataset.images,
    labels,
    batch_size=batch_size,
  )
  return {k: float(np.mean(v, dtype=np.float64)) for k, v in rows.items()}


def _steps_per_epoch(train_set: data.Dataset, batch_size: int) -> int:
  steps = len(train_set.images) // batch_size
  if steps == 0:
    raise ValueError(
      f'batch_size={batch_size} is larger than the {len(train_set.images)} '
      'training images; choose a smaller one.'
    )
  return steps

"""The training loop, for targets and for GEN-CNP alike."""

from __future__ import annotations

import math
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gencnp_jax import data
from gencnp_jax.runtime import checkpoints as checkpoints_lib
from gencnp_jax.runtime import devices, progress, run_log
from gencnp_jax.training import feed as feed_lib
from gencnp_jax.training import state as state_lib

_STEPS_PER_DISPATCH = 50
"""On GPU and TPU, where a step takes less than a dispatch."""


class NonFiniteLoss(ValueError):
  """A loss that is NaN or infinite; names the step."""


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
  runtime: Any,
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
    runtime: with `steps_per_dispatch`, `checkpoint_every`, `evaluate_every`
      (0 lets the backend, or the epoch, decide) and `tensorboard`.

  Returns:
    The last state, replicated on the devices.

  Raises:
    NonFiniteLoss: the last good checkpoint is kept.
    ValueError: a batch size that the devices do not divide.
  """
  train_set = splits.train
  per_device = devices.share(config.batch_size)
  steps_per_epoch = _steps_per_epoch(train_set, config.batch_size)
  # Rounded first: 1.1 * 10 is a little more than 11.
  total = math.ceil(round(config.epochs * steps_per_epoch, 6))
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
    first, state = 0, jax.jit(create)(frozen)
  else:
    first, variables, training = restored
    state = state_lib.TrainState.join(variables, training)
  state, frozen = devices.replicate((state, frozen))
  log = run_log.RunLog(log_path, first, runtime.tensorboard)

  feed = feed_lib.Feed(train_set, seed, config.batch_size)
  step_fn = _compile(
    task, optimiser, seed, crop_pad, flip, per_device, feed.on_device
  )
  on_cpu = jax.default_backend() == 'cpu'
  dispatch = runtime.steps_per_dispatch or (
    1 if on_cpu else _STEPS_PER_DISPATCH
  )
  save_every = runtime.checkpoint_every or steps_per_epoch
  look_every = runtime.evaluate_every or steps_per_epoch
  step, sums, since = first, {}, time.monotonic()
  pending = None
  bar = progress.Progress(
    total * config.batch_size,
    type(task).__name__.lower(),
    done=first * config.batch_size,
  )
  with bar:
    while step < total:
      # A dispatch never runs over the next step at which something happens.
      events = (save_every - step % save_every, look_every - step % look_every)
      count = min(dispatch, total - step, *events)
      state, new = step_fn(state, frozen, *feed(step, count))
      step += count
      # The check waits for the dispatch before this one, so that the device
      # always has the next one to work on.
      if pending is not None:
        _add(sums, *pending)
      pending = (step - count, new)
      save = step % save_every == 0 or step == total
      look = step % look_every == 0 or step == total
      if save or look:
        # Here it waits for this one: what is saved has a finite loss.
        _add(sums, *pending)
        pending = None
      bar.update(count * config.batch_size)
      if look:
        metrics = {k: float(s / n) for k, (s, n) in sums.items()}
        seconds = time.monotonic() - since
        done = sums['loss'][1]
        log.write(
          step,
          'train',
          **metrics,
          learning_rate=float(schedule(step - 1)),
          images_per_second=float(done / seconds),
        )
        if splits.validation is not None:
          log.write(
            step,
            'validation',
            **evaluate(task, state, frozen, splits.validation),
          )
        sums, since = {}, time.monotonic()
      if save:
        _check_finite(step, state.variables)
        checkpoints.save(step, state.variables, state.training)
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
  rows = devices.collect_rows(
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


def _compile(task, optimiser, seed, crop_pad, flip, per_device, on_device):
  """Returns the pmapped function that runs the steps of a dispatch."""

  def one_step(state, frozen, images, labels):
    rows = devices.global_row_numbers(per_device)
    images = data.augment(
      images, seed, state.step, rows, pad=crop_pad, flip=flip
    )
    gradient = jax.value_and_grad(task.loss, has_aux=True)
    (_, (batch_stats, sums)), grads = gradient(
      state.params, state.batch_stats, frozen, (images, labels)
    )
    # The mean over devices of equal shares is the mean over the batch.
    grads = jax.lax.pmean(grads, devices.AXIS)
    sums = jax.lax.psum(sums, devices.AXIS)
    updates, opt_state = optimiser.update(grads, state.opt_state, state.params)
    params = jax.tree.map(lambda p, u: p + u, state.params, updates)
    state = state_lib.TrainState(state.step + 1, params, batch_stats, opt_state)
    return state, sums

  def steps(state, frozen, per_step, pick):
    body = lambda s, x: one_step(s, frozen, *pick(x))  # noqa: E731
    if jax.tree.leaves(per_step)[0].shape[0] == 1:
      state, sums = body(state, jax.tree.map(lambda x: x[0], per_step))
      return state, jax.tree.map(lambda x: x[None], sums)
    return jax.lax.scan(body, state, per_step)

  if on_device:

    def run(state, frozen, images, labels, rows):
      return steps(state, frozen, rows, lambda r: (images[r], labels[r]))

    in_axes = (None, None, None, None, 0)
  else:

    def run(state, frozen, images, labels):
      return steps(state, frozen, (images, labels), lambda batch: batch)

    in_axes = (None, None, 0, 0)
  return devices.data_parallel(run, in_axes, (None, None), donate_argnums=(0,))


def _add(sums: dict[str, Any], first_step: int, new: Any) -> None:
  """Adds the sums of a dispatch, `[steps]` each, to those of the epoch."""
  new = devices.to_host(new)
  losses = new['loss'][0]
  bad = np.flatnonzero(~np.isfinite(losses))
  if bad.size:
    raise NonFiniteLoss(
      f'The loss is {losses[bad[0]]} at step {first_step + int(bad[0]) + 1}. The '
      'last good checkpoint is kept. Lower the learning rate, or clip the '
      'gradient (clip_norm).'
    )
  for key, (value, count) in new.items():
    before = sums.get(key, (0.0, 0.0))
    sums[key] = (
      before[0] + np.sum(value, dtype=np.float64),
      before[1] + np.sum(count, dtype=np.float64),
    )


def _check_finite(step: int, variables: Any) -> None:
  """Raises where a checkpoint would hold what is not finite.

  A finite loss can have a gradient that is not, and the first loss to show it
  is that of the step after the checkpoint.
  """
  for path, leaf in jax.tree_util.tree_leaves_with_path(variables):
    if not np.all(np.isfinite(devices.to_host(leaf))):
      raise NonFiniteLoss(
        f'{jax.tree_util.keystr(path)} is not finite after step {step}. The last '
        'good checkpoint is kept. Lower the learning rate, or clip the gradient '
        '(clip_norm).'
      )

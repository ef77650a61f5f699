"""The compiled training step, and the dispatch of several of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import optax

from gencnp_jax import data
from gencnp_jax.runtime import devices
from gencnp_jax.training import state as state_lib


def compiled(
  task: Any,
  optimiser: optax.GradientTransformation,
  *,
  seed: int,
  total: int,
  crop_pad: int,
  flip: bool,
  mix: float = 0.0,
  per_device: int,
  on_device: bool,
) -> Callable:
  """Returns the pmapped function that runs the steps of a dispatch.

  Args:
    task: a `Classification` or a `Distillation`.
    optimiser: moves the parameters.
    seed: of the augmentation.
    total: steps of the run.
    crop_pad: zero padding of the random crop, in pixels; 0 for none.
    flip: random horizontal flips.
    mix: share of the images that are mixed with the next one of the batch.
    per_device: rows of a batch on each device.
    on_device: the images live on the devices, and rows of them are picked.

  Returns:
    `(state, frozen, *what a Feed gives) -> (state, sums of each step)`.
  """

  def one_step(state, frozen, images, labels):
    rows = devices.global_row_numbers(per_device)
    images = data.augment(
      images, seed, state.step, rows, pad=crop_pad, flip=flip
    )
    if mix:
      others = devices.next_row(images)
      images = data.mix(images, others, seed, state.step, rows, mix)
    gradient = jax.value_and_grad(task.loss, has_aux=True)
    (_, (batch_stats, sums)), grads = gradient(
      state.params,
      state.batch_stats,
      frozen,
      (images, labels),
      state.step / total,
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

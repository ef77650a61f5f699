"""Training steps, ours: of the targets, and of their GEN-CNPs."""

from __future__ import annotations

import itertools
import math
import time
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks import operations, synthetic, worker
from gencnp_jax import GenCNP, settings
from gencnp_jax.runtime import devices
from gencnp_jax.training import Classification, Distillation, TrainState
from gencnp_jax.training import feed as feed_lib
from gencnp_jax.training import state as state_lib
from gencnp_jax.training import step as step_lib

STEPS_PER_RUN = 10_000  # Of the schedule; any number costs the same.
STORED = 8  # Batches of images.


def classification(name: str, batch: int, dtype: str) -> worker.Work:
  """A step of a target's training, as the main job's without augmentation."""
  model = synthetic.TARGETS[name](
    dtype=jnp.dtype(dtype), axis_name=devices.AXIS
  )
  task = Classification(model, synthetic.PREPROCESS)
  target = synthetic.target(name)
  run, about = training(task, None, settings.defaults().target, batch)
  about |= floor(target, None, target.variables['params'], batch, 'sgd')
  return worker.Work(run, batch, about)


def distillation(name: str, batch: int, dtype: str) -> worker.Work:
  """A step of the distillation of GEN-CNP from an untrained target."""
  target = synthetic.target(name, jnp.dtype(dtype))
  model = GenCNP(dtype=jnp.dtype(dtype), axis_name=devices.AXIS)
  run, about = training(
    Distillation(model), (target, None), settings.defaults().gencnp, batch
  )
  activations = tuple(
    jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    for shape in target.activation_shapes(synthetic.SHAPE)
  )
  variables = jax.eval_shape(model.init, jax.random.key(0), activations)
  about |= floor(target, model, variables['params'], batch, 'adam')
  return worker.Work(run, batch, about)


def floor(target, model, params, batch, optimiser) -> dict[str, float]:
  """Returns a step's operations and the bytes that it must move."""
  shapes = target.activation_shapes(synthetic.SHAPE)
  neurons = sum(math.prod(shape) for shape in shapes)
  return {
    'operations': batch * operations.training_step(target, model),
    'bytes': operations.training_bytes(params, neurons, batch, optimiser),
  }


def training(task: Any, frozen: Any, config: Any, batch: int):
  """Returns a function that runs the next step, and what compiling took.

  The step and the feed of the main job, on all devices, on random images.
  """
  optimiser = state_lib.optimiser(config, STEPS_PER_RUN)
  feed = feed_lib.Feed(synthetic.dataset(STORED * batch), 0, batch)
  run = step_lib.compiled(
    task,
    optimiser,
    seed=0,
    total=STEPS_PER_RUN,
    crop_pad=0,
    flip=False,
    per_device=devices.share(batch),
    on_device=feed.on_device,
  )

  @jax.jit
  def create(frozen):
    sample = jnp.zeros((1, *synthetic.SHAPE), jnp.uint8)
    variables = task.init(jax.random.key(0), frozen, sample)
    return TrainState.create(variables, optimiser)

  state, frozen = devices.replicate((create(frozen), frozen))
  start = time.perf_counter()
  compiled = run.lower(state, frozen, *feed(0, 1)).compile()
  about = {
    'compile_seconds': time.perf_counter() - start,
    'temporary_mb': compiled.memory_analysis().temp_size_in_bytes / 1e6,
  }
  steps = itertools.count()

  def step():
    nonlocal state
    state, sums = compiled(state, frozen, *feed(next(steps), 1))
    jax.block_until_ready((state, sums))

  return step, about

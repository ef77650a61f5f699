"""Our side of the benchmark; started by benchmark.py."""

import functools
from collections.abc import Callable

import benchmark_worker
import jax
import jax.numpy as jnp
import numpy as np
import optax

from gencnp_jax import GenCNP, Target, ops, settings, zoo
from gencnp_jax.data.loading import CIFAR10_MEAN, CIFAR10_STD
from gencnp_jax.target import Preprocess
from gencnp_jax.training import Classification, Distillation, TrainState
from gencnp_jax.training import state as state_lib

BATCH = 128
STEPS_PER_RUN = 10_000  # Of the schedule; any number costs the same.
TARGETS = {'alexnet': zoo.AlexNet, 'vgg11': zoo.VGG11}


def product() -> Callable[[], None]:
  """A product of two matrices of 2048 x 2048."""
  a, b = jax.random.normal(jax.random.key(0), (2, 2048, 2048))
  multiply = jax.jit(jnp.matmul)
  return lambda: jax.block_until_ready(multiply(a, b))


def classification(name: str) -> Callable[[], None]:
  """A step of a target's training, as the main job's without augmentation."""
  preprocess = Preprocess(CIFAR10_MEAN, CIFAR10_STD)
  task = Classification(TARGETS[name](), preprocess)
  return training(task, None, settings.defaults().target)


def distillation(name: str) -> Callable[[], None]:
  """A step of the distillation of GEN-CNP from an untrained target."""
  model = TARGETS[name]()
  variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
  preprocess = Preprocess(CIFAR10_MEAN, CIFAR10_STD)
  target = Target(model.apply, variables, preprocess)
  task = Distillation(GenCNP())
  return training(task, (target, None), settings.defaults().gencnp)


def training(task, frozen, config) -> Callable[[], None]:
  """Returns a function that runs the task's next step on synthetic data."""
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (BATCH, 32, 32, 3), np.uint8)
  batch = tuple(
    jnp.asarray(a) for a in (images, rng.integers(0, 10, BATCH, np.int32))
  )
  optimiser = state_lib.optimiser(config, STEPS_PER_RUN)

  @functools.partial(jax.jit, donate_argnums=0)
  def run(state, frozen, batch):
    def loss(params):
      return task.loss(params, state.batch_stats, frozen, batch)

    gradients, (stats, sums) = jax.grad(loss, has_aux=True)(state.params)
    updates, opt_state = optimiser.update(
      gradients, state.opt_state, state.params
    )
    params = optax.apply_updates(state.params, updates)
    return TrainState(state.step + 1, params, stats, opt_state), sums

  @jax.jit
  def create(frozen):
    variables = task.init(jax.random.key(0), frozen, batch[0][:1])
    return TrainState.create(variables, optimiser)

  state = create(frozen)

  def step():
    nonlocal state
    state, sums = run(state, frozen, batch)
    jax.block_until_ready((state, sums))

  return step


def main() -> None:
  """Serves one row."""
  options = benchmark_worker.parse()
  ops.keep_freed_memory()
  name, _, kind = options.row.partition('_')
  if name == 'product':
    step = product()
  else:
    step = (distillation if kind else classification)(name)
  benchmark_worker.serve(step, f'jax {jax.__version__}')


if __name__ == '__main__':
  main()

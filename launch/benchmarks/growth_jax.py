"""Work of growing size: images, batch, passes, neurons, devices."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from benchmarks import (
  methods_jax,
  others_jax,
  steps_jax,
  synthetic,
  worker,
)
from gencnp_jax import selection
from gencnp_jax.model.recursive import RecursiveBlock

CHANNELS = 64


def work(kind: str, size: int, batch: int) -> worker.Work:
  """Returns the work of one size.

  Args:
    kind: of `SIZES`.
    size: what grows.
    batch: where it is not the batch that grows.
  """
  kind, _, name = kind.partition('/')
  made = {
    'images': lambda: images(name, size),
    'batch': lambda: by_batch(name, size),
    'passes': lambda: passes(size, batch),
    'neurons': lambda: cut(size, batch),
    'pairs': lambda: others_jax.class_iou('alexnet', size),
    'devices': lambda: on_devices(size, batch),
  }
  return made[kind]()


def images(method: str, number: int) -> worker.Work:
  """Explains so many images by the public call, masks to the host."""
  target = synthetic.target('alexnet')
  explainer = methods_jax.make(target, [method])[method]
  pixels = synthetic.images(number)

  def run():
    explainer(pixels, batch_size=128, importance=False)

  return worker.Work(run, number, {})


def by_batch(name: str, size: int) -> worker.Work:
  """A training step, or a method, at another batch size."""
  if name in synthetic.TARGETS:
    return steps_jax.classification(name, size, 'float32')
  if name.endswith('_gencnp'):
    return steps_jax.distillation(name.partition('_')[0], size, 'float32')
  return methods_jax.work('alexnet', name, size)


def passes(number: int, batch: int) -> worker.Work:
  """Forward and backward of an embedder of so many passes.

  Its units are a pass over a position: the map grows with the passes.
  """
  side = 2 + 2 * number
  block = RecursiveBlock((3, 3), (2, 2), (side, side))
  x = jax.random.normal(jax.random.key(0), (batch, side, side, CHANNELS))
  variables = jax.jit(block.init)(jax.random.key(1), x)

  @jax.jit
  def step(variables, x):
    def loss(variables, x):
      y, _ = block.apply(variables, x, train=True, mutable=['batch_stats'])
      return (y * y).sum()

    return jax.grad(loss, (0, 1))(variables, x)

  def run():
    jax.block_until_ready(step(variables, x))

  positions = sum((side - 2 * t) ** 2 for t in range(1, number + 1))
  return worker.Work(run, batch * positions, {})


def cut(neurons: int, batch: int) -> worker.Work:
  """The exact cut over so many neurons; its units are neurons."""
  # All different: equal ones at the cut would be drawn among.
  keys = jax.random.split(jax.random.key(0), batch)
  ranks = jax.vmap(lambda key: jax.random.permutation(key, neurons))(keys)
  scores = ranks.astype(jnp.float32)
  index = jnp.arange(batch, dtype=jnp.int32)
  keep = jax.jit(
    functools.partial(selection.keep_top, count=neurons // 20, seed=0)
  )

  def run():
    jax.block_until_ready(keep((scores,), index=index))

  return worker.Work(run, batch * neurons, {})


def on_devices(number: int, batch: int) -> worker.Work:
  """AlexNet's training step at one global batch, whatever the devices."""
  if number != jax.device_count():
    raise ValueError(f'{jax.device_count()} devices, not {number}')
  return steps_jax.classification('alexnet', batch, 'float32')

"""What is no step and no method: rates of the machine, data, class IoU."""

from __future__ import annotations

import atexit
import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import synthetic, worker
from gencnp_jax import data, metrics
from gencnp_jax.runtime import devices
from gencnp_jax.training import feed as feed_lib

# Sides of the product: large enough for the device's rate.
PRODUCT, LARGE_PRODUCT = 2048, 8192
_COPIED = 1 << 28


def product(dtype: str = 'float32') -> worker.Work:
  """A product of two square matrices; its units are operations."""
  size = PRODUCT if jax.default_backend() == 'cpu' else LARGE_PRODUCT
  a = jax.random.normal(jax.random.key(0), (size, size), jnp.dtype(dtype))
  multiply = jax.jit(jnp.matmul)

  def run():
    jax.block_until_ready(multiply(a, a))

  return worker.Work(run, 2 * size**3, {})


def copy(size: int = _COPIED) -> worker.Work:
  """Reads and writes an array; its units are bytes, read and written."""
  array = jnp.zeros(size // 4, jnp.float32)
  add = jax.jit(lambda x: x + 1, donate_argnums=0)

  def run():
    nonlocal array
    array = jax.block_until_ready(add(array))

  return worker.Work(run, 2 * size, {})


def on_device(batch: int, images: int) -> worker.Work:
  """Order, rows and augmentation of a step, as a step has them on a device."""
  feed = feed_lib.Feed(synthetic.dataset(images), 0, batch)
  steps = itertools.count()

  @jax.jit
  def pick(images, labels, rows, step):
    rows = rows.reshape(-1)
    chosen = data.augment(images[rows], 0, step, jnp.arange(batch))
    return chosen, labels[rows]

  def run():
    step = next(steps)
    jax.block_until_ready(pick(*feed(step, 1), np.int32(step)))

  return worker.Work(run, batch, {})


def on_host(batch: int, images: int) -> worker.Work:
  """The same of data that do not fit on the device: gathered on the host."""
  ahead = data.host_batches(
    synthetic.dataset(images), 0, itertools.count(), batch
  )
  atexit.register(ahead.close)
  steps = itertools.count()

  @jax.jit
  def pick(images, step):
    return data.augment(images, 0, step, jnp.arange(batch))

  def run():
    chosen, labels = next(ahead)
    arrays = devices.replicate((chosen, labels))
    jax.block_until_ready((pick(arrays[0], np.int32(next(steps))), arrays[1]))

  return worker.Work(run, batch, {})


def class_iou(name: str, images: int) -> worker.Work:
  """Class IoU over all pairs of images, of ten classes, 5 % of neurons on."""
  shapes = synthetic.target(name).activation_shapes(synthetic.SHAPE)
  sizes = tuple(math.prod(shape) for shape in shapes)
  rng = np.random.default_rng(0)
  masks = metrics.PackedMasks(
    np.concatenate(
      [
        np.packbits(rng.random((min(500, images - i), sum(sizes))) < 0.05, 1)
        for i in range(0, images, 500)
      ]
    ),
    sizes,
  )
  labels = np.arange(images) % 10
  # Each pair once, and an intersection is a product of ones and zeros.
  about = {'operations': images * (images + 1) * float(sum(sizes))}
  return worker.Work(lambda: metrics.class_iou(masks, labels), images, about)

"""BatchNorm over a region of a map, and the blocks that need nothing more."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

MOMENTUM = 0.9
"""Share of the running statistics that a step keeps."""
EPSILON = 1e-5


def batch_norm(
  x: jax.Array,
  scale: jax.Array,
  bias: jax.Array,
  mean: jax.Array,
  var: jax.Array,
  region: jax.Array | None,
  train: bool,
  axis_name: str | None,
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  """Normalises the channels of x over a region of its map.

  Args:
    x: `[n, h, w, c]` or `[n, c]`.
    scale: `[c]`.
    bias: `[c]`.
    mean: running mean, `[c]`.
    var: running variance, `[c]`.
    region: int32 `[2]`, the (h, w) of the top-left corner that counts; None
      for all of the map.
    train: use the batch's statistics, and update the running ones.
    axis_name: pmap axis over which they are averaged. Every device has the
      same number of rows and the same region, so a plain mean is exact.

  Returns:
    The normalised x, and the running (mean, var) to go on with.
  """
  running = (mean, var)
  if train:
    axes = tuple(range(x.ndim - 1))
    wide = x.astype(jnp.float32)
    if region is None:
      count = x.size // x.shape[-1]
    else:
      wide = jnp.where(inside(x.shape, region), wide, 0)
      count = x.shape[0] * (region[0] * region[1]).astype(jnp.float32)
    mean = wide.sum(axes) / count
    square = (wide * wide).sum(axes) / count
    if axis_name is not None:
      mean, square = jax.lax.pmean((mean, square), axis_name)
    var = jnp.maximum(square - mean * mean, 0)
    running = tuple(
      MOMENTUM * old + (1 - MOMENTUM) * new
      for old, new in zip(running, (mean, var))
    )
  factor = scale * jax.lax.rsqrt(var + EPSILON)
  shape = (1,) * (x.ndim - 1) + (-1,)
  factor, shift = factor.reshape(shape), (bias - mean * factor).reshape(shape)
  # In float32 whatever x is: a large mean would cancel badly in bfloat16.
  return (x * factor + shift).astype(x.dtype), running


def inside(shape: tuple[int, ...], region: jax.Array) -> jax.Array:
  """Returns the top-left region of a map as bool `[1, h, w, 1]`."""
  rows = jnp.arange(shape[1]) < region[0]
  columns = jnp.arange(shape[2]) < region[1]
  return (rows[:, None] & columns[None, :])[None, :, :, None]


class BatchNorm(nn.Module):
  """`batch_norm` over all of a map, with parameters and statistics of its own.

  Attributes:
    axis_name: pmap axis over which batch statistics are synchronised.
  """

  axis_name: str | None = None

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """Normalises the channels of `[n, h, w, c]` or `[n, c]`."""
    return _normalise(self, x, train)


class DenseBlock(nn.Module):
  """What an RFE or RPD is for a fully connected activation `[n, c]`.

  Attributes:
    relu: True for an embedder, False for a decoder.
    dtype: of the product.
    axis_name: pmap axis over which batch statistics are synchronised.
  """

  relu: bool
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """Maps `[n, c]` to `[n, c]`."""
    channels = x.shape[-1]
    x = nn.Dense(channels, use_bias=False, dtype=self.dtype)(x)
    x = _normalise(self, x, train)
    return nn.relu(x) if self.relu else x


def _normalise(module: nn.Module, x: jax.Array, train: bool) -> jax.Array:
  """Applies `batch_norm` with variables of a module that has an axis_name."""
  shape = x.shape[-1:]
  scale = module.param('scale', nn.initializers.ones, shape)
  bias = module.param('bias', nn.initializers.zeros, shape)
  mean = module.variable('batch_stats', 'mean', jnp.zeros, shape)
  var = module.variable('batch_stats', 'var', jnp.ones, shape)
  # During init there is no axis to synchronise over.
  axis = None if module.is_initializing() else module.axis_name
  x, new = batch_norm(x, scale, bias, mean.value, var.value, None, train, axis)
  if train and not module.is_initializing():
    mean.value, var.value = new
  return x

"""The recursive block that RFEs and RPDs share (paper, section 3.1).

One convolution is applied `num_passes` times; every pass has its own BatchNorm.
An embedder (RFE) shrinks its map by `k - 1` a pass, VALID; a decoder (RPD) is
the mirror image, a transposed convolution that grows it by `k - 1`.

`nn.scan` wants a carry of fixed shape, so the map lives in the top-left corner
of a canvas. A VALID convolution anchored there never reads outside its region;
a growing one needs the outside to be zero. BatchNorm counts the region alone.
A fixed canvas of the full size costs up to three times the arithmetic of the
shrinking loop, so a block runs as a few scans over shrinking canvases, with one
set of parameters. On CPU every pass has a canvas of its own: a convolution's
gradient inside a while loop runs 50 times slower there than in straight code.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gencnp_jax import ops

MOMENTUM = 0.9
EPSILON = 1e-5
MAX_PASSES = 16
ACCELERATOR_CANVASES = 3


def legal_kernels(size: int, smallest: int) -> tuple[int, ...]:
  """Returns the kernel sizes that bring a side from `size` to `smallest`."""
  gap = size - smallest
  if gap == 0:
    return (3,)
  return tuple(k for k in range(2, gap + 2) if gap % (k - 1) == 0)


def choose_kernel(
  size: tuple[int, int], smallest: tuple[int, int]
) -> tuple[int, int]:
  """Chooses k_i per side: the smallest k >= 3 of at most 16 passes.

  Both sides take the same number of passes; k = 2 is taken last.

  Args:
    size: (h_i, w_i) of the activation.
    smallest: (h', w') of the shared embedding.

  Raises:
    ValueError: no number of passes serves both sides.
  """
  gaps = [a - b for a, b in zip(size, smallest)]
  if min(gaps) < 0:
    raise ValueError(
      f'An activation of {size[0]}x{size[1]} is smaller than the embedding '
      f"h' x w' = {smallest[0]}x{smallest[1]}; choose a smaller embedding."
    )
  kernels = []
  for passes in range(1, MAX_PASSES + 1):
    if all(gap % passes == 0 for gap in gaps):
      kernels.append(tuple(gap // passes + 1 if gap else 3 for gap in gaps))
  wide = [k for k in kernels if min(k) >= 3]
  return min(wide or kernels, key=max)


def num_passes(
  size: tuple[int, int], smallest: tuple[int, int], kernel: tuple[int, int]
) -> int:
  """Returns l_i = (h_i - h') / (k_i - 1), or 1 where the sizes are equal.

  Raises:
    ValueError: a kernel that does not divide; lists those that do.
  """
  passes = set()
  for s, small, k in zip(size, smallest, kernel):
    if s == small:
      continue
    if k < 2 or (s - small) % (k - 1):
      raise ValueError(
        f'kernel size {k} does not bring a side of {s} to {small}: k - 1 must '
        f'divide {s - small}. Legal: {legal_kernels(s, small)}.'
      )
    passes.add((s - small) // (k - 1))
  if len(passes) > 1:
    raise ValueError(
      f'kernel {kernel} needs {sorted(passes)} passes for the two sides of '
      f'{size}; both must take the same number. One that does: '
      f'{choose_kernel(size, smallest)}.'
    )
  return passes.pop() if passes else 1


class RecursiveBlock(nn.Module):
  """One RFE, or the convolutional part of one RPD.

  Attributes:
    kernel: (k_h, k_w).
    smallest: (h', w'), the shared size.
    size: (h_i, w_i), the activation's size.
    decode: False embeds size -> smallest, True decodes smallest -> size.
    canvases: number of scans; None lets the backend decide.
    dtype: of the convolution; parameters and statistics stay float32.
    axis_name: pmap axis over which batch statistics are synchronised.
  """

  kernel: tuple[int, int]
  smallest: tuple[int, int]
  size: tuple[int, int]
  decode: bool = False
  canvases: int | None = None
  dtype: Any = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, x: jax.Array, train: bool = False) -> jax.Array:
    """Maps `[n, *size, c]` to `[n, *smallest, c]`, or back when decoding.

    An embedder's output is post-ReLU; a decoder's last pass has no ReLU, so
    that D_i is signed.
    """
    passes = num_passes(self.size, self.smallest, self.kernel)
    channels = x.shape[-1]
    shape = (passes, channels)
    kernel = self.param(
      'kernel',
      nn.initializers.lecun_normal(),
      (*self.kernel, channels, channels),
      jnp.float32,
    )
    scale = self.param('scale', nn.initializers.ones, shape, jnp.float32)
    bias = self.param('bias', nn.initializers.zeros, shape, jnp.float32)
    mean = self.variable('batch_stats', 'mean', jnp.zeros, shape)
    var = self.variable('batch_stats', 'var', jnp.ones, shape)

    start, end = self.size, self.smallest
    if self.decode:
      start, end = end, start
    sizes = [
      tuple(a + (b - a) * t // passes for a, b in zip(start, end))
      for t in range(passes + 1)
    ]
    x, kernel = x.astype(self.dtype), kernel.astype(self.dtype)
    statistics = []
    for first, last in self._segments(sizes):
      canvas = sizes[last] if self.decode else sizes[first]
      x = _resize(x, canvas)
      part = slice(first, last)
      per_pass = (scale[part], bias[part], mean.value[part], var.value[part])
      body = functools.partial(
        _Pass,
        growth=tuple(
          0 if a == b else (1 if self.decode else -1)
          for a, b in zip(start, end)
        ),
        relu=not (self.decode and last == passes),
        train=train,
        # During init there is no axis to synchronise over.
        axis_name=None if self.is_initializing() else self.axis_name,
      )
      if last - first == 1:
        region = None
        x, new = body()(x, kernel, (region, *(p[0] for p in per_pass)))
        new = jax.tree.map(lambda s: s[None], new)
      else:
        scan = nn.scan(
          body,
          variable_broadcast=False,
          split_rngs={},
          in_axes=(nn.broadcast, 0),
          out_axes=0,
          unroll=last - first if jax.default_backend() == 'cpu' else 1,
        )
        region = jnp.asarray(sizes[first + 1 : last + 1], jnp.int32)
        x, new = scan()(x, kernel, (region, *per_pass))
      x = _resize(x, sizes[last])
      statistics.append(new)
    if train and not self.is_initializing():
      mean.value, var.value = (
        jnp.concatenate(parts) for parts in zip(*statistics)
      )
    return x

  def _segments(self, sizes) -> list[tuple[int, int]]:
    """Cuts the passes into scans such that the canvases waste least."""
    passes = len(sizes) - 1
    count = self.canvases
    if count is None:
      on_cpu = jax.default_backend() == 'cpu'
      count = passes if on_cpu else ACCELERATOR_CANVASES
    count = min(max(count, 1), passes)
    # The decoder's last pass has no ReLU and stands by itself.
    fixed = (passes - 1,) if self.decode and passes > 1 else ()
    free = passes - len(fixed)
    count = min(count, free)

    def cost(cuts):
      edges = (0, *cuts, free)
      areas = []
      for first, last in itertools.pairwise(edges):
        h, w = sizes[last] if self.decode else sizes[first]
        areas.append(h * w * (last - first))
      return sum(areas)

    cuts = min(itertools.combinations(range(1, free), count - 1), key=cost)
    return list(itertools.pairwise((0, *cuts, *fixed, passes)))


class _Pass(nn.Module):
  """One pass: convolution, BatchNorm over the region, ReLU. Holds no state."""

  growth: tuple[int, int]
  relu: bool
  train: bool
  axis_name: str | None

  def __call__(self, canvas, kernel, per_pass):
    region, *normalisation = per_pass
    padding = [_padding(k, g) for k, g in zip(kernel.shape[:2], self.growth)]
    y = ops.conv(canvas, kernel, padding)
    if region is not None:
      y = _resize(y, canvas.shape[1:3])
    y, statistics = batch_norm(
      y, *normalisation, region, self.train, self.axis_name
    )
    if self.relu:
      y = nn.relu(y)
    if region is not None:
      y = jnp.where(_inside(y.shape, region), y, 0)
    return y, statistics


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
    scale = self.param('scale', nn.initializers.ones, (channels,))
    bias = self.param('bias', nn.initializers.zeros, (channels,))
    mean = self.variable('batch_stats', 'mean', jnp.zeros, (channels,))
    var = self.variable('batch_stats', 'var', jnp.ones, (channels,))
    axis = None if self.is_initializing() else self.axis_name
    x, new = batch_norm(
      x, scale, bias, mean.value, var.value, None, train, axis
    )
    if train and not self.is_initializing():
      mean.value, var.value = new
    return nn.relu(x) if self.relu else x


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
      wide = jnp.where(_inside(x.shape, region), wide, 0)
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
  return x * factor.astype(x.dtype) + shift.astype(x.dtype), running


def _padding(k: int, growth: int) -> tuple[int, int]:
  """Returns a side's padding: VALID, SAME, or growing on a zeroed canvas."""
  return {-1: (0, 0), 0: ((k - 1) // 2, k // 2), 1: (k - 1, 0)}[growth]


def _inside(shape, region) -> jax.Array:
  rows = jnp.arange(shape[1]) < region[0]
  columns = jnp.arange(shape[2]) < region[1]
  return (rows[:, None] & columns[None, :])[None, :, :, None]


def _resize(x: jax.Array, size: tuple[int, int]) -> jax.Array:
  """Cuts or zero-pads the map to a size, anchored top-left."""
  x = x[:, : size[0], : size[1]]
  pads = [(0, 0), (0, size[0] - x.shape[1]), (0, size[1] - x.shape[2]), (0, 0)]
  return jnp.pad(x, pads) if any(b for _, b in pads) else x

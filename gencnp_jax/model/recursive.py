"""The recursive block that RFEs and RPDs share (paper, section 3.1).

One convolution is applied `num_passes` times; every pass has its own BatchNorm.
An embedder (RFE) shrinks its map by `k - 1` a pass, VALID; a decoder (RPD) is
the mirror image, a transposed convolution that grows it by `k - 1`.

`nn.scan` wants a carry of fixed shape, so the map lives in the top-left corner
of a canvas. A VALID convolution anchored there never reads outside its region;
a growing one needs the outside to be zero. BatchNorm counts the region alone.
A fixed canvas of the full size costs up to three times the arithmetic of the
shrinking loop, so a block runs as a few scans over shrinking canvases, with one
set of parameters. On CPU every pass has a canvas of its own, in straight code:
twice as fast to run as loops, and four times as long to compile, which loops
(`canvases`) spare a short run. The gradient of XLA's own convolution collapses in
a loop there; matrix products do not.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gencnp_jax import ops
from gencnp_jax.model import kernels, normalisation

ACCELERATOR_CANVASES = 3


class RecursiveBlock(nn.Module):
  """One RFE, or the convolutional part of one RPD.

  Attributes:
    kernel: (k_h, k_w).
    smallest: (h', w'), the shared size.
    size: (h_i, w_i), the activation's size.
    decode: False embeds size -> smallest, True decodes smallest -> size.
    canvases: number of scans, each a loop; None lets the backend decide.
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
    passes = kernels.num_passes(self.size, self.smallest, self.kernel)
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
      alone = last - first == 1
      if self.decode and not alone:
        x = _resize(x, sizes[last])
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
      if alone:
        x, new = body()(x, kernel, (None, *(p[0] for p in per_pass)))
        new = jax.tree.map(lambda s: s[None], new)
      else:
        scan = nn.scan(
          body,
          variable_broadcast=False,
          split_rngs={},
          in_axes=(nn.broadcast, 0),
          out_axes=0,
        )
        region = jnp.asarray(sizes[first + 1 : last + 1], jnp.int32)
        with ops.inside_loop():
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
    region, *parameters = per_pass
    on_canvas = region is not None
    padding = [
      _padding(k, growth, on_canvas)
      for k, growth in zip(kernel.shape[:2], self.growth)
    ]
    y = ops.conv(canvas, kernel, padding)
    if on_canvas:
      y = _resize(y, canvas.shape[1:3])
    y, statistics = normalisation.batch_norm(
      y, *parameters, region, self.train, self.axis_name
    )
    if self.relu:
      y = nn.relu(y)
    if on_canvas:
      y = jnp.where(normalisation.inside(y.shape, region), y, 0)
    return y, statistics


def _padding(k: int, growth: int, on_canvas: bool) -> tuple[int, int]:
  """Returns a side's padding; a growing map has its room on a canvas."""
  if growth == 0:
    return (k - 1) // 2, k // 2
  return (0, 0) if growth < 0 else (k - 1, 0 if on_canvas else k - 1)


def _resize(x: jax.Array, size: tuple[int, int]) -> jax.Array:
  """Cuts or zero-pads the map to a size, anchored top-left."""
  x = x[:, : size[0], : size[1]]
  pads = [(0, 0), (0, size[0] - x.shape[1]), (0, size[1] - x.shape[2]), (0, 0)]
  return jnp.pad(x, pads) if any(b for _, b in pads) else x

"""What was tried for speed on CPU and not kept, measured again.

  python launch/tried.py

The weight gradient of a narrow layer, and convolving a batch in pieces that fit
the cache: VGG-11's GEN-CNP spends most of its time on 64 channels. Milliseconds,
medians; `kept` is what the package does.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
from jax import lax

from gencnp_jax import ops
from gencnp_jax.ops import winograd

BATCH, PIECES = 128, 16
SHAPES = ((32, 64), (16, 128), (8, 256))  # (side, channels) of VALID passes.
_ROWS = (((0,), (0,)), ((), ()))


def milliseconds(fn: Callable, *arguments: Any) -> float:
  """Returns the median time of a jitted function, about a second's worth."""
  call = jax.jit(fn)
  jax.block_until_ready(call(*arguments))
  seconds, start = [], time.perf_counter()
  while len(seconds) < 3 or time.perf_counter() - start < 1.0:
    before = time.perf_counter()
    jax.block_until_ready(call(*arguments))
    seconds.append(time.perf_counter() - before)
  return 1e3 * statistics.median(seconds)


def normal(seed: int, *shape: int) -> jax.Array:
  """Returns normal numbers."""
  return jax.random.normal(jax.random.key(seed), shape)


@jax.custom_vjp
def half_product(x: jax.Array, w: jax.Array) -> jax.Array:
  """Returns x @ w, of bfloat16 arrays, in float32; likewise its gradients."""
  return jnp.matmul(x, w, preferred_element_type=jnp.float32)


def _half_gradients(arrays, g):
  x, w = arrays
  g = g.astype(jnp.bfloat16)
  over_x = half_product(g, w.T)
  over_w = half_product(lax.optimization_barrier(x.T), g)
  return over_x.astype(x.dtype), over_w.astype(w.dtype)


half_product.defvjp(lambda x, w: (half_product(x, w), (x, w)), _half_gradients)


def half_matmul(x: jax.Array, matrix: jax.Array) -> jax.Array:
  """Stands in for `products.matmul`."""
  rows = x.reshape(-1, x.shape[-1]).astype(jnp.bfloat16)
  y = half_product(rows, matrix.astype(jnp.bfloat16))
  return y.reshape(*x.shape[:-1], matrix.shape[-1])


def products(side: int, channels: int) -> dict[str, float]:
  """Times one of Winograd's products, and forms of its weight gradient."""
  rows = BATCH * ((side - 2) // 2) ** 2
  x, g = normal(0, rows, channels), normal(1, rows, channels)
  w = normal(2, channels, channels)

  def split(array):
    return array.reshape(PIECES, rows // PIECES, channels)

  def transposed(x, g):
    return lax.optimization_barrier(x.T) @ g

  def batched(x, g):
    left = lax.optimization_barrier(jnp.moveaxis(split(x), 2, 1))
    return (left @ split(g)).sum(0)

  def looped(x, g):
    def add(total, piece):
      return total + lax.optimization_barrier(piece[0].T) @ piece[1], None

    return lax.scan(add, jnp.zeros_like(w), (split(x), split(g)))[0]

  return {
    'forward': milliseconds(jnp.matmul, x, w),
    'weights, kept': milliseconds(
      lambda x, g: lax.dot_general(x, g, _ROWS), x, g
    ),
    'transposed copy': milliseconds(transposed, x, g),
    'batched': milliseconds(batched, x, g),
    'loop over rows': milliseconds(looped, x, g),
  }


def convolutions(side: int, channels: int) -> dict[str, float]:
  """Times a pass, and its weight gradient, as they are and otherwise."""
  x = normal(0, BATCH, side, side, channels)
  g = normal(1, BATCH, side - 2, side - 2, channels)
  k = normal(2, 3, 3, channels, channels)

  def convolve(x, k):
    return ops.conv(x, k, 'VALID')

  def in_pieces(x, k):
    pieces = x.reshape(PIECES, -1, *x.shape[1:])
    y = lax.scan(lambda _, piece: (None, convolve(piece, k)), None, pieces)[1]
    return y.reshape(BATCH, *y.shape[2:])

  def weights(of):
    return lambda x, k, g: jax.vjp(lambda k: of(x, k), k)[1](g)[0]

  def two_sided(x, g):
    """One product: patches along the width times patches along the height."""
    wide = jnp.concatenate([x[:, :, j : j + side - 2] for j in range(3)], -1)
    pads = [((0, 0), (i, 2 - i), (0, 0), (0, 0)) for i in range(3)]
    high = jnp.concatenate([jnp.pad(g, pad) for pad in pads], -1)
    width = 3 * channels
    y = lax.dot_general(wide.reshape(-1, width), high.reshape(-1, width), _ROWS)
    return y.reshape(3, channels, 3, channels).transpose(2, 0, 1, 3)

  def half(x, k):
    plan = winograd.plan(x.shape, k.shape, ((0, 0), (0, 0)))
    with mock.patch.object(winograd, 'matmul', half_matmul):
      return winograd.convolve(x, k, *plan)

  def step(of):
    return lambda x, k, g: jax.vjp(of, x, k)[1](g)

  return {
    'forward, kept': milliseconds(convolve, x, k),
    'in pieces': milliseconds(in_pieces, x, k),
    'weights, kept': milliseconds(weights(convolve), x, k, g),
    'of pieces': milliseconds(weights(in_pieces), x, k, g),
    'two-sided patches': milliseconds(two_sided, x, g),
    'both gradients, kept': milliseconds(step(convolve), x, k, g),
    'of bfloat16 products': milliseconds(step(half), x, k, g),
  }


def main() -> None:
  """Prints a line a shape."""
  argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  ).parse_args()
  for what in (products, convolutions):
    for side, channels in SHAPES:
      found = what(side, channels)
      shown = ', '.join(f'{name} {value:.2f}' for name, value in found.items())
      print(f'{what.__name__}, {side}x{side}x{channels}: {shown}', flush=True)


if __name__ == '__main__':
  main()

"""Distance-aware quantisation, the soft binarisation of GEN-CNP (paper, Eq. 1).

Forward, x is normalised to [0, 2^bits - 1] and rounded to the nearest integer
(a tie goes down): exactly {0, 1} for one bit, in training as in use. Backward,
it is the derivative of DAQ's soft assignment with its adaptive temperature held
constant, in closed form: largest where a value is between two levels, and never
zero inside the bounds.

References:
  Kim, Lee, Ham. Distance-aware Quantization. ICCV 2021.
"""

from __future__ import annotations

import functools
import math
import numbers

import jax
import jax.numpy as jnp
import numpy as np

from gencnp_jax import arguments

# What float32 tells apart, and where the slope is neither 0 nor infinite.
BITS = 16
SIGMA = 1e-3, 1e3
TEMPERATURE = 1e-3, 50.0


def daq(
  x: jax.Array,
  lower: jax.Array | float = -1.5,
  upper: jax.Array | float = 1.5,
  bits: int = 1,
  sigma: float = 2.0,
  temperature: float = 2.0,
) -> jax.Array:
  """Quantises x to the levels {0, 1/R, ..., 1}, R = 2^bits - 1 (Eq. 1).

  Args:
    x: float array of any shape.
    lower: bound l, a scalar or an array that broadcasts to x. Differentiable.
    upper: bound u > l, likewise.
    bits: b, at least 1. One bit makes pathways.
    sigma: width of the distance kernel; smaller is closer to a constant slope.
    temperature: of the soft assignment.

  Returns:
    Array like x.

  Raises:
    ValueError: x that is no floats; bits, sigma or temperature out of range;
      bounds of another shape, or upper <= lower where both are constants.
  """
  dtype = getattr(x, 'dtype', None)
  if dtype is None or not jnp.issubdtype(dtype, jnp.floating):
    # In integers, the bounds would be others.
    raise ValueError(
      f'x is {dtype or type(x).__name__}; pass an array of floats.'
    )
  arguments.whole('bits', bits, 1, BITS)
  for name, value, (least, most) in (
    ('sigma', sigma, SIGMA),
    ('temperature', temperature, TEMPERATURE),
  ):
    if not isinstance(value, numbers.Real) or not least <= value <= most:
      raise ValueError(
        f'{name}={value}: it must be positive, from {least} to {most}.'
      )
  if not any(isinstance(b, jax.core.Tracer) for b in (lower, upper)):
    ends = [arguments.numbers(*b) for b in (('lower', lower), ('upper', upper))]
    if not np.all(np.isfinite(ends[1] - ends[0]) & (ends[0] < ends[1])):
      raise ValueError(
        f'lower={lower}, upper={upper}: upper must be above lower, and both '
        'finite.'
      )
  lower = jnp.asarray(lower, x.dtype)
  upper = jnp.asarray(upper, x.dtype)
  try:
    fits = jnp.broadcast_shapes(lower.shape, upper.shape, x.shape) == x.shape
  except ValueError:
    fits = False
  if not fits:
    raise ValueError(
      f'lower has shape {lower.shape} and upper {upper.shape}; both must '
      f'broadcast to x, of shape {x.shape}.'
    )
  return _daq(x, lower, upper, bits, float(sigma), float(temperature))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _daq(x, lower, upper, bits, sigma, temperature):
  del sigma, temperature  # They shape the gradient alone.
  top = 2**bits - 1
  n, r = _normalise(x, lower, upper, top)
  return (n - r + (r > 0.5)) / top


def _normalise(x, lower, upper, top):
  """Returns the clamped position n in [0, top] and its fraction r."""
  lower, upper = _over(lower, x), _over(upper, x)
  n = jnp.clip((x - lower) * (top / (upper - lower)), 0, top)
  return n, n - jnp.floor(n)


def _forward(x, lower, upper, bits, sigma, temperature):
  y = _daq(x, lower, upper, bits, sigma, temperature)
  return y, (x, lower, upper)


def _backward(bits, sigma, temperature, residuals, g):
  x, lower, upper = residuals
  _, r = _normalise(x, lower, upper, 2**bits - 1)
  lo, up = _over(lower, x), _over(upper, x)
  # An explicit mask: clip's own gradient would be halved at the bounds.
  inside = (lo <= x) & (x <= up)
  scale = temperature / (2 * math.sinh(temperature))
  slope = scale / jnp.tanh((1 / sigma**2 + jnp.abs(1 - 2 * r)) / 2)
  dx = jnp.where(inside, g * slope / (up - lo), 0).astype(x.dtype)
  # Masked like dx: outside, an infinite x would make 0 * inf.
  share = jnp.where(inside, (x - lo) / (up - lo), 0)
  du = _sum_to(-dx * share, upper)
  dl = _sum_to(-dx * (1 - share), lower)
  return dx, dl, du


_daq.defvjp(_forward, _backward)


def _over(bound: jax.Array, x: jax.Array) -> jax.Array:
  return jnp.broadcast_to(bound, x.shape)


def _sum_to(x: jax.Array, like: jax.Array) -> jax.Array:
  """Sums x over the axes along which `like` was broadcast."""
  lead = x.ndim - like.ndim
  x = x.sum(tuple(range(lead)))
  axes = tuple(i for i, n in enumerate(like.shape) if n == 1)
  return x.sum(axes, keepdims=True).astype(like.dtype)

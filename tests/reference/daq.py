"""DAQ by its definition: soft assignment to the two nearest levels.

Kim, Lee, Ham. Distance-aware Quantization. ICCV 2021, section 3.
"""

import jax
import jax.numpy as jnp
import numpy as np


def quantise(x, lower, upper, bits):
  """Rounds each value to the nearest of 2^bits levels, a tie down."""
  top = 2**bits - 1
  out = np.empty(np.shape(x))
  for place, value in np.ndenumerate(np.asarray(x, np.float64)):
    n = min(max((value - lower) * top / (upper - lower), 0.0), top)
    distances = [abs(n - level) for level in range(top + 1)]
    out[place] = int(np.argmin(distances)) / top
  return out


def soft_assignment(x, lower, upper, bits, sigma, temperature):
  """The surrogate whose derivative DAQ uses, its temperature held constant.

  A value at distance r from the level below scores `exp(-distance)` at either
  level, damped by a kernel of width sigma around the nearer one. The softmax of
  the scores, at a temperature that grows as they draw level, weighs the two
  levels, which are moved apart so that the result is the level itself.
  """
  top = 2**bits - 1
  n = (x - lower) * top / (upper - lower)
  n = jnp.where(n < 0, 0.0, jnp.where(n > top, float(top), n))
  floor = jax.lax.stop_gradient(jnp.floor(n))
  r = n - floor
  below, above = r, 1 - r
  nearer_is_above = jax.lax.stop_gradient(above < below)
  far = jnp.exp(-1.0 / sigma**2)
  score_below = jnp.exp(-below) * jnp.where(nearer_is_above, far, 1.0)
  score_above = jnp.exp(-above) * jnp.where(nearer_is_above, 1.0, far)
  adapted = temperature / jnp.abs(score_above - score_below)
  adapted = jax.lax.stop_gradient(adapted)
  p_above = jax.nn.sigmoid(adapted * (score_above - score_below))
  apart = 1 / (np.exp(temperature) - 1)
  return (floor + p_above * (1 + apart) - (1 - p_above) * apart) / top

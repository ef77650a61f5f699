"""Convolution: the same numbers as JAX's own, lowered to suit the backend.

Every convolution becomes one of

    native      `jax.lax.conv_general_dilated`
    patches     patches, then one matrix product (`products.py`)
    winograd    several smaller matrix products (`winograd.py`)

All are plain JAX operations, so every transformation (both modes of
differentiation to any order, vmap, remat, sharding) applies to all of them.
On GPU and TPU the native one always runs.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax import lax

from gencnp_jax.ops import lowering, products, winograd

_NHWC = ('NHWC', 'HWIO', 'NHWC')
_FLOATS = (jnp.bfloat16, jnp.float16, jnp.float32, jnp.float64)


def conv(
  x: jax.Array,
  kernel: jax.Array,
  padding: str | Sequence[tuple[int, int]],
  strides: tuple[int, int] = (1, 1),
) -> jax.Array:
  """Convolves images with a kernel, without bias.

  Args:
    x: `[n, h, w, c_in]`.
    kernel: `[k_h, k_w, c_in, c_out]`, of the same dtype.
    padding: 'SAME', 'VALID' or ((top, bottom), (left, right)).
    strides: (down, right).

  Returns:
    `[n, h', w', c_out]`.
  """
  return conv_general_dilated(
    x, kernel, strides, padding, dimension_numbers=_NHWC
  )


def conv_general_dilated(
  lhs: jax.Array,
  rhs: jax.Array,
  window_strides: Sequence[int],
  padding: str | Sequence[tuple[int, int]],
  lhs_dilation: Sequence[int] | None = None,
  rhs_dilation: Sequence[int] | None = None,
  dimension_numbers=None,
  feature_group_count: int = 1,
  batch_group_count: int = 1,
  precision=None,
  preferred_element_type=None,
) -> jax.Array:
  """Drop-in for `jax.lax.conv_general_dilated`.

  Made for `flax.linen.Conv(conv_general_dilated=...)`; takes the same
  arguments and returns the same numbers to rounding. Dilated and grouped
  convolutions, other layouts than NHWC and HWIO, integers and every backend
  but the CPU get the native lowering. Half precisions are summed in float32.
  """
  strides = tuple(window_strides)
  plain = (
    lhs.ndim == rhs.ndim == 4
    and _is_nhwc(lhs, rhs, dimension_numbers)
    and feature_group_count == batch_group_count == 1
    and all(
      rate == 1 for rate in (*(lhs_dilation or ()), *(rhs_dilation or ()))
    )
    and preferred_element_type is None
    and lhs.dtype == rhs.dtype
    and lhs.dtype in _FLOATS
    and lhs.shape[3] == rhs.shape[2]
  )
  name = 'native'
  if plain:
    pads = padding
    if isinstance(padding, str):
      pads = lax.padtype_to_pads(
        lhs.shape[1:3], rhs.shape[:2], strides, padding
      )
    pads = tuple((int(low), int(high)) for low, high in pads)
    name = lowering.select(lhs.shape, rhs.shape, pads, strides)
  if name == 'native':
    return lax.conv_general_dilated(
      lhs,
      rhs,
      window_strides,
      padding,
      lhs_dilation,
      rhs_dilation,
      dimension_numbers,
      feature_group_count,
      batch_group_count,
      precision,
      preferred_element_type,
    )
  dtype = lhs.dtype
  if dtype in (jnp.bfloat16, jnp.float16):
    lhs, rhs = lhs.astype(jnp.float32), rhs.astype(jnp.float32)
  if name == 'winograd':
    plan = winograd.plan(lhs.shape, rhs.shape, pads)
    y = winograd.convolve(lhs, rhs, *plan)
  else:
    y = products.convolve(lhs, rhs, pads, strides)
  return y.astype(dtype)


def _is_nhwc(lhs, rhs, dimension_numbers) -> bool:
  given = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
  return given == lax.conv_dimension_numbers(lhs.shape, rhs.shape, _NHWC)

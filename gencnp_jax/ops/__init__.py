"""Convolution and max pooling, lowered to suit the backend.

Arrays are NHWC, kernels HWIO. Results equal `jax.lax`'s to rounding.
"""

from gencnp_jax.ops.convolution import conv as conv
from gencnp_jax.ops.convolution import (
  conv_general_dilated as conv_general_dilated,
)
from gencnp_jax.ops.lowering import inside_loop as inside_loop
from gencnp_jax.ops.lowering import use_lowering as use_lowering
from gencnp_jax.ops.pooling import max_pool as max_pool

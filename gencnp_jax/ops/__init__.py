"""Convolution and max pooling, lowered to suit the backend.

Arrays are NHWC, kernels HWIO. Results equal `jax.lax`'s to rounding.
"""

from gencnp_jax.ops.convolution import conv, conv_general_dilated
from gencnp_jax.ops.pooling import max_pool

__all__ = ['conv', 'conv_general_dilated', 'max_pool']

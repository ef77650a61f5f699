"""Matrix products, and convolution as one of them."""

import math

import jax.numpy as jnp


def matmul(x, matrix):
  """Returns `x[..., c_in] @ matrix[c_in, c_out]`.

  Of two axes, never more: the gradient of a product over several leading
  axes copies both operands on CPU, which takes four times the product.
  """
  rows = math.prod(x.shape[:-1])
  y = x.reshape(rows, x.shape[-1]) @ matrix
  return y.reshape(*x.shape[:-1], matrix.shape[-1])


def convolve(x, kernel, padding, strides):
  """Convolves by patches.

  Args:
    x: `[n, h, w, c_in]`.
    kernel: `[k_h, k_w, c_in, c_out]`.
    padding: ((top, bottom), (left, right)).
    strides: (down, right).

  Returns:
    `[n, h', w', c_out]`.
  """
  x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
  down, right = strides
  height = (x.shape[1] - kernel.shape[0]) // down + 1
  width = (x.shape[2] - kernel.shape[1]) // right + 1
  patches = [
    x[
      :,
      i : i + (height - 1) * down + 1 : down,
      j : j + (width - 1) * right + 1 : right,
    ]
    for i in range(kernel.shape[0])
    for j in range(kernel.shape[1])
  ]
  patches = jnp.concatenate(patches, axis=-1)
  matrix = kernel.reshape(patches.shape[-1], kernel.shape[-1])
  return matmul(patches, matrix)

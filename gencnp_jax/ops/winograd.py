"""Convolution with fewer multiplications, as a list of matrix products.

The two sides' algorithms (`sides.py`) mix the elements of every tile and the
taps of the kernel by additions alone. What is left is, for each pair of mixed
element and mixed tap, one product over channels:
`[images * tiles, c_in] @ [c_in, c_out]`. A 3x3 kernel on a 2x2 map takes 9
where patches take 36; on larger maps 16 for four outputs, also in place of 36.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from gencnp_jax.ops.products import matmul
from gencnp_jax.ops.sides import Side, plan_patches, plan_side

# More products than these take longer to compile than they ever save.
_MOST_PRODUCTS = 16


def plan(
  x_shape: tuple[int, ...],
  kernel_shape: tuple[int, ...],
  padding: tuple[tuple[int, int], tuple[int, int]],
) -> tuple[Side, Side] | None:
  """Returns the algorithms for height and width; None if none saves work.

  Args:
    x_shape: (n, h, w, c_in).
    kernel_shape: (k_h, k_w, c_in, c_out).
    padding: ((top, bottom), (left, right)).
  """
  rows, columns = (
    plan_side(*side) for side in zip(x_shape[1:3], kernel_shape[:2], padding)
  )
  if rows is None:
    return None
  if columns is None or len(rows.data) * len(columns.data) > _MOST_PRODUCTS:
    columns = plan_patches(x_shape[2], kernel_shape[1], padding[1])
  return rows, columns


def convolve(
  x: jax.Array, kernel: jax.Array, rows: Side, columns: Side
) -> jax.Array:
  """Convolves by the two sides' algorithms.

  Args:
    x: `[n, h, w, c_in]`.
    kernel: `[k_h, k_w, c_in, c_out]`.
    rows: algorithm of the height, see `plan`.
    columns: algorithm of the width.

  Returns:
    `[n, rows.size, columns.size, c_out]`.
  """
  x = jnp.pad(x, ((0, 0), rows.padding, columns.padding, (0, 0)))
  if columns.taps.shape[1] != kernel.shape[1]:
    # The width goes by patches: its taps become channels.
    width = kernel.shape[1]
    x = [x[:, :, j : j + columns.size] for j in range(width)]
    x = jnp.concatenate(x, axis=-1)
    kernel = kernel.reshape(len(kernel), 1, x.shape[-1], kernel.shape[-1])
  inputs = _mix(rows.data, columns.data, _tiles(x, rows, columns))
  kernels = _mix(rows.taps, columns.taps, _split(kernel))
  products = [
    # One product after the other: XLA's CPU runs a list of plain products
    # faster than one batched product, and needs no stacked copy.
    [matmul(data, taps) for data, taps in zip(*pair)]
    for pair in zip(inputs, kernels)
  ]
  y = _join(_mix(rows.out, columns.out, products), rows, columns)
  return y[:, : rows.size, : columns.size]


def _split(kernel):
  """Returns the taps of a kernel as a matrix of `[c_in, c_out]` arrays.

  By `lax.split`, whose gradient is one concatenation, where that of
  indexing is a sum of as many padded kernels as there are taps.
  """
  return [
    [tap[0, 0] for tap in lax.split(row, [1] * row.shape[1], axis=1)]
    for row in lax.split(kernel, [1] * len(kernel), axis=0)
  ]


def _mix(left, right, blocks):
  """Returns left @ blocks @ right.T for a matrix of arrays."""
  columns = [_combine(left, column) for column in zip(*blocks)]
  return [_combine(right, row) for row in zip(*columns)]


def _combine(matrix, arrays):
  """Returns one sum of arrays per row of the matrix, no zero terms."""
  sums = []
  for row in matrix:
    total = None
    for factor, array in zip(row.tolist(), arrays):
      if factor == 0:
        continue
      if abs(factor) != 1:
        array, factor = array * abs(factor), np.sign(factor)
      if total is None:
        total = array if factor > 0 else -array
      else:
        total = total + array if factor > 0 else total - array
    # A row without terms is a product with zero, such as a tap that only
    # ever meets padding.
    sums.append(jnp.zeros_like(arrays[0]) if total is None else total)
  return sums


def _tiles(x, rows, columns):
  """Returns element (i, j) of every tile: `[n, tiles_h, tiles_w, c]` each.

  Cut in two steps, phase and window, because the gradient of that is two
  cheap sums where a strided slice per element would be sixteen.
  """
  step, across = rows.stride[0], columns.stride[0]
  phases = [
    [x[:, i::step, j::across] for j in range(across)] for i in range(step)
  ]
  return [
    [
      phases[i % step][j % across][
        :,
        i // step : i // step + rows.tiles,
        j // across : j // across + columns.tiles,
      ]
      for j in range(columns.data.shape[1])
    ]
    for i in range(rows.data.shape[1])
  ]


def _join(blocks, rows, columns):
  """Lays output tiles beside each other; where they overlap, adds."""
  step, across = rows.stride[1], columns.stride[1]
  height, width = len(blocks), len(blocks[0])
  spare, aside = (height - 1) // step, (width - 1) // across

  def phase(i, j):
    parts = [
      jnp.pad(
        blocks[u][v],
        (
          (0, 0),
          (u // step, spare - u // step),
          (v // across, aside - v // across),
          (0, 0),
        ),
      )
      for u in range(i, height, step)
      for v in range(j, width, across)
    ]
    return sum(parts[1:], start=parts[0])

  grid = [
    jnp.stack([phase(i, j) for j in range(across)], axis=3) for i in range(step)
  ]
  n, down, right, _, channels = grid[0].shape
  y = jnp.stack(grid, axis=2)
  return y.reshape(n, down * step, right * across, channels)

"""Convolution with fewer multiplications: short bilinear algorithms.

One side of a convolution with a short kernel is computed as

    y = out @ ((taps @ kernel) * (data @ x))

with small constant matrices, a row a product. Both sides together take
the square of one side's products, and every product is a plain matrix
product over channels: `[images * tiles, c_in] @ [c_in, c_out]`. A 3x3
kernel on a 2x2 map takes 9 of them where patches take 36.

References:
  S. Winograd, Arithmetic Complexity of Computations, 1980.
  A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural
  Networks, CVPR 2016.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

# Two outputs of three taps from four inputs, 4 products: F(2, 3) of Lavin and
# Gray. Its coefficients are 0, 1 and 1/2, so it rounds as a plain sum does;
# the larger F(4, 3) would save more and lose digits.
_DATA = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
_TAPS = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
_OUT = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])


class Side(NamedTuple):
  """How one spatial side is computed.

  Attributes:
    data: `[products, tile]`, mixes the inputs of a tile.
    taps: `[products, k]`, mixes the kernel.
    out: `[outputs of a tile, products]`.
    stride: (inputs from one tile to the next, outputs likewise).
    tiles: number of tiles.
    padding: zeros before and after the inputs.
    size: number of outputs; the tiles may compute one more.
  """

  data: np.ndarray
  taps: np.ndarray
  out: np.ndarray
  stride: tuple[int, int]
  tiles: int
  padding: tuple[int, int]
  size: int

  @property
  def products(self) -> int:
    """Products that this side takes for one image."""
    return self.tiles * len(self.data)


def plan_side(size: int, taps: int, padding: tuple[int, int]) -> Side | None:
  """Returns the cheapest algorithm for a side, None where none is known.

  Args:
    size: inputs on the side.
    taps: kernel size on the side.
    padding: zeros (before, after).
  """
  outputs = size + sum(padding) - taps + 1
  sides = []
  if taps == 3 and outputs >= 1:
    tiles = -(-outputs // 2)
    low, high = padding
    high += 2 * tiles - outputs
    side = Side(_DATA, _TAPS, _OUT, (2, 2), tiles, (low, high), outputs)
    sides.append(side)
    if tuple(padding) == (2, 2) and size % 2 == 0:
      # The transpose of a VALID convolution: the same products, tiles of two
      # inputs that spread over four outputs each.
      taps_reversed = _TAPS[:, ::-1]
      tiles = size // 2
      sides.append(
        Side(_OUT.T, taps_reversed, _DATA.T, (2, 2), tiles, (0, 0), outputs)
      )
  if outputs == size in (1, 2, 4):
    data, mixed, out = _toeplitz(size, taps, padding[0])
    sides.append(Side(data, mixed, out, (size, size), 1, (0, 0), size))
  return min(sides, key=lambda side: side.products, default=None)


def _toeplitz(size, taps, low):
  """A whole map of `size` in and out, by Karatsuba's halving.

  Output i is the sum over j of kernel[j - i + low] * x[j]: a product with
  a Toeplitz matrix, whose diagonals are the taps. Split in four, two of
  its blocks are equal, so 3 half-sized products do:

      top    = T0 (xt + xb) + (T1 - T0) xb
      bottom = T0 (xt + xb) + (T-1 - T0) xt
  """
  diagonals = np.zeros((2 * size - 1, taps))
  for row, tap in enumerate(range(low - size + 1, low + size)):
    if 0 <= tap < taps:
      diagonals[row, tap] = 1
  data, out = np.eye(1), np.eye(1)
  mixed = diagonals[None]
  while size > 1:
    half = size // 2
    middle, upper, lower = (
      mixed[:, start : start + size - 1] for start in (half, size, 0)
    )
    mixed = np.stack([middle, upper - middle, lower - middle], axis=1)
    mixed = mixed.reshape(-1, size - 1, taps)
    data = np.kron(data, [[1, 1], [0, 1], [1, 0]])
    out = np.kron(out, [[1, 1, 0], [1, 0, 1]])
    size = half
  return data, mixed[:, 0], out


def convolve(x, kernel, rows: Side, columns: Side):
  """Convolves by the two sides' algorithms.

  Args:
    x: `[n, h, w, c_in]`.
    kernel: `[k_h, k_w, c_in, c_out]`.
    rows: algorithm of the height.
    columns: algorithm of the width.

  Returns:
    `[n, rows.size, columns.size, c_out]`.
  """
  x = jnp.pad(x, ((0, 0), rows.padding, columns.padding, (0, 0)))
  inputs = _mix(rows.data, columns.data, _tiles(x, rows, columns))
  kernels = _mix(rows.taps, columns.taps, [list(row) for row in kernel])
  products = [
    # One product after the other: XLA's CPU runs a list of plain products
    # faster than one batched product, and needs no stacked copy.
    [jnp.tensordot(data, taps, 1) for data, taps in zip(*pair)]
    for pair in zip(inputs, kernels)
  ]
  y = _join(_mix(rows.out, columns.out, products), rows, columns)
  return y[:, : rows.size, : columns.size]


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

"""Bilinear algorithms for one side of a convolution with a short kernel.

    y = out @ ((taps @ kernel) * (data @ x))

with small constant matrices, one row a product. `winograd.py` puts two sides
together; both sides take the square of one side's products.

References:
  S. Winograd, Arithmetic Complexity of Computations, 1980.
  A. Lavin and S. Gray, Fast Algorithms for Convolutional Neural
  Networks, CVPR 2016.
"""

from typing import NamedTuple

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
  # Only what beats one product per output and tap.
  sides = [side for side in sides if side.products < outputs * taps]
  return min(sides, key=lambda side: side.products, default=None)


def plan_patches(size: int, taps: int, padding: tuple[int, int]) -> Side:
  """Returns the side as it is after patches were cut along it: one tap."""
  one = np.ones((1, 1))
  outputs = size + sum(padding) - taps + 1
  return Side(one, one, one, (1, 1), outputs, padding, outputs)


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

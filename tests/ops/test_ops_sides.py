"""The one-sided algorithms equal the sum that defines a convolution."""

import numpy as np
import pytest

from gencnp_jax.ops import sides


def run(side, x, kernel):
  """Computes one side by its algorithm, tile by tile."""
  x = np.pad(x, side.padding)
  step, apart = side.stride
  tile, part = side.data.shape[1], len(side.out)
  y = np.zeros(apart * (side.tiles - 1) + part)
  for index in range(side.tiles):
    data = x[index * step : index * step + tile]
    products = (side.taps @ kernel) * (side.data @ data)
    y[index * apart : index * apart + part] += side.out @ products
  return y[: side.size]


@pytest.mark.parametrize(
  ('size', 'taps', 'padding', 'products'),
  [
    (4, 3, (0, 0), 4),
    (4, 3, (1, 1), 8),
    (8, 3, (0, 0), 12),
    (5, 3, (1, 1), 12),
    (2, 3, (1, 1), 3),
    (1, 3, (1, 1), 1),
    (2, 3, (2, 2), 4),
    (4, 3, (2, 2), 8),
    (4, 3, (2, 0), 8),
    (4, 5, (2, 2), 9),
    (4, 5, (0, 4), 9),
    (2, 5, (2, 2), 3),
    (2, 2, (1, 0), 3),
  ],
)
def test_equals_the_definition(size, taps, padding, products):
  rng = np.random.default_rng(size + taps)
  x, kernel = rng.normal(size=size), rng.normal(size=taps)
  side = sides.plan_side(size, taps, padding)
  assert side.products == products
  expected = np.correlate(np.pad(x, padding), kernel, 'valid')
  np.testing.assert_allclose(run(side, x, kernel), expected, atol=1e-13)
  assert side.products < side.size * taps


@pytest.mark.parametrize(
  ('size', 'taps', 'padding'),
  [(3, 3, (0, 0)), (2, 1, (0, 0)), (8, 5, (2, 2)), (2, 5, (0, 0))],
)
def test_none_where_nothing_is_saved(size, taps, padding):
  assert sides.plan_side(size, taps, padding) is None


def test_patches_are_one_tap():
  side = sides.plan_patches(6, 5, (2, 2))
  assert (side.size, side.tiles, side.taps.shape) == (6, 6, (1, 1))

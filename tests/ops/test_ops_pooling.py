"""Max pooling equals `reduce_window`, ties and NaN included."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gencnp_jax import ops
from tests.reference import layers


def both(pool, x):
  """The output and the gradient of a weighted sum of it."""

  def run(x):
    y, pull = jax.vjp(pool, x)
    return y, *pull(jnp.arange(1.0, y.size + 1).reshape(y.shape))

  return jax.jit(run)(x)


@pytest.mark.parametrize(
  ('shape', 'window'),
  [((3, 8, 8, 5), 2), ((2, 5, 7, 3), 2), ((2, 9, 6, 3), 3), ((2, 4, 4, 3), 1)],
)
def test_equals_reduce_window_with_ties(shape, window):
  # Few distinct values and many zeros, as after a ReLU.
  x = np.maximum(np.random.default_rng(0).integers(-3, 3, shape), 0)
  x = jnp.asarray(x, jnp.float32)
  sides = (window, window)
  expected = both(lambda x: nn.max_pool(x, sides, sides), x)
  got = both(lambda x: ops.max_pool(x, window), x)
  for a, b in zip(got, expected, strict=True):
    np.testing.assert_array_equal(a, b)
  np.testing.assert_array_equal(got[0], layers.max_pool(np.asarray(x), window))


def test_a_tie_goes_to_the_first():
  gradient = jax.grad(lambda x: ops.max_pool(x).sum())
  window = jnp.asarray([[0.0, 2.0], [2.0, 2.0]])[None, :, :, None]
  np.testing.assert_array_equal(gradient(window).ravel(), [0, 1, 0, 0])
  np.testing.assert_array_equal(gradient(window * 0).ravel(), [1, 0, 0, 0])


@pytest.mark.parametrize('place', range(4))
def test_nan_is_not_hidden(place):
  x = jnp.arange(4.0).at[place].set(jnp.nan).reshape(1, 2, 2, 1)
  assert jnp.isnan(ops.max_pool(x)).all()


def test_transformations():
  x = jnp.asarray(np.random.default_rng(1).normal(size=(3, 4, 4, 2)))
  expected = ops.max_pool(x)
  one_by_one = jax.vmap(lambda x: ops.max_pool(x[None])[0])(x)
  np.testing.assert_array_equal(one_by_one, expected)
  _, tangent = jax.jvp(ops.max_pool, (x,), (2 * x,))
  np.testing.assert_allclose(tangent, 2 * expected)


def test_half_precision_stays():
  assert (
    ops.max_pool(jnp.ones((1, 2, 2, 1), jnp.bfloat16)).dtype == jnp.bfloat16
  )


def test_map_smaller_than_a_window():
  with pytest.raises(ValueError, match='1x4'):
    ops.max_pool(jnp.zeros((1, 1, 4, 2)))

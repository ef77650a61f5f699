"""DAQ against its table of values, its definition and autodiff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gencnp_jax.model import daq
from tests.reference import daq as reference

# phi'(r) at temperature 2, computed once in high precision.
TABLE = {
  2.0: {0.0: 0.4972, 0.1: 0.5726, 0.25: 0.7694, 0.4: 1.246, 0.5: 2.217},
  1.0: {0.0: 0.3620, 0.1: 0.3849, 0.25: 0.4341, 0.4: 0.5134, 0.5: 0.5966},
}


def _slope(x, *bounds, **options):
  return jax.grad(lambda x: daq(x, *bounds, **options).sum())(x)


@pytest.mark.parametrize('sigma', TABLE)
def test_slope_has_the_tabled_values(sigma):
  for r, expected in TABLE[sigma].items():
    x = jnp.array([r, 1 - r])
    np.testing.assert_allclose(
      _slope(x, 0.0, 1.0, sigma=sigma), [expected] * 2, rtol=5e-4
    )
    # The bounds stretch it: here u - l = 3.
    np.testing.assert_allclose(
      _slope(3 * x - 1.5, sigma=sigma), [expected / 3] * 2, rtol=5e-4
    )


@pytest.mark.parametrize('bits', [1, 2, 3])
@pytest.mark.parametrize(
  'sigma, temperature', [(2.0, 2.0), (1.0, 2.0), (0.7, 4.0)]
)
def test_gradients_are_autodiff_of_the_soft_assignment(
  bits, sigma, temperature
):
  """In float64, for x and for scalar and per-channel bounds."""
  with jax.enable_x64(True):
    rng = np.random.default_rng(bits)
    x = jnp.asarray(rng.uniform(-3, 3, (50, 4)))
    weights = jnp.asarray(rng.normal(size=(50, 4)))
    scalars = jnp.float64(-1.3), jnp.float64(1.6)
    channels = jnp.asarray([[-1.0, -2.0, -1.5, 0.0]]), jnp.asarray([[1.0]])
    for lower, upper in (scalars, channels):

      def ours(x, lower, upper):
        return (weights * daq(x, lower, upper, bits, sigma, temperature)).sum()

      def surrogate(x, lower, upper):
        lower, upper = (jnp.broadcast_to(b, x.shape) for b in (lower, upper))
        soft = reference.soft_assignment(
          x, lower, upper, bits, sigma, temperature
        )
        return (weights * soft).sum()

      args = x, lower, upper
      value, grads = jax.value_and_grad(ours, (0, 1, 2))(*args)
      expected, soft = jax.value_and_grad(surrogate, (0, 1, 2))(*args)
      # The soft assignment's own value is the quantised one.
      np.testing.assert_allclose(value, expected, rtol=1e-9)
      for a, b in zip(grads, soft):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=2e-8, atol=1e-12)


@pytest.mark.parametrize('bits', [1, 2, 3])
def test_forward_is_the_nearest_level(bits):
  x = jnp.linspace(-2.5, 2.5, 401)
  y = daq(x, -1.5, 1.5, bits)
  np.testing.assert_allclose(
    y, reference.quantise(x, -1.5, 1.5, bits), atol=1e-7
  )
  assert len(set(np.asarray(y))) == 2**bits


def test_ties_go_down():
  np.testing.assert_array_equal(daq(jnp.zeros(3)), np.zeros(3))
  assert daq(jnp.array([1e-6]))[0] == 1
  halves = jnp.array([0.5, 1.5, 2.5])
  np.testing.assert_allclose(daq(halves, 0.0, 3.0, 2), np.arange(3) / 3)


@pytest.mark.parametrize('dtype', ['float32', 'bfloat16', 'float16'])
@pytest.mark.parametrize('wrap', [lambda f: f, jax.jit], ids=['eager', 'jit'])
def test_one_bit_is_exactly_zero_or_one(dtype, wrap):
  steps = np.arange(-500, 501) / 125
  x = jnp.asarray([*steps, np.inf, -np.inf], dtype)
  y = wrap(daq)(x)
  assert y.dtype == x.dtype
  np.testing.assert_array_equal(y, (x > 0).astype(dtype))
  assert _slope(x).dtype == x.dtype


def test_no_gradient_outside_the_bounds():
  x = jnp.array([-9.0, -1.5000002, -1.5, 0.0, 1.5, 1.5000002, 9.0, jnp.inf])
  slopes = jax.grad(
    lambda x, lower, upper: daq(x, lower, upper).sum(), (0, 1, 2)
  )
  dx, dl, du = slopes(x, -1.5, 1.5)
  np.testing.assert_array_equal(dx == 0, [1, 1, 0, 0, 0, 1, 1, 1])
  # At l only l counts, at u only u: the neuron at the middle counts for both.
  at_bound, middle = dx[2], dx[3]
  np.testing.assert_allclose([dl, du], -(at_bound + middle / 2), rtol=1e-6)
  outside = slopes(x[jnp.array([0, 1, 5, 6, 7])], -1.5, 1.5)
  assert all((g == 0).all() for g in outside)


@pytest.mark.parametrize('shape', [(), (1,), (4,), (1, 4), (3, 1), (1, 1)])
def test_gradients_have_the_shape_of_the_bounds(shape):
  x = jax.random.normal(jax.random.key(0), (3, 4))
  lower, upper = jnp.full(shape, -1.0), jnp.full(shape, 1.0)
  grads = jax.grad(lambda lower, upper: daq(x, lower, upper).sum(), (0, 1))(
    lower, upper
  )
  full = jax.grad(lambda lower, upper: daq(x, lower, upper).sum(), (0, 1))(
    jnp.full((3, 4), -1.0), jnp.full((3, 4), 1.0)
  )
  for g, f in zip(grads, full):
    assert g.shape == shape
    padded = (1,) * (2 - len(shape)) + shape
    axes = tuple(i for i, n in enumerate(padded) if n == 1)
    expected = np.asarray(f).sum(axes, keepdims=True).reshape(shape)
    np.testing.assert_allclose(g, expected, rtol=1e-5)


@settings(max_examples=80, deadline=None)
@given(
  st.lists(st.floats(width=32, allow_nan=False), min_size=8, max_size=8),
  st.floats(-100, 100, width=32),
  st.floats(0.015625, 100, width=32),
  st.sampled_from([0.5, 1.0, 2.0, 8.0]),
  st.sampled_from([0.5, 2.0, 8.0]),
  st.integers(1, 3),
)
def test_finite_everywhere(x, lower, width, sigma, temperature, bits):
  x = jnp.array(x, jnp.float32)

  def total(x, lower, upper):
    y = daq(x, lower, upper, bits, sigma, temperature)
    return y.sum(), y

  grads, y = jax.grad(total, (0, 1, 2), has_aux=True)(
    x, jnp.float32(lower), jnp.float32(lower) + jnp.float32(width)
  )
  assert ((y >= 0) & (y <= 1)).all()
  for g in grads:
    assert jnp.isfinite(g).all()
  # More x never lowers the result: the slopes share one sign.
  assert (grads[0] >= 0).all()


def test_vmap_and_jit_of_the_gradient():
  x = jax.random.normal(jax.random.key(0), (5, 3))
  one_by_one = jnp.stack([_slope(row) for row in x])
  np.testing.assert_allclose(
    jax.jit(jax.vmap(_slope))(x), one_by_one, rtol=1e-6
  )


@pytest.mark.parametrize(
  'options, message',
  [
    ({'bits': 0}, 'bits=0.*at least 1'),
    ({'sigma': 0.0}, 'sigma=0.0.*positive'),
    ({'temperature': -1.0}, 'temperature=-1.0.*positive'),
    ({'lower': 1.0, 'upper': 1.0}, 'lower=1.0, upper=1.0: upper must be above'),
    ({'lower': 2, 'upper': 1.5}, 'lower=2, upper=1.5: upper must be above'),
    (
      {'lower': np.float32(2), 'upper': np.array([3, 1.0])},
      'upper must be above lower',
    ),
  ],
)
def test_options_out_of_range(options, message):
  with pytest.raises(ValueError, match=message):
    daq(jnp.zeros(2), **options)

"""Every lowering gives the native one's numbers, values and gradients."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from gencnp_jax import ops
from tests.reference import layers

NHWC = ('NHWC', 'HWIO', 'NHWC')
SAME, VALID, GROW = ((1, 1), (1, 1)), ((0, 0), (0, 0)), ((2, 2), (2, 2))
CANVAS, WIDE = ((2, 0), (2, 0)), ((3, 3), (3, 3))

# (x, kernel, padding, strides): the kinds that the targets and GEN-CNP use,
# narrow; then maps that are odd, oblong, tiny, and kernels of other sizes.
CASES = [
  ((2, 16, 16, 3), (7, 7, 3, 4), WIDE, (4, 4)),
  ((2, 4, 4, 5), (5, 5, 5, 6), GROW, (1, 1)),
  ((2, 2, 2, 5), (3, 3, 5, 6), SAME, (1, 1)),
  ((2, 4, 4, 5), (3, 3, 5, 6), SAME, (1, 1)),
  ((2, 8, 8, 5), (3, 3, 5, 6), SAME, (1, 1)),
  ((2, 8, 8, 5), (3, 3, 5, 5), VALID, (1, 1)),
  ((2, 4, 4, 5), (3, 3, 5, 5), VALID, (1, 1)),
  ((2, 2, 2, 5), (3, 3, 5, 5), GROW, (1, 1)),
  ((2, 4, 4, 5), (3, 3, 5, 5), GROW, (1, 1)),
  ((2, 4, 4, 5), (3, 3, 5, 5), CANVAS, (1, 1)),
  ((2, 1, 1, 5), (3, 3, 5, 6), SAME, (1, 1)),
  ((2, 3, 3, 5), (3, 3, 5, 6), VALID, (1, 1)),
  ((2, 5, 7, 5), (3, 3, 5, 6), SAME, (1, 1)),
  ((2, 5, 4, 5), (3, 2, 5, 6), ((0, 1), (1, 0)), (1, 1)),
  ((2, 6, 4, 5), (3, 1, 5, 6), VALID, (1, 1)),
  ((2, 2, 2, 5), (5, 5, 5, 6), GROW, (1, 1)),
  ((2, 7, 6, 5), (1, 1, 5, 6), VALID, (2, 1)),
  ((2, 7, 6, 5), (3, 3, 5, 6), SAME, (2, 2)),
]


def draw(seed, *shapes, dtype=np.float32):
  rng = np.random.default_rng(seed)
  return [jnp.asarray(rng.normal(size=s), dtype) for s in shapes]


def native(x, kernel, padding, strides):
  return lax.conv_general_dilated(
    x, kernel, strides, padding, dimension_numbers=NHWC
  )


def all_products(convolve, x, kernel, *arguments):
  """The output and the gradients to the input and to the kernel."""

  def run(x, kernel):
    y, pull = jax.vjp(lambda x, k: convolve(x, k, *arguments), x, kernel)
    weights = jnp.cos(jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
    return y, *pull(weights)

  return jax.jit(run)(x, kernel)


def assert_near(got, expected, tolerance):
  for a, b in zip(got, expected, strict=True):
    assert a.shape == b.shape and a.dtype == b.dtype
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    assert np.abs(a - b).max() <= tolerance * np.abs(b).max()


@pytest.mark.parametrize('case', CASES, ids=str)
def test_lowerings_equal_native(case):
  x, kernel = draw(0, *case[:2])
  expected = all_products(native, x, kernel, *case[2:])
  for name in ('patches', 'winograd'):
    with ops.use_lowering(name):
      got = all_products(ops.conv, x, kernel, *case[2:])
    assert_near(got, expected, 1e-6)


@pytest.mark.parametrize('name', ['native', 'patches', 'winograd'])
def test_equals_the_definition(name):
  for shape, kernel_shape, padding, strides in CASES[2:5]:
    x, kernel = draw(1, shape, kernel_shape)
    with ops.use_lowering(name):
      got = jax.jit(ops.conv, static_argnums=(2, 3))(
        x, kernel, padding, strides
      )
    expected = layers.convolve(x, kernel, padding, strides)
    np.testing.assert_allclose(got, expected, atol=2e-5)


def test_gradients_stay_near_float64_at_full_width():
  """Winograd's sums lose no more digits than the native convolution."""
  x, kernel = draw(2, (32, 4, 4, 128), (3, 3, 128, 128))
  with jax.enable_x64(True):
    exact = all_products(
      native, *(jnp.asarray(a, jnp.float64) for a in (x, kernel)), SAME, (1, 1)
    )
  exact = [np.asarray(a, np.float64) for a in exact]

  def worst(outputs):
    return max(
      np.abs(a - b).max() / np.abs(b).max() for a, b in zip(outputs, exact)
    )

  assert worst(all_products(native, x, kernel, SAME, (1, 1))) < 2e-6
  with ops.use_lowering('winograd'):
    assert worst(all_products(ops.conv, x, kernel, SAME, (1, 1))) < 2e-6


@pytest.mark.parametrize('padding', ['SAME', 'VALID'])
def test_named_paddings(padding):
  x, kernel = draw(3, (2, 6, 5, 4), (3, 2, 4, 3))
  for strides in ((1, 1), (2, 3)):
    with ops.use_lowering('patches'):
      got = ops.conv(x, kernel, padding, strides)
    assert_near([got], [native(x, kernel, padding, strides)], 1e-6)


@pytest.mark.parametrize('dtype', [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize('name', ['patches', 'winograd'])
def test_half_precision_is_summed_in_float32(dtype, name):
  x, kernel = draw(4, (2, 4, 4, 32), (3, 3, 32, 8), dtype=dtype)
  wide = (a.astype(jnp.float32) for a in (x, kernel))
  expected = all_products(native, *wide, SAME, (1, 1))
  with ops.use_lowering(name):
    got = all_products(ops.conv, x, kernel, SAME, (1, 1))
  assert all(a.dtype == dtype for a in got)
  assert_near(
    [a.astype(jnp.float32) for a in got], expected, jnp.finfo(dtype).eps
  )


@pytest.mark.parametrize('name', ['patches', 'winograd'])
def test_transformations(name):
  x, kernel = draw(5, (4, 4, 4, 3), (3, 3, 3, 3))

  def loss(convolve, x, kernel):
    # Twice in a loop, rematerialised: a scan of the gradient's scan.
    @jax.checkpoint
    def body(x, _):
      return jnp.tanh(convolve(x, kernel, SAME, (1, 1))), None

    return (lax.scan(body, x, None, length=2)[0] ** 2).sum()

  def everything(convolve):
    gradient = jax.grad(lambda k: loss(convolve, x, k))
    one = jax.vmap(lambda x: loss(convolve, x[None], kernel))
    tangent = jax.jvp(gradient, (kernel,), (kernel,))
    kernels = jnp.stack([kernel, -kernel])
    per_kernel = jax.vmap(lambda k: loss(convolve, x, k))(kernels)
    return one(x), *tangent, per_kernel

  # As users compile it: second derivatives of tanh round worse without.
  optimised = {'xla_backend_optimization_level': '3'}
  jit = functools.partial(jax.jit, compiler_options=optimised)
  expected = jit(lambda: everything(native))()
  with ops.use_lowering(name):
    got = jit(lambda: everything(ops.conv))()
  assert_near(got, expected, 1e-5)


def test_under_pmap_and_shard_map():
  x, kernel = draw(6, (8, 4, 4, 3), (3, 3, 3, 3))
  expected = native(x, kernel, SAME, (1, 1))

  def run(x, kernel):
    return ops.conv(x, kernel, SAME)

  mesh = Mesh(np.asarray(jax.devices()), ('batch',))
  rows, same = PartitionSpec('batch'), PartitionSpec()
  with ops.use_lowering('winograd'):
    mapped = jax.pmap(run, in_axes=(0, None))(x.reshape(4, 2, 4, 4, 3), kernel)
    sharded = jax.jit(
      jax.shard_map(run, mesh=mesh, in_specs=(rows, same), out_specs=rows)
    )(x, kernel)
  assert_near([mapped.reshape(8, 4, 4, 3), sharded], [expected] * 2, 1e-6)


def test_in_flax():
  x, _ = draw(7, (2, 4, 4, 3), ())
  module = nn.Conv(5, (3, 3), conv_general_dilated=ops.conv_general_dilated)
  variables = module.init(jax.random.key(0), x)
  expected = nn.Conv(5, (3, 3)).apply(variables, x)
  for name in ('auto', 'patches', 'winograd'):
    with ops.use_lowering(name):
      assert_near([module.apply(variables, x)], [expected], 1e-6)


SPECIAL = {
  'input dilation': {'lhs_dilation': (2, 2)},
  'kernel dilation': {'rhs_dilation': (2, 2)},
  'feature groups': {'feature_group_count': 2},
  'batch groups': {'batch_group_count': 2},
  'channels first': {'dimension_numbers': ('NCHW', 'OIHW', 'NCHW')},
  'negative padding': {'padding': ((-1, 0), (0, 0))},
  'wider output': {'preferred_element_type': jnp.float32},
  'integers': {'dtype': jnp.int32},
}


@pytest.mark.parametrize('kind', SPECIAL)
def test_falls_through_to_native(kind):
  arguments = {
    'window_strides': (1, 1),
    'padding': SAME,
    'dimension_numbers': NHWC,
    **SPECIAL[kind],
  }
  dtype = arguments.pop('dtype', jnp.float32)
  if kind == 'wider output':
    dtype = jnp.bfloat16
  shapes = (2, 4, 4, 4), (3, 3, 4, 4)
  if kind == 'feature groups':
    shapes = (2, 4, 4, 4), (3, 3, 2, 4)
  if kind == 'channels first':
    shapes = (2, 4, 4, 4), (4, 4, 3, 3)
  x, kernel = (a.astype(dtype) for a in draw(8, *shapes))
  with ops.use_lowering('winograd'):
    got = ops.conv_general_dilated(x, kernel, **arguments)
  expected = lax.conv_general_dilated(x, kernel, **arguments)
  np.testing.assert_array_equal(got, expected)


def primitives(run, *arguments):
  return {
    equation.primitive.name for equation in jax.make_jaxpr(run)(*arguments).eqns
  }


def test_accelerators_run_the_native_convolution(monkeypatch):
  x, kernel = draw(9, (16, 2, 2, 64), (3, 3, 64, 64))
  run = lambda x, kernel: ops.conv(x, kernel, SAME)  # noqa: E731
  assert 'conv_general_dilated' not in primitives(run, x, kernel)
  monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
  fresh = lambda x, kernel: ops.conv(x, kernel, SAME)  # noqa: E731
  assert primitives(fresh, x, kernel) == {'conv_general_dilated'}


@pytest.mark.parametrize('name', ['patches', 'winograd'])
def test_no_images(name):
  with ops.use_lowering(name):
    y = ops.conv(jnp.zeros((0, 4, 4, 3)), jnp.zeros((3, 3, 3, 2)), SAME)
    assert y.shape == (0, 4, 4, 2)


def test_wrong_channels_are_refused_as_by_jax():
  with pytest.raises(ValueError, match='feature'):
    ops.conv(jnp.zeros((1, 4, 4, 3)), jnp.zeros((3, 3, 4, 2)), SAME)

"""AlexNet and VGG-11: sizes, shapes, initial values, forward, messages."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gencnp_jax import zoo
from gencnp_jax.target import Target
from tests.reference import layers
from tests.reference import zoo as reference

NARROW = {
  'AlexNet': zoo.AlexNet(widths=(4, 6, 5, 7, 6)),
  'VGG11': zoo.VGG11(widths=(4, 3, 5, 4, 6, 5, 4, 6)),
}


def images(count=3, side=32, channels=3):
  rng = np.random.default_rng(side)
  return jnp.asarray(rng.normal(size=(count, side, side, channels)), 'float32')


@functools.cache
def drawn(name, channels=3, classes=10):
  """A narrow model and variables with no zeros in which a fault could hide."""
  model = NARROW[name].clone(num_classes=classes)
  rng = np.random.default_rng(1)

  def fill(path, leaf):
    if path[-1].key in ('var', 'scale'):
      return jnp.asarray(rng.uniform(0.5, 1.5, leaf.shape), leaf.dtype)
    fan_in = np.prod(leaf.shape[:-1])
    return jnp.asarray(rng.normal(size=leaf.shape) / fan_in**0.5, leaf.dtype)

  shapes = jax.eval_shape(
    model.init, jax.random.key(0), images(1, channels=channels)
  )
  return model, jax.tree_util.tree_map_with_path(fill, shapes)


def count(variables):
  return sum(leaf.size for leaf in jax.tree.leaves(variables['params']))


@functools.cache
def full(name):
  model = getattr(zoo, name)()
  # XLA compiles this generator in a fifth of the default one's time.
  key = jax.random.key(0, impl='rbg')
  return model, jax.jit(model.init)(key, images(1))


@pytest.mark.parametrize(
  ('name', 'parameters', 'shapes'),
  [
    (
      'AlexNet',
      2_472_266,
      ((8, 8, 64), (4, 4, 192), (2, 2, 384), (2, 2, 256), (2, 2, 256)),
    ),
    (
      'VGG11',
      9_231_114,
      (
        (32, 32, 64),
        (16, 16, 128),
        *((8, 8, 256),) * 2,
        *((4, 4, 512),) * 2,
        *((2, 2, 512),) * 2,
      ),
    ),
  ],
)
def test_sizes_of_the_paper(name, parameters, shapes):
  model, variables = full(name)
  assert count(variables) == parameters
  target = Target(model.apply, variables)
  assert target.activation_shapes((32, 32, 3)) == shapes


def test_alexnet_starts_as_in_pytorch():
  _, variables = full('AlexNet')
  for layer in variables['params'].values():
    bound = np.prod(layer['kernel'].shape[:-1]) ** -0.5
    for leaf in layer['kernel'], layer['bias']:
      assert np.abs(leaf).max() <= bound
    assert layer['kernel'].min() < -0.99 * bound
    assert layer['bias'].std() > 0.3 * bound
    spread = np.asarray(layer['kernel']).std()
    np.testing.assert_allclose(spread, bound / 3**0.5, rtol=0.05)


def test_vgg11_starts_as_in_the_reference():
  _, variables = full('VGG11')
  for name, layer in variables['params'].items():
    assert not layer['bias'].any()
    if name.startswith('Conv'):
      expected = (2 / (9 * layer['kernel'].shape[-1])) ** 0.5
    elif name.startswith('Dense'):
      expected = 0.01
    else:
      assert (layer['scale'] == 1).all()
      continue
    kernel = np.asarray(layer['kernel'])
    np.testing.assert_allclose(kernel.std(), expected, rtol=0.05)
    # A normal law that is cut off at two deviations ends before this.
    assert np.abs(kernel).max() > 2.3 * expected


def test_alexnet_forward():
  model, variables = drawn('AlexNet')
  got = jax.jit(model.apply)(variables, images())
  expected = reference.alexnet(variables['params'], np.asarray(images()))
  np.testing.assert_allclose(got, expected, atol=1e-5)
  trained = jax.jit(functools.partial(model.apply, train=True))
  np.testing.assert_array_equal(trained(variables, images()), got)


def test_vgg11_forward():
  model, variables = drawn('VGG11')
  got = jax.jit(model.apply)(variables, images())
  expected, _ = reference.vgg11(variables, np.asarray(images()))
  np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)


def test_vgg11_training_statistics():
  model, variables = drawn('VGG11')
  run = jax.jit(
    functools.partial(model.apply, train=True, mutable=['batch_stats'])
  )
  got, new = run(variables, images(8))
  expected, used = reference.vgg11(variables, np.asarray(images(8)), train=True)
  np.testing.assert_allclose(got, expected, rtol=1e-3, atol=1e-4)
  for index, statistics in enumerate(used):
    name = f'BatchNorm_{index}'
    for key, value in zip(('mean', 'var'), statistics):
      old = np.asarray(variables['batch_stats'][name][key])
      np.testing.assert_allclose(
        new['batch_stats'][name][key],
        0.9 * old + 0.1 * value,
        rtol=1e-4,
        atol=1e-5,
      )


def test_vgg11_synchronises_statistics_over_devices():
  plain, variables = drawn('VGG11')
  model = plain.clone(axis_name='batch')
  apply = functools.partial(model.apply, train=True, mutable=['batch_stats'])
  batch = images(8)
  mapped = jax.pmap(apply, axis_name='batch', in_axes=(None, 0))
  logits, new = mapped(variables, batch.reshape(4, 2, *batch.shape[1:]))
  expected, one = jax.jit(
    functools.partial(plain.apply, train=True, mutable=['batch_stats'])
  )(variables, batch)
  np.testing.assert_allclose(logits.reshape(8, -1), expected, atol=1e-3)
  for got, value in zip(*map(jax.tree.leaves, (new, one))):
    np.testing.assert_allclose(
      got, np.broadcast_to(value, got.shape), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize('name', NARROW)
def test_larger_images_keep_the_parameters(name):
  """The last map is averaged, so the linear layer's inputs do not grow."""
  model, variables = drawn(name)
  shapes = jax.eval_shape(model.init, jax.random.key(0), images(1, 64))
  assert jax.tree.map(jnp.shape, variables) == jax.tree.map(jnp.shape, shapes)
  target = Target(model.apply, variables)
  large = images(1, 64)
  logits, activations = jax.jit(target.record)(large)
  assert activations[-1].shape[1:3] == (4, 4)
  last = layers.max_pool(np.asarray(activations[-1])).mean((1, 2))
  dense = jax.tree.map(np.asarray, variables['params']['Dense_0'])
  expected = last @ dense['kernel'] + dense['bias']
  np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('name', NARROW)
def test_number_of_classes_and_channels(name):
  model, variables = drawn(name, channels=1, classes=7)
  logits = jax.eval_shape(model.apply, variables, images(2, channels=1))
  assert logits.shape == (2, 7)


@pytest.mark.parametrize('name', NARROW)
def test_bfloat16_keeps_float32_parameters_and_logits(name):
  plain, variables = drawn(name)
  half = plain.clone(dtype=jnp.bfloat16)
  shapes = jax.eval_shape(half.init, jax.random.key(0), images(1))
  dtypes = {leaf.dtype for leaf in jax.tree.leaves(shapes)}
  assert dtypes == {jnp.dtype('float32')}
  got = jax.jit(half.apply)(variables, images())
  expected = jax.jit(plain.apply)(variables, images())
  assert got.dtype == jnp.float32
  scale = np.abs(expected).max()
  assert 0 < np.abs(got - expected).max() < 0.05 * scale


@pytest.mark.parametrize(
  ('name', 'side', 'nearby'),
  [
    ('AlexNet', 28, r'\[29\]'),
    ('AlexNet', 48, r'\[32, 61\]'),
    ('VGG11', 28, r'\[32\]'),
    ('VGG11', 65, r'\[64, 96\]'),
    ('VGG11', 0, r'\[32\]'),
  ],
)
def test_images_that_the_pools_do_not_fit(name, side, nearby):
  with pytest.raises(ValueError, match=f'{name}.*{side}x{side}.*{nearby}'):
    jax.eval_shape(
      NARROW[name].init,
      jax.random.key(0),
      jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32),
    )


@pytest.mark.parametrize('name', NARROW)
def test_what_is_no_batch_of_normalised_images(name):
  model, variables = drawn(name)
  with pytest.raises(ValueError, match=r'uint8.*normalise'):
    model.apply(variables, jnp.zeros((1, 32, 32, 3), jnp.uint8))
  with pytest.raises(ValueError, match='channels'):
    model.apply(variables, jnp.zeros((32, 32, 3)))

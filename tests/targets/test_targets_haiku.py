"""What is peculiar to Haiku, and what its users get wrong."""

import haiku as hk
import jax
import jax.numpy as jnp
import pytest

from gencnp_jax import Target
from gencnp_jax.target import TargetError
from tests.targets import haiku_net
from tests.targets.example import IMAGES

MODEL = hk.transform_with_state(haiku_net.net)


@pytest.fixture(scope='module')
def variables():
  return jax.eval_shape(
    lambda key: MODEL.init(key, IMAGES, True), jax.random.key(0)
  )


def test_a_transformed_function_without_state_is_an_apply_fn():
  """`hk.without_apply_rng(hk.transform(f)).apply` is (params, images)."""

  def net(images):
    x = jax.nn.relu(hk.Conv2D(5, 3, 2)(images))
    return hk.nets.MLP([7, 4])(x.mean((1, 2)))

  model = hk.without_apply_rng(hk.transform(net))
  params = jax.jit(model.init)(jax.random.key(0), IMAGES)
  target = Target(model.apply, params)
  assert target.activation_shapes((12, 8, 3)) == ((6, 4, 5), (7,))
  assert target(IMAGES).shape == (4, 4)


@pytest.mark.parametrize('state', [True, False])
def test_a_random_key_as_an_argument(variables, state):
  if state:
    target = Target(lambda v, x: MODEL.apply(*v, x), variables)
  else:
    model = hk.transform(lambda x: hk.Linear(3)(x.mean((1, 2))))
    target = Target(model.apply, model.init(jax.random.key(0), IMAGES))
  message = '(?s)called with an RNG.*Haiku: hk.without_apply_rng'
  with pytest.raises(TargetError, match=message):
    target.record(IMAGES)


def test_a_state_that_is_returned(variables):
  model = hk.without_apply_rng(MODEL)
  target = Target(lambda v, x: model.apply(*v, x), variables)
  with pytest.raises(TargetError, match=r'A Haiku.*`logits, _ = ...`'):
    target.record(IMAGES)


@pytest.mark.parametrize(
  'message, key',
  [
    ('stochastic.*Haiku: is_training=False', jax.random.key(0)),
    ('raised MissingRNGError', None),
  ],
)
def test_training_mode(variables, message, key):
  target = Target(lambda v, x: MODEL.apply(*v, key, x, True)[0], variables)
  with pytest.raises(TargetError, match=message):
    target.record(IMAGES)


def test_batch_statistics():
  def net(x):
    return jax.nn.relu(hk.BatchNorm(True, True, 0.9)(x, True)).mean((1, 2))

  model = hk.without_apply_rng(hk.transform_with_state(net))
  variables = jax.eval_shape(model.init, jax.random.key(0), IMAGES)
  target = Target(lambda v, x: model.apply(*v, x)[0], variables)
  with pytest.raises(TargetError, match=r'mixes.*Haiku: is_training=False'):
    target.record(IMAGES)


@pytest.mark.parametrize('layout', ['NHWC', 'NCHW'])
def test_norms_and_pools_in_both_layouts(layout):
  axis = {'NHWC': -1, 'NCHW': 1}[layout]
  window = tuple(1 if i in (0, axis % 4) else 2 for i in range(4))

  def net(images):
    x = hk.Conv2D(6, 3, data_format=layout)(images)
    x = hk.GroupNorm(3, data_format=layout)(x)
    x = jax.nn.relu(hk.InstanceNorm(True, True, data_format=layout)(x))
    x = hk.LayerNorm(axis, True, True, param_axis=axis)(x)
    x = jax.nn.relu(hk.avg_pool(x, window, window, 'VALID', axis))
    x = hk.DepthwiseConv2D(2, 3, data_format=layout)(x)
    return jax.nn.relu(x).mean((1, 2, 3))[:, None]

  model = hk.without_apply_rng(hk.transform(net))
  images = haiku_net.place(IMAGES, layout)
  target = Target(
    lambda v, x: model.apply(v, haiku_net.place(x, layout)),
    jax.eval_shape(model.init, jax.random.key(0), images),
  )
  shapes = ((12, 8, 6), (6, 4, 6), (6, 4, 12))
  assert target.activation_shapes((12, 8, 3)) == shapes


@pytest.mark.parametrize(
  'count, make',
  [
    (17, lambda: hk.nets.ResNet18(10)),
    (17, lambda: hk.nets.ResNet18(10, resnet_v2=True)),
    (27, lambda: hk.nets.MobileNetV1(num_classes=10)),
  ],
)
def test_nets_of_the_library(count, make):
  model = hk.without_apply_rng(
    hk.transform_with_state(lambda x, train=False: make()(x, train))
  )
  images = jax.ShapeDtypeStruct((2, 64, 32, 3), jnp.float32)
  variables = jax.eval_shape(
    lambda key, x: model.init(key, x, train=True), jax.random.key(0), images
  )
  target = Target(lambda v, x: model.apply(*v, x)[0], variables)
  shapes = target.activation_shapes((64, 32, 3))
  assert len(shapes) == count
  # Maps of images that are twice as high as wide, or of one place.
  assert {h // w for h, w, _ in shapes} <= {1, 2}
  assert all(
    channels in (32, 64, 128, 256, 512, 1024) for *_, channels in shapes
  )

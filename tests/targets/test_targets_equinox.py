"""What is peculiar to Equinox, and what its users get wrong."""

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest
from equinox import nn

from gencnp_jax import Target
from gencnp_jax.target import TargetError
from tests.targets import equinox_net
from tests.targets.example import IMAGES

KEYS = iter(jax.random.split(jax.random.key(0), 12))


@pytest.fixture(scope='module')
def training():
  return equinox_net.training()


@pytest.fixture(scope='module')
def frozen(training):
  model, state = training
  return eqx.partition((nn.inference_mode(model), state), eqx.is_array)


def _vmapped(model, state, images, *, axis_name=None, keys=None):
  return jax.vmap(model, (0, None, None), (0, None), axis_name)(
    jnp.moveaxis(images, -1, 1), state, keys
  )


# What users get wrong.


def test_a_model_that_is_not_vmapped(frozen):
  variables, static = frozen

  def apply_fn(variables, images):
    model, state = eqx.combine(variables, static)
    return model(jnp.moveaxis(images, -1, 1), state)[0]

  target = Target(apply_fn, variables)
  for call in target.__call__, target.record:
    with pytest.raises(
      TargetError, match=r'(?s)rank 3.*Equinox: jax.vmap\(model\)'
    ):
      jax.eval_shape(call, IMAGES)


def test_channels_that_are_not_moved(frozen):
  variables, static = frozen

  def apply_fn(variables, images):
    model, state = eqx.combine(variables, static)
    return jax.vmap(model, (0, None), (0, None))(images, state)[0]

  with pytest.raises(TargetError, match=r'(?s)12 // 1 != 3.*jnp.moveaxis'):
    jax.eval_shape(Target(apply_fn, variables).record, IMAGES)


def test_a_state_that_is_returned(frozen):
  variables, static = frozen
  target = Target(lambda v, x: _vmapped(*eqx.combine(v, static), x), variables)
  message = r'logits alone.*Equinox model with state.*`logits, _ = ...`'
  for call in target.__call__, target.record:
    with pytest.raises(TargetError, match=message):
      jax.eval_shape(call, IMAGES)


def test_variables_that_are_no_arrays(training):
  target = Target(lambda v, x: _vmapped(*v, x)[0], training)
  with pytest.raises(
    TargetError, match=r"\[0\].norm.axis_name is 'batch'.*eqx.partition"
  ):
    jax.eval_shape(target.record, IMAGES)


@pytest.mark.parametrize(
  'message, keys, dropout',
  [
    ('RuntimeError.*Dropout requires a key', None, False),
    ('stochastic.*Equinox: eqx.nn.inference_mode', jax.random.key(0), False),
    ('mixes the images.*`psum`.*eqx.nn.inference_mode', None, True),
  ],
)
def test_training_mode(training, message, keys, dropout):
  model, state = training
  model = eqx.tree_at(lambda m: m.dropout.inference, model, dropout)
  variables, static = eqx.partition((model, state), eqx.is_array)

  def apply_fn(variables, images):
    model, state = eqx.combine(variables, static)
    return _vmapped(model, state, images, axis_name='batch', keys=keys)[0]

  with pytest.raises(TargetError, match=f'(?s){message}'):
    jax.eval_shape(Target(apply_fn, variables).record, IMAGES)


# The layout is seen in whatever is between a convolution and a ReLU.

CONV = nn.Conv2d(3, 5, 3, padding=1, key=next(KEYS))
MIX = nn.Linear(5, 7, key=next(KEYS))
MADE = {
  'pool': (nn.MaxPool2d(2, 2), (6, 4, 5)),
  'pool with a rest': (nn.MaxPool2d(3, 2, 1, use_ceil=True), (7, 5, 5)),
  'mean pool': (nn.AvgPool2d(2, 2), (6, 4, 5)),
  'adaptive pool': (nn.AdaptiveAvgPool2d((4, 2)), (4, 2, 5)),
  'uneven adaptive pool': (nn.AdaptiveMaxPool2d((5, 3)), (5, 3, 5)),
  'group norm': (nn.GroupNorm(5, 5), (12, 8, 5)),
  'layer norm': (nn.LayerNorm((5, 12, 8)), (12, 8, 5)),
  'rms norm': (nn.RMSNorm((5, 12, 8)), (12, 8, 5)),
  'weight norm': (
    nn.WeightNorm(nn.Conv2d(5, 6, 1, key=next(KEYS))),
    (12, 8, 6),
  ),
  '1 x 1': (nn.Conv2d(5, 6, 1, key=next(KEYS)), (12, 8, 6)),
  'one channel': (nn.Conv2d(5, 1, 1, key=next(KEYS)), (12, 8, 1)),
  'one place': (nn.Conv2d(5, 6, (12, 8), key=next(KEYS)), (1, 1, 6)),
  'depthwise': (nn.Conv2d(5, 10, 3, groups=5, key=next(KEYS)), (10, 6, 10)),
  'dilated': (nn.Conv2d(5, 6, 3, dilation=2, key=next(KEYS)), (8, 4, 6)),
  'reflected': (
    nn.Conv2d(5, 6, 3, padding=1, padding_mode='REFLECT', key=next(KEYS)),
    (12, 8, 6),
  ),
  'transposed': (nn.ConvTranspose2d(5, 6, 2, 2, key=next(KEYS)), (24, 16, 6)),
  'prelu': (nn.PReLU(), (12, 8, 5)),
  'residual': (lambda x: x + nn.Identity()(jax.nn.tanh(x)), (12, 8, 5)),
  'concatenated': (lambda x: jnp.concatenate([x, -x]), (12, 8, 10)),
  'linear over channels': (
    jax.vmap(jax.vmap(MIX, 1, 1), 2, 2),
    (12, 8, 7),
  ),
  'tokens and back': (
    lambda x: jax.vmap(MIX)(x.reshape(5, 96).T).T.reshape(7, 12, 8),
    (12, 8, 7),
  ),
  'resized': (
    lambda x: jax.image.resize(x, (5, 24, 16), 'bilinear'),
    (24, 16, 5),
  ),
  'checkpoint': (eqx.filter_checkpoint(nn.MaxPool2d(2, 2)), (6, 4, 5)),
  'jit': (eqx.filter_jit(nn.MaxPool2d(2, 2)), (6, 4, 5)),
  'dropout': (nn.Dropout(inference=True), (12, 8, 5)),
}


@pytest.mark.parametrize('name', MADE)
def test_channels_first_are_seen(name):
  layer, shape = MADE[name]

  def model(image):
    return jax.nn.relu(layer(CONV(image))).mean((1, 2))

  def apply_fn(_, images):
    return jax.vmap(model)(jnp.moveaxis(images, -1, 1))

  # One image has a batch axis that looks like any unit axis.
  for images in IMAGES, IMAGES[:1]:
    _, activations = jax.eval_shape(Target(apply_fn, ()).record, images)
    assert [a.shape[1:] for a in activations] == [shape]


def test_tapped_functions_of_one_image():
  """`vmap` around the model is none around the name."""

  def model(x):
    x = jax.nn.gelu(CONV(x))
    x = jax.nn.relu(nn.MaxPool2d(2, 2)(jax.nn.leaky_relu(x)))
    return jax.nn.tanh(MIX(x.mean((1, 2))))

  target = Target(
    lambda _, images: jax.vmap(model)(jnp.moveaxis(images, -1, 1)),
    (),
    tap=('leaky_relu', 'gelu', 'tanh'),
  )
  assert target.describe((12, 8, 3)) == '\n'.join(
    [
      'index  kind        shape       neurons',
      '    0  gelu        12 x 8 x 5      480',
      '    1  leaky_relu  12 x 8 x 5      480',
      '    2  tanh        7                 7',
      'total                              967',
      'not tapped: relu x 1 (name them in tap=)',
    ]
  )

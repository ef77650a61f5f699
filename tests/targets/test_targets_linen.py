"""What is peculiar to Flax Linen, and what its users get wrong."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gencnp_jax import Target
from gencnp_jax.target import TargetError
from tests.targets import linen_net
from tests.targets.example import IMAGES, SHAPES

MODEL = linen_net.Net()


@pytest.fixture(scope='module')
def variables():
  return linen_net.variables_of(MODEL)


def test_what_is_recorded_are_captured_intermediates(variables):
  """The stem's and the head's ReLU are `max(x, 0)` of a module's output."""
  _, state = MODEL.apply(
    variables, IMAGES, capture_intermediates=True, mutable=['intermediates']
  )
  _, activations = jax.jit(lambda t, x: t.record(x))(
    Target(MODEL.apply, variables), IMAGES
  )
  for layer, name in (0, 'BatchNorm_0'), (1, 'BatchNorm_1'), (5, 'Dense_0'):
    (before,) = state['intermediates'][name]['__call__']
    np.testing.assert_allclose(
      activations[layer], np.maximum(before, 0), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
  'message, options',
  [
    ('ModifyScopeVariableError.*Flax Linen: model.apply, train=False', {}),
    ('stochastic.*Flax Linen: train=False', {'mutable': ['batch_stats']}),
  ],
)
def test_training_mode(variables, message, options):
  def apply_fn(variables, images):
    out = MODEL.apply(
      variables,
      images,
      train=True,
      rngs={'dropout': jax.random.key(0)},
      **options,
    )
    return out[0] if options else out

  with pytest.raises(TargetError, match=f'(?s){message}'):
    Target(apply_fn, variables).record(IMAGES)


def test_mutable_returns_more_than_logits(variables):
  target = Target(
    lambda v, x: MODEL.apply(v, x, mutable=['batch_stats']), variables
  )
  with pytest.raises(TargetError, match='call it without `mutable=`'):
    target(IMAGES)


def test_images_of_another_depth(variables):
  target = Target(MODEL.apply, variables)
  message = r'raised ScopeParamShapeError for images of shape \(4, 12, 8, 2\)'
  for call in target, target.record:
    with pytest.raises(TargetError, match=message) as caught:
      call(IMAGES[..., :2])
    assert 'Conv_0' in str(caught.value.__cause__)


def test_a_convnext_block_and_its_gelus():
  class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
      y = nn.Conv(6, (3, 3), feature_group_count=6)(nn.Conv(6, (2, 2), 2)(x))
      y = nn.gelu(nn.Dense(24)(nn.LayerNorm()(y)))
      return nn.Dense(5)(nn.relu(nn.Dense(6)(y)).mean((1, 2)))

  variables = jax.eval_shape(Block().init, jax.random.key(0), IMAGES)
  target = Target(Block().apply, variables, tap=('relu', 'gelu'))
  assert target.activation_shapes((12, 8, 3)) == ((6, 4, 24), (6, 4, 6))


@pytest.mark.parametrize('lift', [nn.remat, nn.jit])
def test_lifted_modules(lift, variables):
  lifted = lift(linen_net.Net, static_argnums=(2, 3))()
  target = Target(lambda v, x: lifted.apply(v, x, False, nn.relu), variables)
  assert target.activation_shapes((12, 8, 3)) == SHAPES


def test_a_scan_over_blocks_is_refused():
  class Block(nn.Module):
    @nn.compact
    def __call__(self, x, _):
      return nn.relu(nn.Dense(3)(x)), None

  blocks = nn.scan(
    Block,
    variable_axes={'params': 0},
    split_rngs={'params': True},
    length=4,
  )()
  variables = jax.eval_shape(blocks.init, jax.random.key(0), jnp.ones(3), None)
  target = Target(
    lambda v, x: blocks.apply(v, x.mean((1, 2)), None)[0], variables
  )
  with pytest.raises(TargetError, match=r'ReLU inside `scan`.*unrolled'):
    target.activation_shapes((12, 8, 3))

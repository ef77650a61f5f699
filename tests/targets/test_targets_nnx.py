"""What is peculiar to Flax NNX, and what its users get wrong."""

import jax
import numpy as np
import pytest
from flax import nnx

from gencnp_jax import Target
from gencnp_jax.target import TargetError
from tests.targets import nnx_net
from tests.targets.example import IMAGES, SHAPES


@pytest.fixture(scope='module')
def training():
  return nnx_net.training()


def _set(model, **modes):
  """A copy of a model with its attributes of some modules set."""
  model = nnx.clone(model)
  model.set_attributes(**modes, raise_if_not_found=False)
  return model


def _target(model):
  graph, state = nnx.split(model)

  def apply_fn(state, images):
    return nnx.merge(graph, state)(images)

  return Target(apply_fn, state)


@pytest.mark.parametrize(
  'message, modes',
  [
    ('stochastic.*NNX: model.eval()', {'use_running_average': True}),
    ('mixes the images.*NNX: model.eval()', {'deterministic': True}),
    ('stochastic.*NNX: model.eval()', {}),
  ],
)
def test_training_mode(training, message, modes):
  target = _target(_set(training, **modes))
  with pytest.raises(TargetError, match=message):
    target.record(IMAGES)
  # Nothing has leaked into the model.
  jax.block_until_ready(jax.tree.leaves(target.variables))


def test_a_model_may_be_the_variables_or_closed_over(training):
  model = _set(training, use_running_average=True, deterministic=True)
  run = jax.jit(lambda target: target(IMAGES))
  direct = Target(nnx_net.Net.__call__, model)
  closed = Target(lambda _, images: model(images), ())
  for target in direct, closed:
    assert target.activation_shapes((12, 8, 3)) == SHAPES
  np.testing.assert_allclose(run(direct), run(_target(model)), rtol=1e-6)


def test_training_mode_of_a_model_that_is_closed_over(training):
  target = Target(lambda _, images: training(images), ())
  with pytest.raises(TargetError, match=r'(?s)TraceContextError.*model.eval()'):
    target.record(IMAGES)


def test_other_activations_and_norms():
  class Net(nnx.Module):
    def __init__(self, rngs):
      self.conv = nnx.Conv(3, 6, (3, 3), (2, 2), rngs=rngs)
      self.norms = nnx.List(
        [
          nnx.LayerNorm(6, rngs=rngs),
          nnx.GroupNorm(6, num_groups=2, rngs=rngs),
          nnx.InstanceNorm(6, rngs=rngs),
          nnx.RMSNorm(6, rngs=rngs),
        ]
      )
      self.out = nnx.Linear(6, 5, rngs=rngs)

    def __call__(self, x):
      x = nnx.silu(self.conv(x))
      for norm in self.norms:
        x = norm(x)
      return self.out(nnx.leaky_relu(nnx.relu(x)).mean((1, 2)))

  graph, state = nnx.split(nnx.eval_shape(lambda: Net(nnx.Rngs(0))))
  target = Target(lambda s, x: nnx.merge(graph, s)(x), state)
  assert target.activation_shapes((12, 8, 3)) == ((6, 4, 6),)
  assert 'not tapped: silu x 1, leaky_relu x 1' in target.describe((12, 8, 3))

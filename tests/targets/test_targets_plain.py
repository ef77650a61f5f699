"""Plain functions: however they are made, they are traced once."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gencnp_jax import Target, explainers
from gencnp_jax.target import TargetError
from tests.targets.example import IMAGES

WEIGHTS = jax.random.normal(jax.random.key(1), (3, 7))
calls = []


@jax.jit
def squared_relu(x):
  return jnp.maximum(x, 0) ** 2


def _net(weights, images):
  calls.append(images.shape)
  x = jax.nn.relu(images @ weights).mean((1, 2))
  return squared_relu(x - 0.5)


@dataclasses.dataclass
class _Callable:
  """Equal by value, so without a hash."""

  gain: float

  def __call__(self, weights, images):
    return self.gain * _net(weights, images)

  def method(self, weights, images):
    return self(weights, images)


def _scaled(weights, images, gain):
  return gain * _net(weights, images)


MADE = {
  'function': lambda: _net,
  'lambda': lambda: lambda w, x: _net(w, x),
  'partial': lambda: functools.partial(_scaled, gain=2.0),
  'partial of an array': lambda: functools.partial(
    _scaled, gain=jnp.arange(1.0, 8.0)[None]
  ),
  'tree_util.Partial': lambda: jax.tree_util.Partial(_scaled, gain=2.0),
  'jit': lambda: jax.jit(lambda w, x: _net(w, x)),
  'object without a hash': lambda: _Callable(2.0),
  'method of it': lambda: _Callable(2.0).method,
}


@pytest.mark.parametrize('name', MADE)
def test_any_function_is_traced_once(name):
  apply_fn = MADE[name]()
  target = Target(apply_fn, WEIGHTS)
  images = IMAGES[:3]  # `_net` may have been traced, on no three images.
  calls.clear()
  for scale in 1.0, 2.0:
    other = target.replace(variables=WEIGHTS * scale)
    masks = [jnp.ones((3, *s)) for s in other.activation_shapes((12, 8, 3))]
    logits, activations = other.record(images)
    assert [a.shape for a in activations] == [(3, 12, 8, 7), (3, 7)]
    np.testing.assert_array_equal(other.masked(images, masks), logits)
  # Two batch sizes of two shapes at most; the weights do not matter.
  assert len(calls) <= 4
  calls.clear()
  run = jax.jit(lambda target: target.record(images)[0])
  run(target)
  traced = len(calls)
  run(Target(apply_fn, WEIGHTS * 3))
  assert len(calls) == traced


def test_a_function_without_a_hash_is_shown_as_itself():
  target = Target(_Callable(3.0), WEIGHTS)
  assert '_Callable(gain=3.0)' in repr(target.apply_fn)
  assert target.apply_fn == target.replace().apply_fn
  assert target.apply_fn != Target(_Callable(3.0), WEIGHTS).apply_fn


def test_jit_takes_a_target_as_a_function_or_as_an_argument():
  target = Target(_net, WEIGHTS)
  expected = target(IMAGES)
  for run in (jax.jit(target), lambda x: jax.jit(lambda t, x: t(x))(target, x)):
    np.testing.assert_allclose(run(IMAGES), expected, atol=1e-5)


def test_a_jitted_function_of_ones_own_is_tapped_by_its_name():
  target = Target(_net, WEIGHTS, tap=('relu', 'squared_relu'))
  logits, activations = target.record(IMAGES)
  np.testing.assert_array_equal(activations[1], logits)
  assert target.activation_shapes((12, 8, 3)) == ((12, 8, 7), (7,))
  assert target.describe((12, 8, 3)) == '\n'.join(
    [
      'index  kind          shape       neurons',
      '    0  relu          12 x 8 x 7      672',
      '    1  squared_relu  7                 7',
      'total                                679',
    ]
  )
  masks = (jnp.ones((12, 8, 7)), jnp.zeros(7).at[2].set(1))
  np.testing.assert_array_equal(
    target.masked(IMAGES, masks), np.asarray(logits) * (np.arange(7) == 2)
  )
  kept = explainers.NeuronMCT(target, 0.9)(IMAGES).masks
  assert [m.shape for m in kept] == [(4, 12, 8, 7), (4, 7)]


def test_an_error_of_ones_own_is_told_with_its_cause():
  def apply_fn(weights, images):
    raise KeyError('no such layer')

  for call in 'record', '__call__':
    with pytest.raises(
      TargetError, match=r'raised KeyError.*no such layer'
    ) as e:
      getattr(Target(apply_fn, WEIGHTS), call)(IMAGES)
    assert isinstance(e.value.__cause__, KeyError)


def test_python_branches_on_values_are_told():
  def apply_fn(weights, images):
    return _net(weights, images) if images.sum() > 0 else weights

  with pytest.raises(TargetError, match='TracerBoolConversionError'):
    Target(apply_fn, WEIGHTS).record(IMAGES)

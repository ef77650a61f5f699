"""A residual net of `jax.lax` alone: a function and a dictionary."""

import jax
import jax.numpy as jnp
from jax import lax

from gencnp_jax import Target
from tests.targets.example import BLOCKS, Example, Gated, filled


def _conv(weights, x, stride=1):
  y = lax.conv_general_dilated(
    x,
    weights['w'],
    (stride, stride),
    'SAME',
    dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
  )
  return y + weights['b']


def net(weights, x, act=jax.nn.relu):
  """Convolutions, residual ReLUs, an MLP head."""
  window = (1, 2, 2, 1)
  x = act(_conv(weights['stem'], x))
  x = lax.reduce_window(x, -jnp.inf, lax.max, window, window, 'VALID')
  for i, (_, stride) in enumerate(BLOCKS):
    block = weights[f'block_{i}']
    y = _conv(block['conv_2'], act(_conv(block['conv_1'], x, stride)))
    x = _conv(block['shortcut'], x, stride) if 'shortcut' in block else x
    x = act(x + y)
  x = act(x.mean((1, 2)) @ weights['hidden']['w'] + weights['hidden']['b'])
  return x @ weights['out']['w'] + weights['out']['b']


def weights():
  """Random weights."""

  def layer(*shape):
    bias = (1,) * (len(shape) - 1) + shape[-1:]
    return {
      'w': jax.ShapeDtypeStruct(shape, jnp.float32),
      'b': jax.ShapeDtypeStruct(bias, jnp.float32),
    }

  tree, inputs = {'stem': layer(3, 3, 3, 4)}, 4
  for i, (features, stride) in enumerate(BLOCKS):
    block = {
      'conv_1': layer(3, 3, inputs, features),
      'conv_2': layer(1, 1, features, features),
    }
    if stride > 1:
      block['shortcut'] = layer(1, 1, inputs, features)
    tree[f'block_{i}'], inputs = block, features
  return filled(tree | {'hidden': layer(inputs, 5), 'out': layer(5, 3)})


def make() -> Example:
  variables = weights()
  target = Target(net, variables)

  def by_hand(gates, images):
    act = Gated(gates)
    return net(variables, images, act), act.seen

  return Example(target, by_hand)

"""A residual net in Haiku, channels last or first."""

import functools

import haiku as hk
import jax
import jax.numpy as jnp

from gencnp_jax import Target
from tests.targets.example import BLOCKS, IMAGES, Example, Gated, filled


def net(x, train=False, layout='NHWC', act=jax.nn.relu):
  """Convolutions, BatchNorm, residual ReLUs, an MLP head with dropout."""
  conv = functools.partial(hk.Conv2D, data_format=layout)
  channels = 1 if layout == 'NCHW' else -1

  def norm(x):
    make = hk.BatchNorm(
      True,
      True,
      decay_rate=0.9,
      data_format='N...C' if channels == -1 else 'NC...',
    )
    return make(x, is_training=train)

  x = act(norm(conv(4, 3)(x)))
  window = (1, 1, 2, 2) if layout == 'NCHW' else (1, 2, 2, 1)
  x = hk.max_pool(x, window, window, 'SAME')
  for features, stride in BLOCKS:
    y = act(norm(conv(features, 3, stride)(x)))
    y = norm(conv(features, 1)(y))
    if x.shape != y.shape:
      x = conv(features, 1, stride)(x)
    x = act(x + y)
  x = x.mean((2, 3) if layout == 'NCHW' else (1, 2))
  x = act(hk.Linear(5)(x))
  if train:
    x = hk.dropout(hk.next_rng_key(), 0.5, x)
  return hk.Linear(3)(x)


def place(images, layout):
  """Images as the net takes them."""
  return jnp.moveaxis(images, -1, 1) if layout == 'NCHW' else images


def variables_of(layout='NHWC'):
  """Random parameters and state."""

  def init(key):
    images = place(IMAGES, layout)
    return hk.transform_with_state(net).init(key, images, True, layout)

  return filled(jax.eval_shape(init, jax.random.key(1)))


def make(layout='NHWC') -> Example:
  params, state = variables_of(layout)
  model = hk.without_apply_rng(hk.transform_with_state(net))

  def apply_fn(variables, images):
    logits, _ = model.apply(*variables, place(images, layout), layout=layout)
    return logits

  target = Target(apply_fn, (params, state))

  def by_hand(gates, images):
    act = Gated(gates, -3 if layout == 'NCHW' else -1)
    logits, _ = model.apply(
      params, state, place(images, layout), layout=layout, act=act
    )
    return logits, act.seen

  return Example(target, by_hand)

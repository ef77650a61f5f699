"""A residual net in Flax Linen."""

import functools

import flax.linen as nn
import jax

from gencnp_jax import Target
from tests.targets.example import BLOCKS, IMAGES, Example, Gated, filled


class Net(nn.Module):
  """Convolutions, BatchNorm, residual ReLUs, an MLP head with dropout."""

  @nn.compact
  def __call__(self, x, train=False, act=nn.relu):
    norm = functools.partial(nn.BatchNorm, use_running_average=not train)
    x = act(norm()(nn.Conv(4, (3, 3))(x)))
    x = nn.max_pool(x, (2, 2), (2, 2))
    for features, stride in BLOCKS:
      y = act(norm()(nn.Conv(features, (3, 3), stride)(x)))
      y = norm()(nn.Conv(features, (1, 1))(y))
      if x.shape != y.shape:
        x = nn.Conv(features, (1, 1), stride)(x)
      x = act(x + y)
    x = act(nn.Dense(5)(x.mean((1, 2))))
    x = nn.Dropout(0.5, deterministic=not train)(x)
    return nn.Dense(3)(x)


def variables_of(model):
  """Random parameters and statistics."""
  return filled(jax.eval_shape(model.init, jax.random.key(1), IMAGES))


def make() -> Example:
  model, variables = Net(), variables_of(Net())
  target = Target(model.apply, variables)

  def by_hand(gates, images):
    act = Gated(gates)
    return model.apply(variables, images, act=act), act.seen

  return Example(target, by_hand)

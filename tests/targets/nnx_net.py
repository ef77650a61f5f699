"""A residual net in Flax NNX."""

import functools

from flax import nnx

from gencnp_jax import Target
from tests.targets.example import BLOCKS, Example, Gated, filled


class Block(nnx.Module):
  def __init__(self, inputs, features, stride, *, rngs):
    conv = functools.partial(nnx.Conv, rngs=rngs)
    self.conv_1 = conv(inputs, features, (3, 3), stride)
    self.norm_1 = nnx.BatchNorm(features, rngs=rngs)
    self.conv_2 = conv(features, features, (1, 1))
    self.norm_2 = nnx.BatchNorm(features, rngs=rngs)
    self.shortcut = (
      conv(inputs, features, (1, 1), stride) if stride > 1 else lambda x: x
    )

  def __call__(self, x, act):
    y = act(self.norm_1(self.conv_1(x)))
    return act(self.shortcut(x) + self.norm_2(self.conv_2(y)))


class Net(nnx.Module):
  """Convolutions, BatchNorm, residual ReLUs, an MLP head with dropout."""

  def __init__(self, *, rngs):
    self.conv = nnx.Conv(3, 4, (3, 3), rngs=rngs)
    self.norm = nnx.BatchNorm(4, rngs=rngs)
    inputs, blocks = 4, []
    for features, stride in BLOCKS:
      blocks.append(Block(inputs, features, stride, rngs=rngs))
      inputs = features
    self.blocks = nnx.List(blocks)
    self.hidden = nnx.Linear(inputs, 5, rngs=rngs)
    self.dropout = nnx.Dropout(0.5, rngs=rngs)
    self.out = nnx.Linear(5, 3, rngs=rngs)

  def __call__(self, x, act=nnx.relu):
    x = act(self.norm(self.conv(x)))
    x = nnx.max_pool(x, (2, 2), (2, 2))
    for block in self.blocks:
      x = block(x, act)
    x = act(self.hidden(x.mean((1, 2))))
    return self.out(self.dropout(x))


def training() -> Net:
  """A model in training mode, with random parameters and statistics."""
  graph, state = nnx.split(nnx.eval_shape(lambda: Net(rngs=nnx.Rngs(0))))
  return nnx.merge(graph, filled(state))


def make() -> Example:
  model = training()
  model.eval()
  graph, state = nnx.split(model)

  def apply_fn(state, images):
    return nnx.merge(graph, state)(images)

  target = Target(apply_fn, state)

  def by_hand(gates, images):
    act = Gated(gates)
    return nnx.merge(graph, state)(images, act), act.seen

  return Example(target, by_hand)

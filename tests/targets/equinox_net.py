"""A residual net in Equinox: one image, channels first, BatchNorm's state."""

import equinox as eqx
import jax
import jax.numpy as jnp
from equinox import nn

from gencnp_jax import Target
from tests.targets.example import BLOCKS, Example, Gated, filled


def _norm(channels):
  return nn.BatchNorm(channels, 'batch', momentum=0.5, mode='batch')


class Block(eqx.Module):
  conv_1: nn.Conv2d
  norm_1: nn.BatchNorm
  conv_2: nn.Conv2d
  norm_2: nn.BatchNorm
  shortcut: nn.Conv2d | nn.Identity

  def __init__(self, inputs, channels, stride, key):
    a, b, c = jax.random.split(key, 3)
    self.conv_1 = nn.Conv2d(inputs, channels, 3, stride, padding=1, key=a)
    self.norm_1 = _norm(channels)
    self.conv_2 = nn.Conv2d(channels, channels, 1, key=b)
    self.norm_2 = _norm(channels)
    self.shortcut = (
      nn.Conv2d(inputs, channels, 1, stride, key=c)
      if stride > 1
      else nn.Identity()
    )

  def __call__(self, x, state, act):
    y, state = self.norm_1(self.conv_1(x), state)
    y, state = self.norm_2(self.conv_2(act(y)), state)
    return act(self.shortcut(x) + y), state


class Net(eqx.Module):
  """Convolutions, BatchNorm, residual ReLUs, an MLP head with dropout."""

  conv: nn.Conv2d
  norm: nn.BatchNorm
  pool: nn.MaxPool2d
  blocks: list[Block]
  hidden: nn.Linear
  dropout: nn.Dropout
  out: nn.Linear

  def __init__(self, key):
    keys = iter(jax.random.split(key, 5))
    self.conv = nn.Conv2d(3, 4, 3, padding=1, key=next(keys))
    self.norm = _norm(4)
    self.pool = nn.MaxPool2d(2, 2)
    inputs, self.blocks = 4, []
    for channels, stride in BLOCKS:
      self.blocks.append(Block(inputs, channels, stride, next(keys)))
      inputs = channels
    self.hidden = nn.Linear(inputs, 5, key=next(keys))
    self.dropout = nn.Dropout(0.5)
    self.out = nn.Linear(5, 3, key=next(keys))

  def __call__(self, x, state, key=None, act=jax.nn.relu):
    x, state = self.norm(self.conv(x), state)
    x = self.pool(act(x))
    for block in self.blocks:
      x, state = block(x, state, act)
    x = act(self.hidden(x.mean((1, 2))))
    return self.out(self.dropout(x, key=key)), state


def training():
  """A model in training mode and its state, with random arrays."""
  model, state = eqx.filter_eval_shape(
    nn.make_with_state(Net), jax.random.key(1)
  )
  is_struct = lambda x: isinstance(x, jax.ShapeDtypeStruct)  # noqa: E731
  weights, rest = eqx.partition(model, is_struct)
  # The state holds means beside the variances; they may be positive too.
  return eqx.combine(filled(weights), rest), filled(state, low=0.5)


def make() -> Example:
  model, state = training()
  model = nn.inference_mode(model)
  variables, static = eqx.partition((model, state), eqx.is_array)

  def apply_fn(variables, images):
    model, state = eqx.combine(variables, static)
    images = jnp.moveaxis(images, -1, 1)
    logits, _ = jax.vmap(model, in_axes=(0, None), out_axes=(0, None))(
      images, state
    )
    return logits

  target = Target(apply_fn, variables)

  def by_hand(gates, images):
    rows = []
    for i, image in enumerate(images):
      act = Gated([g[i] for g in gates], channels=0)
      logits, _ = model(jnp.moveaxis(image, -1, 0), state, act=act)
      rows.append((logits, act.seen))
    return jax.tree.map(lambda *row: jnp.stack(row), *rows)

  return Example(target, by_hand)

"""What every library's net gives to the tests that all of them pass."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gencnp_jax import Target

IMAGES = jax.random.normal(jax.random.key(0), (4, 12, 8, 3))
# Stem; two residual blocks, the second with a stride; the ReLU of the head.
SHAPES = ((12, 8, 4), (6, 4, 4), (6, 4, 4), (3, 2, 6), (3, 2, 6), (5,))
BLOCKS = ((4, 1), (6, 2))
"""(channels, stride) of the residual blocks."""


@dataclasses.dataclass
class Example:
  """A target, and the same net run by its library's own means.

  `by_hand(gates, images)` gives the logits and the activations in NHWC, each
  multiplied by its gate as soon as the library has computed it.
  """

  target: Target
  by_hand: Callable[[Any, jax.Array], tuple[jax.Array, list[jax.Array]]]


class Gated:
  """A ReLU that multiplies by gates and remembers, to be put into a net."""

  def __init__(self, gates, channels: int = -1):
    self.gates, self.channels, self.seen = gates, channels, []

  def __call__(self, x):
    a = jax.nn.relu(x)
    # Channels are first in maps alone; a fully connected layer has no others.
    axis = self.channels if a.ndim >= 3 else -1
    a = jnp.moveaxis(a, axis, -1) * self.gates[len(self.seen)]
    self.seen.append(a)
    return jnp.moveaxis(a, -1, axis)


def ones(batch: int) -> list[jax.Array]:
  """Gates that change nothing."""
  return [jnp.ones((batch, *shape)) for shape in SHAPES]


def filled(structs, low=None):
  """Arrays for shapes: normal, or uniform from `low` as all variances are.

  Drawn by NumPy, as compiling the draws would take longer than all the rest.
  """
  rng = np.random.default_rng(7)

  def fill(path, struct):
    if jnp.issubdtype(struct.dtype, jax.dtypes.prng_key):
      return jax.random.key(0)
    if jnp.issubdtype(struct.dtype, jnp.integer):
      return jnp.ones(struct.shape, struct.dtype)
    if low is not None or 'var' in jax.tree_util.keystr(path):
      array = rng.uniform(low or 0.5, 2, struct.shape)
    else:
      array = 0.5 * rng.normal(size=struct.shape)
    return jnp.asarray(array, struct.dtype)

  return jax.tree_util.tree_map_with_path(fill, structs)

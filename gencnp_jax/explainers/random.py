"""Random pathways, the floor of every comparison."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from gencnp_jax.explainers.base import Scored, ScoredExplainer


@struct.dataclass
class Random(ScoredExplainer):
  """Keeps neurons drawn uniformly, the same number as every other method."""

  def scores(
    self, index: jax.Array, images: jax.Array, classes: jax.Array
  ) -> Scored:
    """Returns equal scores: the draw among equals decides alone."""
    del index, classes
    shapes = self.target.activation_shapes(images.shape[1:])
    equal = tuple(jnp.zeros((images.shape[0], *shape)) for shape in shapes)
    return Scored(self.target(images), equal)

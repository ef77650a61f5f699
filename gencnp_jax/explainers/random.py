"""Random pathways, the floor of every comparison."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from gencnp_jax.explainers.base import ScoredExplainer
from gencnp_jax.target import Arrays


@struct.dataclass
class Random(ScoredExplainer):
  """Keeps neurons drawn uniformly, the same number as every other method."""

  def scores(self, images: jax.Array, classes: jax.Array) -> Arrays:
    """Returns equal scores: the draw among equals decides alone."""
    del classes
    shapes = self.target.activation_shapes(images.shape[1:])
    return tuple(jnp.zeros((images.shape[0], *shape)) for shape in shapes)

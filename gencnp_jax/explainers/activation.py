"""Original Activation: magnitude pruning."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from gencnp_jax.explainers.base import ScoredExplainer
from gencnp_jax.target import Arrays


@struct.dataclass
class OriginalActivation(ScoredExplainer):
  """Keeps the neurons of largest activation (LeCun et al. 1989 in the paper)."""

  @property
  def name(self) -> str:
    """The method's name in tables."""
    return 'Original Activation'

  def scores(self, images: jax.Array, classes: jax.Array) -> Arrays:
    """Returns the activations A."""
    del classes
    return tuple(a.astype(jnp.float32) for a in self.target.record(images)[1])

"""Original Activation: magnitude pruning."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from gencnp_jax.explainers.base import Scored, ScoredExplainer


@struct.dataclass
class OriginalActivation(ScoredExplainer):
  """Keeps the neurons of largest activation (LeCun et al. 1989 in the paper)."""

  @property
  def name(self) -> str:
    """The method's name in tables."""
    return 'Original Activation'

  def scores(
    self, index: jax.Array, images: jax.Array, classes: jax.Array
  ) -> Scored:
    """Returns the activations A."""
    del index, classes
    logits, activations = self.target.record(images)
    return Scored(logits, tuple(a.astype(jnp.float32) for a in activations))

"""NeuronMCT: first-order Taylor importance of every neuron."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from gencnp_jax.explainers.base import ScoredExplainer
from gencnp_jax.target import Arrays


@struct.dataclass
class NeuronMCT(ScoredExplainer):
  """Scores |a * dz_c / da|, all layers in one forward and one backward pass.

  With a stand-in for off neurons it is |(a - off) * dz_c / da|, the first-order
  effect of switching the neuron off.

  References:
    Khakzar et al. Neural Response Interpretation through the Lens of Critical
    Pathways. CVPR 2021.
  """

  def scores(self, images: jax.Array, classes: jax.Array) -> Arrays:
    """Returns the scores; z_c is the logit of the class to explain."""

    def class_logits(gates):
      logits = self.target.masked(images, gates, self.off)
      return jnp.take_along_axis(logits, classes[:, None], axis=1).sum()

    # The gradient of a gate at 1 is a * dz/da: no second pass for a.
    shapes = self.target.activation_shapes(images.shape[1:])
    gates = tuple(jnp.ones((images.shape[0], *shape)) for shape in shapes)
    return tuple(jnp.abs(g) for g in jax.grad(class_logits)(gates))

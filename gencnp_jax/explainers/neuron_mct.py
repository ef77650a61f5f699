"""NeuronMCT: first-order Taylor importance of every neuron."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from gencnp_jax.explainers.base import (
  Scored,
  ScoredExplainer,
  class_to_explain,
)
from gencnp_jax.target import Arrays, Target


@struct.dataclass
class NeuronMCT(ScoredExplainer):
  """Scores |a * dz_c / da|, all layers in one forward and one backward pass.

  With a stand-in for off neurons it is |(a - off) * dz_c / da|, the first-order
  effect of switching the neuron off.

  References:
    Khakzar et al. Neural Response Interpretation through the Lens of Critical
    Pathways. CVPR 2021.
  """

  def scores(
    self, index: jax.Array, images: jax.Array, classes: jax.Array
  ) -> Scored:
    """Returns the scores; z_c is the logit of the class to explain."""
    del index
    # The gradient of a gate at 1 is a * dz/da: no second pass for a, and none
    # for the logits.
    shapes = self.target.activation_shapes(images.shape[1:])
    gates = tuple(jnp.ones((images.shape[0], *shape)) for shape in shapes)
    logits, effects = taylor_effects(
      self.target, images, gates, classes, self.off
    )
    return Scored(logits, tuple(jnp.abs(e) for e in effects))


def taylor_effects(
  target: Target,
  images: jax.Array,
  gates: Arrays,
  classes: jax.Array,
  off: Arrays | None,
) -> tuple[jax.Array, Arrays]:
  """Returns the logits under gates, and d z_c / d gate, signed, per neuron.

  Args:
    target: the classifier.
    images: `[n, h, w, channels]`.
    gates: tuple of float32 shaped like the activations.
    classes: int32 `[n]`; -1 for the arg-max under the gates.
    off: what stands in for an off neuron, or None for zero.
  """
  logits, pull = jax.vjp(lambda g: target.masked(images, g, off), gates)
  chosen = class_to_explain(logits, classes)
  one_hot = jax.nn.one_hot(chosen, logits.shape[-1], dtype=logits.dtype)
  (effects,) = pull(one_hot)
  return logits, effects

"""NeuronIntGrad: integrated gradients of every neuron, layer by layer."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from gencnp_jax import pathway
from gencnp_jax.explainers.base import (
  Scored,
  ScoredExplainer,
  class_to_explain,
)

# Neurons of a batch beyond which more alphas at a time gain no speed (measured
# on AlexNet and two cores) and cost a copy of the batch's activations each.
_SMALL_BATCH = 1 << 19


@struct.dataclass
class NeuronIntGrad(ScoredExplainer):
  """Scores |a * mean over alpha of dz_c / d(alpha a)|, one layer at a time.

  The activation of one layer goes from zero to itself, `alpha * a` with alpha
  in {0, .1, ..., 1}, while all other layers stay free and follow. With a
  stand-in for off neurons it goes from there, `alpha * a + (1 - alpha) * off`,
  and a - off stands for a.

  Attributes:
    steps: number of alphas, evenly spaced from 0 to 1.
    chunk: alphas at a time; 0 for all of them where images are few, and one
      by one where the batch is large by itself.

  References:
    Khakzar et al. Neural Response Interpretation through the Lens of Critical
    Pathways. CVPR 2021.
  """

  steps: int = struct.field(pytree_node=False, default=11)
  chunk: int = struct.field(pytree_node=False, default=0)

  def __post_init__(self):
    if self.steps < 1:
      raise ValueError(
        f'steps={self.steps}: the ramp from 0 to 1 needs at least 1 step; the '
        'method is described with 11.'
      )
    if self.chunk < 0:
      raise ValueError(
        f'chunk={self.chunk}: give the number of alphas to take at a time, '
        'or 0 to have it chosen.'
      )

  @property
  def copies(self) -> int:
    """Float32 copies of an image's activations that are held at the peak."""
    return 9 * min(self.chunk or 1, self.steps)

  def scores(
    self, index: jax.Array, images: jax.Array, classes: jax.Array
  ) -> Scored:
    """Returns the scores; z_c is the logit of the class to explain."""
    del index
    # The class of the free target: the ramp may pass through others.
    logits = self.target(images)
    chosen = class_to_explain(logits, classes)
    one_hot = jax.nn.one_hot(chosen, logits.shape[-1], dtype=logits.dtype)
    alphas = jnp.linspace(0.0, 1.0, self.steps)
    shapes = self.target.activation_shapes(images.shape[1:])
    small = images.shape[0] * pathway.neuron_count(shapes) <= _SMALL_BATCH
    chunk = min(self.steps, self.chunk or (self.steps if small else 1))
    even = self.steps - self.steps % chunk

    def layer_scores(layer, shape):
      def effect(alpha):
        # The gradient of a gate at alpha is (a - off) * dz/d(alpha a).
        gate = jnp.full((images.shape[0], *shape), alpha)
        _, pull = jax.vjp(lambda g: self._logits(images, layer, g), gate)
        return pull(one_hot)[0]

      def add(total, alphas):
        # What does not depend on alpha, all of the target up to this layer, is
        # computed once: vmap and XLA's loops both see to that.
        return total + jax.vmap(effect)(alphas).sum(0), None

      total = jnp.zeros((images.shape[0], *shape))
      total, _ = jax.lax.scan(add, total, alphas[:even].reshape(-1, chunk))
      if even < self.steps:
        total, _ = add(total, alphas[even:])
      return jnp.abs(total / self.steps)

    return Scored(logits, tuple(layer_scores(*s) for s in enumerate(shapes)))

  def _logits(self, images, layer, gate):
    """Runs the target with one layer's gate, all others at 1."""
    count = len(self.target.activation_shapes(images.shape[1:]))
    gates = [jnp.asarray(True)] * count
    gates[layer] = gate
    return self.target.masked(images, tuple(gates), self.off)

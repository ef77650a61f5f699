"""DGR: distillation guided routing, a gate per neuron learned per image."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from gencnp_jax import pathway
from gencnp_jax.explainers.base import (
  Scored,
  ScoredExplainer,
  class_to_explain,
)
from gencnp_jax.target import Arrays

INITS = ('ones', 'random')

# Gates are clamped to [0, _MAX_GATE] after every step.
_MAX_GATE = 100.0
_MAX_RETRIES = 100


@struct.dataclass
class DGR(ScoredExplainer):
  """Learns gates a_i -> g_i * a_i under which the prediction stays.

  The loss of an image is CE(softmax H(X), H(X; g)) + penalty * sum |g|,
  descended by SGD with momentum, g clamped to [0, 100] after each step. Kept
  are the gates of the lowest loss among those under which the target says the
  class to explain; the pathway is the top of them. A loss belongs to the gates
  that it was evaluated at, so the outcome of the last step is never kept.

  With `init='random'` (DGR_R) gates start uniform in [0, 1], and where no step
  kept the class, a tenth of the penalty is tried from the same start, again and
  again (100 times at most) until it is lost in rounding: 7 times by default. Where none kept it to the end (or, with `init='ones'`, in the only run)
  the gates after the last step are taken. The CE draws towards the target's own
  prediction: explaining another class than that rarely finds gates that say it.

  With a stand-in for off neurons a gate leads there: g * a + (1 - g) * off.

  Attributes:
    init: 'ones' (DGR) or 'random' (DGR_R).
    num_steps: steps of a run.
    penalty: weight of the L1 norm.
    learning_rate: of SGD.
    momentum: of SGD, as PyTorch defines it (v = m * v + gradient).

  References:
    Wang et al. Interpret Neural Networks by Identifying Critical Data Routing
    Paths. CVPR 2018. Per neuron: Khakzar et al. Neural Response Interpretation
    through the Lens of Critical Pathways. CVPR 2021.
  """

  init: str = struct.field(pytree_node=False, default='ones')
  num_steps: int = struct.field(pytree_node=False, default=1000)
  penalty: float = struct.field(pytree_node=False, default=0.01)
  learning_rate: float = struct.field(pytree_node=False, default=0.01)
  momentum: float = struct.field(pytree_node=False, default=0.9)

  def __post_init__(self):
    if isinstance(self.seed, str):
      raise ValueError(
        f'seed={self.seed!r}: the seed is an integer; pass init by its name, '
        f'DGR(target, sparsity, init={self.seed!r}).'
      )
    if self.init not in INITS:
      raise ValueError(f'init={self.init!r}: choose one of {", ".join(INITS)}.')
    if self.num_steps < 1:
      raise ValueError(
        f'num_steps={self.num_steps}: gates are learned in 1 step at least; '
        'the method is described with 1000.'
      )
    if not 0.0 <= self.penalty < math.inf:
      raise ValueError(
        f'penalty={self.penalty}: the weight of the L1 norm must be 0 or more.'
      )
    if not 0.0 < self.learning_rate < math.inf:
      raise ValueError(
        f'learning_rate={self.learning_rate}: it must be above 0.'
      )
    if not 0.0 <= self.momentum < 1.0:
      raise ValueError(
        f'momentum={self.momentum}: choose from 0 up to, not including, 1.'
      )

  @property
  def name(self) -> str:
    """The method's name in tables."""
    return 'DGR' if self.init == 'ones' else 'DGR_R'

  @property
  def copies(self) -> int:
    """Float32 copies of an image's activations that are held at the peak."""
    return 12

  def scores(
    self, index: jax.Array, images: jax.Array, classes: jax.Array
  ) -> Scored:
    """Returns the gates."""
    logits = self.target(images)
    chosen = class_to_explain(logits, classes)
    start = self._start(index, images, logits.dtype)
    given = (images, logits, chosen, start)
    gates, done = self._descend(*given, jnp.asarray(self.penalty, logits.dtype))
    if self.init == 'random':
      gates = self._retry(given, gates, done)
    return Scored(logits, gates)

  def _retry(self, given: Any, gates: Arrays, done: jax.Array) -> Arrays:
    """Runs images that no step kept again, with a tenth of the penalty each time.

    A few of a batch are left as a rule. They are brought together and run in
    parts of an eighth, so that a retry costs what they need.

    Args:
      given: the first four arguments of `_descend`.
      gates: found so far.
      done: bool `[n]`, whose gates stay as they are.

    Returns:
      The gates, of all images.
    """
    n, dtype = done.shape[0], gates[0].dtype
    size = -(-n // 8)
    retries = self._retries(dtype)

    def attempt(state):
      number, done, gates = state
      penalty = self.penalty * 0.1 ** number.astype(dtype)
      order = jnp.argsort(done)  # Those that are left come first.
      left = (~done).sum()

      def run(part, state):
        done, gates = state
        rows = jax.lax.dynamic_slice_in_dim(order, part * size, size)
        found, kept = self._descend(
          *jax.tree.map(lambda x: x[rows], given), penalty
        )
        before = done[rows]
        gates = jax.tree.map(
          lambda old, new: old.at[rows].set(
            jnp.where(_like(before, new), old[rows], new)
          ),
          gates,
          found,
        )
        return done.at[rows].set(before | kept), gates

      done, gates = jax.lax.fori_loop(
        0, (left + size - 1) // size, run, (done, gates)
      )
      return number + 1, done, gates

    _, _, gates = jax.lax.while_loop(
      lambda state: (state[0] <= retries) & ~state[1].all(),
      attempt,
      (jnp.int32(1), done, gates),
    )
    return gates

  def _descend(
    self,
    images: jax.Array,
    logits: jax.Array,
    chosen: jax.Array,
    start: Arrays,
    penalty: jax.Array,
  ) -> tuple[Arrays, jax.Array]:
    """Runs SGD once.

    Args:
      images: `[n, h, w, channels]`.
      logits: `[n, classes]`, the target's own, softmax of which is distilled.
      chosen: int32 `[n]`, the class that must stay.
      start: the gates to start from.
      penalty: scalar, weight of the L1 norm.

    Returns:
      Per image the gates of the lowest loss that kept the class, the last ones
      where none did; and whether one did, bool `[n]`.
    """
    probabilities = jax.nn.softmax(logits)

    def cross_entropy(gates):
      masked = self.target.masked(images, gates, self.off)
      each = -(probabilities * jax.nn.log_softmax(masked)).sum(-1)
      return each.sum(), (each, masked.argmax(-1) == chosen)

    def step(_, state):
      gates, velocity, best, lowest = state
      slopes, (loss, kept) = jax.grad(cross_entropy, has_aux=True)(gates)
      loss += penalty * sum(_sum(jnp.abs(g)) for g in gates)
      better = kept & (loss < lowest)
      best = jax.tree.map(
        lambda old, g: jnp.where(_like(better, g), g, old), best, gates
      )
      velocity = jax.tree.map(
        lambda v, slope, g: self.momentum * v + slope + penalty * jnp.sign(g),
        velocity,
        slopes,
        gates,
      )
      gates = jax.tree.map(
        lambda g, v: jnp.clip(g - self.learning_rate * v, 0.0, _MAX_GATE),
        gates,
        velocity,
      )
      return gates, velocity, best, jnp.where(better, loss, lowest)

    zeros = jax.tree.map(jnp.zeros_like, start)
    nothing = jnp.full(images.shape[0], jnp.inf, logits.dtype)
    gates, _, best, lowest = jax.lax.fori_loop(
      0, self.num_steps, step, (start, zeros, start, nothing)
    )
    kept = lowest < jnp.inf
    best = jax.tree.map(
      lambda b, g: jnp.where(_like(kept, b), b, g), best, gates
    )
    return best, kept

  def _start(self, index, images, dtype) -> Arrays:
    shapes = self.target.activation_shapes(images.shape[1:])
    if self.init == 'ones':
      return tuple(jnp.ones((images.shape[0], *s), dtype) for s in shapes)

    def draw(i):
      # The draw among ties takes the key before the last fold.
      key = jax.random.fold_in(jax.random.key(self.seed), i)
      key = jax.random.fold_in(key, 1)
      return jax.random.uniform(key, (pathway.neuron_count(shapes),), dtype)

    return pathway.split(jax.vmap(draw)(index), shapes)

  def _retries(self, dtype) -> int:
    """How often a tenth of the penalty is another run, `_MAX_RETRIES` at most.

    Over a run the penalty moves a gate by its pull, learning rate * penalty /
    (1 - momentum), a step. Once that sum is lost in a gate's rounding, a
    smaller penalty repeats the run to rounding.
    """
    pull = self.learning_rate * self.penalty / (1.0 - self.momentum)
    lost = float(jnp.finfo(dtype).eps)
    tenths = math.log10(max(1.0, self.num_steps * pull / lost))
    return min(_MAX_RETRIES, math.ceil(tenths))


def _like(rows: jax.Array, array: jax.Array) -> jax.Array:
  """Reshapes `[n]` to broadcast against `[n, ...]`."""
  return rows.reshape(-1, *(1,) * (array.ndim - 1))


def _sum(array: jax.Array) -> jax.Array:
  """Sums each image's entries, `[n]`."""
  return array.reshape(array.shape[0], -1).sum(1)

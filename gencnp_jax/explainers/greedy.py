"""Greedy: prunes the least important neurons, a percent at a time."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from gencnp_jax import pathway, selection
from gencnp_jax.explainers.base import (
  Pathways,
  Scored,
  ScoredExplainer,
  class_to_explain,
)
from gencnp_jax.explainers.neuron_mct import taylor_effects


class _Pruned(NamedTuple):
  """What pruning leaves behind, `[n, neurons]` each but `alive`.

  Attributes:
    removed: int32, the step that removed a neuron; past the last while it is
      on.
    scores: float32, its score then, or its last.
    at_cut: float32, all scores at the step that the sparsity falls in; -inf
      for neurons that were off by then.
    alive: bool `[n]`, whether the image is still being pruned.
  """

  removed: jax.Array
  scores: jax.Array
  at_cut: jax.Array
  alive: jax.Array


@struct.dataclass
class Greedy(ScoredExplainer):
  """Removes the neurons of least |Taylor effect|, step by step.

  A step removes one percent of all neurons, those of least |a * dz_c/da| among
  the ones still on; the next step's scores are computed under the mask. What
  was removed stays so: pathways are nested. (With a stand-in for off neurons
  a - off takes the place of a, see `NeuronMCT`.)

  The importance is the order of removal: whole numbers from 0, equal where step
  and score are equal. It runs to the end of the schedule, so the top of it is
  the pathway at every sparsity, not only at this explainer's.

  Attributes:
    stop_when_flipped: an image's pruning ends at the last step under which the
      target still says the class to explain, so that each image has its own
      sparsity, `sparsity` at most. One that never says it keeps all neurons.
    quirk: as in the published code, where every neuron of score 0, the pruned
      ones included, is switched on again at each step; `sparsity` is then the
      last percentile that is asked for, not what comes out.

  References:
    Khakzar et al. Neural Response Interpretation through the Lens of Critical
    Pathways. CVPR 2021.
  """

  stop_when_flipped: bool = struct.field(pytree_node=False, default=False)
  quirk: bool = struct.field(pytree_node=False, default=False)

  def __post_init__(self):
    if self.stop_when_flipped and self.quirk:
      raise ValueError(
        'stop_when_flipped=True, quirk=True: the published code does not watch '
        'the class; choose one of the two.'
      )

  @property
  def copies(self) -> int:
    """Float32 copies of an image's activations that are held at the peak."""
    return 14

  @property
  def is_cut_from_importance(self) -> bool:
    """Whether the top of the importance is a pathway at any sparsity."""
    return not (self.stop_when_flipped or self.quirk)

  def scores(
    self, index: jax.Array, images: jax.Array, classes: jax.Array
  ) -> Scored:
    """Returns the order of removal (with `quirk` the last step's scores)."""
    found = self.pathways(index, images, classes)
    return Scored(found.logits, found.importance)

  def pathways(
    self, index: jax.Array, images: jax.Array, classes: jax.Array
  ) -> Pathways:
    """Finds the pathways of a batch; see `Explainer.pathways`."""
    shapes = self.target.activation_shapes(images.shape[1:])
    neurons = pathway.neuron_count(shapes)
    kept = selection.kept_count(self.sparsity, neurons)
    logits = self.target(images)
    # The class of the whole target: masks may turn it to another.
    chosen = class_to_explain(logits, classes)
    if self.quirk:
      masks, importance = self._prune_as_published(images, chosen)
      tied = jnp.zeros(images.shape[0])
      return Pathways(logits, masks, importance, tied)

    counts = _schedule(neurons)
    if self.stop_when_flipped:
      counts = (*(c for c in counts if c > kept), kept)
    pruned, drawn = self._prune(index, images, chosen, counts, kept)
    importance = _order(pruned.removed, pruned.scores)
    if self.stop_when_flipped:
      on = pruned.removed == len(counts)
      steps = jnp.where(on, -1, pruned.removed).max(1)
      last = jnp.take_along_axis(drawn, jnp.maximum(steps, 0)[None], 0)[0]
      tied = jnp.where(steps < 0, 0, last)
    else:
      (on,), tied = selection.keep_top(
        (pruned.at_cut,), kept, jnp.int32(self.seed), index
      )
    return Pathways(
      logits,
      pathway.split(on, shapes),
      pathway.split(importance, shapes),
      tied / on.sum(1),
    )

  def _prune(self, index, images, chosen, counts, kept):
    """Prunes to each of `counts` in turn.

    Returns:
      A `_Pruned`, and int32 `[steps + 1, n]`: how many of the neurons that a
      step left on were drawn among equals.
    """
    never = len(counts)
    # The step in which the count falls from above `kept` to it or below.
    cut = int((np.asarray(counts) > kept).sum())

    def step(state, numbered_count):
      number, count = numbered_count
      removed, scores, at_cut, alive = state
      logits, effects = self._effects(images, removed == never, chosen)
      if self.stop_when_flipped:
        # Only now is seen what the step before did to the class: undo it.
        alive &= logits.argmax(-1) == chosen
        back = ~alive[:, None] & (removed == number - 1)
        removed = jnp.where(back, never, removed)
      on = removed == never
      # Every image is scored once, also one that is not pruned at all.
      scored = on & (alive | (number == 0))[:, None]
      scores = jnp.where(scored, jnp.abs(effects), scores)
      on &= alive[:, None]
      candidates = jnp.where(on, scores, -jnp.inf)
      at_cut = jnp.where(number == cut, candidates, at_cut)
      (keep,), drawn = selection.keep_top(
        (candidates,), count, jnp.int32(self.seed), index
      )
      removed = jnp.where(on & ~keep, number, removed)
      return _Pruned(removed, scores, at_cut, alive), drawn

    neurons = pathway.neuron_count(
      self.target.activation_shapes(images.shape[1:])
    )
    rows = (images.shape[0], neurons)
    start = _Pruned(
      jnp.full(rows, never, jnp.int32),
      jnp.zeros(rows, jnp.float32),
      jnp.zeros(rows, jnp.float32),
      jnp.ones(images.shape[0], bool),
    )
    # The last count comes twice: once to remove, once to score what is left.
    counts = jnp.asarray((*counts, counts[-1]), jnp.int32)
    numbers = jnp.arange(never + 1, dtype=jnp.int32)
    return jax.lax.scan(step, start, (numbers, counts))

  def _prune_as_published(self, images, chosen):
    """Returns the masks of the published code, and the last scores."""
    shapes = self.target.activation_shapes(images.shape[1:])
    neurons = pathway.neuron_count(shapes)

    def step(percent, state):
      on, _ = state
      _, effects = self._effects(images, on, chosen)
      # Theirs is the gradient times the MASKED activation.
      scores = jnp.where(on, jnp.abs(effects), 0.0)
      dead = scores == 0
      ranked = jnp.where(dead, scores.max(1, keepdims=True), scores)
      # What exceeds a percentile exceeds the score just below or at it.
      below = (neurons - 1) * percent // 100
      (above,) = selection.above_kth((ranked,), neurons - below)
      return above | dead, scores

    rows = (images.shape[0], neurons)
    on, scores = jax.lax.fori_loop(
      0,
      round(100 * self.sparsity) + 1,
      step,
      (jnp.ones(rows, bool), jnp.zeros(rows)),
    )
    return pathway.split(on, shapes), pathway.split(scores, shapes)

  def _effects(self, images, on, chosen):
    """Returns logits and effects `[n, neurons]` under masks `[n, neurons]`."""
    shapes = self.target.activation_shapes(images.shape[1:])
    gates = pathway.split(on.astype(jnp.float32), shapes)
    logits, effects = taylor_effects(
      self.target, images, gates, chosen, self.off
    )
    return logits, pathway.flat(effects).astype(jnp.float32)


def _schedule(neurons: int) -> tuple[int, ...]:
  """Returns how many neurons each step keeps: 99 %, 98 %, ..., 1 %."""
  counts = {max(1, round((1 - p / 100) * neurons)) for p in range(1, 100)}
  return tuple(sorted(counts - {neurons}, reverse=True))


def _order(removed: jax.Array, scores: jax.Array) -> jax.Array:
  """Ranks neurons by (step, score), dense from 0, float32 `[n, neurons]`."""
  # Scores are not negative: their bits order as they do, subnormals too.
  bits = jax.lax.bitcast_convert_type(scores, jnp.int32)
  place = jnp.broadcast_to(jnp.arange(bits.shape[1]), bits.shape)
  removed, bits, place = jax.lax.sort(
    (removed, bits, place), dimension=1, num_keys=2
  )
  differs = (removed[:, 1:] != removed[:, :-1]) | (bits[:, 1:] != bits[:, :-1])
  ranks = jnp.pad(jnp.cumsum(differs, axis=1), ((0, 0), (1, 0)))
  order = jnp.zeros(scores.shape)
  return jnp.put_along_axis(
    order, place, ranks.astype(jnp.float32), axis=1, inplace=False
  )

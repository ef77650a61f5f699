"""GEN-CNP from a frozen target: what is asked of a pathway (Eq. 2 and 3)."""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from gencnp_jax import pathway
from gencnp_jax.runtime import devices
from gencnp_jax.target import Target
from gencnp_jax.training.tasks import Sums, sum_all, variables_of

REDUCTIONS = ('layer_mean', 'mean', 'sum')
ANSWERS = ('probabilities', 'odds')
SWAPS = ('uniform', 'odds', 'own')
CHARGED = ('all', 'kept', 'surer')
# Its multiples fall evenly into [0, 1), modulo 1.
_GOLDEN = 0.6180339887


@dataclasses.dataclass(frozen=True)
class Distillation:
  """Learns pathways under which the target says what it says (Eq. 2 and 3).

    alpha * CE(softmax(H(X) / T), H(X; P * A)) + beta * penalty(P^2)
      + gamma * CE(uniform, H(X'; P(X)))

  The last term (ours, off in the paper; `swap` has others) asks of a pathway that
  another image X' of another predicted class is NOT given X's class under it.
  X' is the next row of the global batch.

  The masks may be soft (`GenCNP.quantiser`). The losses, and what is said of
  the target's classes (`agreement`, `swap_leakage`), are then of the soft
  masks: another forward pass would be the price of the hard ones.
  `firing_sparsity` and `empty_layer` are of the masks cut at one half.

  Attributes:
    model: the GenCNP.
    alpha: weight of the distillation.
    beta: weight of the sparsity penalty.
    gamma: weight of the swap term.
    penalty_reduction: 'layer_mean': sum over layers of the mean over a layer's
      neurons; 'mean': over all neurons; 'sum': the paper's wording. Each is
      averaged over the images.
    answer: what of the target's answer is distilled: 'probabilities', as above;
      'odds' (ours): the pathway is to give the class that the target gives at
      better odds than the target, `-log sigmoid(odds(P) - odds)`, odds being
      the log of p / (1 - p). It does not fade where the target is sure.
    distil_temperature: T of the target's answer. 1 is the paper's: a pathway
      is to say what the target says, as surely; below 1, more surely.
    beta_warmup: share of the run over which beta rises from 0 (ours).
    cut: share of the images whose pathway is not DAQ's own but cut from its
      scores at a firing sparsity in `cut_range` (ours): scores that are good at
      any. There is no penalty on them.
    cut_range: the lowest and the highest of these sparsities. The share that
      is kept is spread evenly in its logarithm.
    charged: whose pathways the penalty is on (ours): 'all'; 'kept', those that
      give the target's class and, where there is a swap term, give it to no
      image of another class: one that fails is mended first; 'surer', those
      that besides give it at better odds than the target.
    sparsity_goal: the firing sparsity that is aimed at (ours): a pathway that is
      sparser is paid its penalty, whoever is charged; 1 for none.
    swap: what is asked of X' under P(X): 'uniform' as above; 'odds', that it is
      not given X's class, `-log(1 - p)`; 'own', the answer that the target
      gives X' itself, by the same distance as X's.
  """

  model: nn.Module
  alpha: float = 1.0
  beta: float = 0.6
  gamma: float = 0.0
  penalty_reduction: str = 'layer_mean'
  answer: str = 'probabilities'
  distil_temperature: float = 1.0
  beta_warmup: float = 0.0
  cut: float = 0.0
  cut_range: tuple[float, float] = (0.7, 0.99)
  swap: str = 'uniform'
  charged: str = 'all'
  sparsity_goal: float = 1.0

  def init(self, key: jax.Array, frozen: Any, images: jax.Array) -> Any:
    """Returns fresh variables for a target and images like these."""
    target, _ = frozen
    logits, activations = target.record(images)
    return self.model.init(key, activations, classes=_own_class(logits))

  def loss(
    self,
    params: Any,
    batch_stats: Any,
    frozen: tuple[Target, Any],
    batch: Any,
    progress: Any = 1.0,
  ) -> tuple[jax.Array, tuple[Any, Sums]]:
    """Returns the mean loss of a batch, the new statistics and the sums.

    Args:
      params: of the GenCNP.
      batch_stats: running statistics.
      frozen: the target, and what stands in for off neurons (None for zero).
      batch: (images uint8 `[n, h, w, c]`, anything).
      progress: the share of the run that is done, a number or a scalar.
    """
    target, off = jax.lax.stop_gradient(frozen)
    images, _ = batch
    logits, activations = target.record(images)
    kept = self._kept(activations) if self.cut else None
    generated, new = self.model.apply(
      variables_of(params, batch_stats),
      activations,
      train=True,
      classes=_own_class(logits),
      kept=kept,
      mutable=['batch_stats'],
    )
    pathway_logits = target.masked(images, generated.masks, off)
    distillation = self.distance(pathway_logits, logits)
    penalty = self.penalty(generated.masks)
    classes = logits.argmax(-1)
    agree = pathway_logits.argmax(-1) == classes
    losses, rows = self.alpha * distillation, {}
    leaks = jnp.zeros(len(images), bool)
    if self.gamma:
      swap, leaks, share = self._swap(
        (target, off), images, generated.masks, logits
      )
      losses += self.gamma * swap
      rows['swap_leakage'] = leaks / share
    own = jnp.ones(len(images)) if kept is None else kept == 0
    pays = jnp.ones(len(images))
    if self.charged != 'all':
      pays = agree & ~leaks
      if self.charged == 'surer':
        pays &= _odds(pathway_logits, classes) > _odds(logits, classes)
    firing_sparsity = pathway.firing_sparsity(generated.pathways)
    if self.sparsity_goal < 1:
      pays = jnp.where(firing_sparsity > self.sparsity_goal, -1, pays)
    beta = self.beta * own * pays
    if self.beta_warmup:
      beta *= jnp.minimum(progress / self.beta_warmup, 1.0)
    losses += beta * penalty
    sums = sum_all(
      {
        'distillation': distillation,
        'penalty': penalty,
        'agreement': agree,
        'firing_sparsity': firing_sparsity,
      },
      own,
    )
    if self.cut:
      sums |= sum_all({'agreement_of_cuts': agree}, ~own)
    sums |= sum_all(rows | {'loss': losses})
    return losses.mean(), (new['batch_stats'], sums)

  def _swap(self, frozen, images, masks, logits) -> tuple[jax.Array, ...]:
    """Returns what `swap` asks of the next row under P(X), `[n]`.

    It is weighed so that its mean over all rows is the mean over the pairs whose
    classes differ. Besides, bool `[n]`, whether the next row of another class is
    given X's, and the share of such pairs.
    """
    target, off = frozen
    classes = logits.argmax(-1)
    swapped = target.masked(devices.next_row(images), masks, off)
    differ = devices.next_row(classes) != classes
    if self.swap == 'own':
      asked = self.distance(swapped, devices.next_row(logits))
    elif self.swap == 'odds':
      asked = -jax.nn.log_sigmoid(-_odds(swapped, classes))
    else:
      asked = -jax.nn.log_softmax(swapped).mean(-1)
    share = jnp.maximum(jax.lax.pmean(differ.mean(), devices.AXIS), 1e-6)
    leaks = differ & (swapped.argmax(-1) == classes)
    return asked * differ / share, leaks, share

  def _kept(self, activations) -> jax.Array:
    """Returns how many neurons stay on of each row, int32 `[n]`; 0 for DAQ's cut.

    A row's place in the global batch decides, by a sequence that is even over
    any stretch of it: no draw, and images come in random order.
    """
    neurons = pathway.neuron_count([a.shape[1:] for a in activations])
    rows = devices.global_row_numbers(activations[0].shape[0])
    place = (rows + 0.5) * _GOLDEN % 1.0
    most, least = (jnp.log(1 - s) for s in self.cut_range)
    share = jnp.exp(most + (least - most) * place / self.cut)
    kept = jnp.clip(jnp.round(share * neurons), 1, neurons - 1)
    return jnp.where(place < self.cut, kept, 0).astype(jnp.int32)

  def distance(self, pathway_logits: jax.Array, logits: jax.Array) -> jax.Array:
    """Returns how far a pathway's answer is from the target's, `[n]` (Eq. 2)."""
    if self.answer == 'odds':
      classes = logits.argmax(-1)
      gain = _odds(pathway_logits, classes) - _odds(logits, classes)
      return -jax.nn.log_sigmoid(gain)
    wanted = jax.nn.softmax(logits / self.distil_temperature)
    return optax.softmax_cross_entropy(pathway_logits, wanted)

  def penalty(self, masks: tuple[jax.Array, ...]) -> jax.Array:
    """Returns the sparsity penalty of each image, `[n]` (Eq. 3)."""
    squares = [(m * m).reshape(m.shape[0], -1) for m in masks]
    if self.penalty_reduction == 'layer_mean':
      return sum(s.mean(1) for s in squares)
    total = sum(s.sum(1) for s in squares)
    if self.penalty_reduction == 'mean':
      return total / sum(s.shape[1] for s in squares)
    return total

  def rows(
    self,
    replicated: tuple[Any, tuple[Target, Any]],
    images: jax.Array,
    labels: jax.Array,
  ) -> dict[str, jax.Array]:
    """Returns per-image metrics of evaluation, float32 `[n]` each."""
    del labels
    variables, (target, off) = replicated
    logits, activations = target.record(images)
    generated = self.model.apply(
      variables, activations, classes=_own_class(logits)
    )
    pathway_logits = target.masked(images, generated.masks, off)
    agree = pathway_logits.argmax(-1) == logits.argmax(-1)
    counts = pathway.layer_counts(generated.pathways)
    distillation = self.distance(pathway_logits, logits)
    penalty = self.penalty(generated.masks)
    return {
      # Without the swap term, which needs an image beside.
      'loss': self.alpha * distillation + self.beta * penalty,
      'distillation': distillation,
      'agreement': agree.astype(jnp.float32),
      'firing_sparsity': pathway.firing_sparsity(generated.pathways),
      'empty_layer': (counts.min(1) == 0).astype(jnp.float32),
    }


def _odds(logits: jax.Array, classes: jax.Array) -> jax.Array:
  """Returns log(p / (1 - p)) of each row's class, `[n]`."""
  own = jax.nn.one_hot(classes, logits.shape[-1], dtype=bool)
  others = jax.nn.logsumexp(jnp.where(own, -jnp.inf, logits), -1)
  return jnp.where(own, logits, 0).sum(-1) - others


def _own_class(logits: jax.Array) -> jax.Array:
  """Returns the target's own class of each image, one-hot `[n, classes]`."""
  return jax.nn.one_hot(logits.argmax(-1), logits.shape[-1])

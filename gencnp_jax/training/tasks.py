"""What is trained: a target here, GEN-CNP from one in `distillation.py`.

A task is a hashable description. `loss` runs on one device's rows inside the
train step, `rows` on any rows in evaluation. Metrics are (sum, count) pairs,
added over devices and divided once.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from gencnp_jax.target import Preprocess

Sums = dict[str, tuple[jax.Array, jax.Array]]


@dataclasses.dataclass(frozen=True)
class Classification:
  """Cross-entropy with the labels: the training of a target.

  Attributes:
    model: Linen module `(images float, train) -> logits`.
    preprocess: from uint8 images to what the model takes.
  """

  model: nn.Module
  preprocess: Preprocess

  def init(self, key: jax.Array, frozen: None, images: jax.Array) -> Any:
    """Returns fresh variables for images like these."""
    del frozen
    return self.model.init(key, self.preprocess(images))

  def loss(
    self,
    params: Any,
    batch_stats: Any,
    frozen: None,
    batch: Any,
    progress: Any = 1.0,
  ) -> tuple[jax.Array, tuple[Any, Sums]]:
    """Returns the mean loss of a batch, the new statistics and the sums.

    Args:
      params: of the model.
      batch_stats: running statistics.
      frozen: nothing.
      batch: (images uint8 `[n, h, w, c]`, labels int32 `[n]`).
      progress: the share of the run that is done; it plays no part.
    """
    del frozen, progress
    images, labels = batch
    logits, new = self.model.apply(
      variables_of(params, batch_stats),
      self.preprocess(images),
      train=True,
      mutable=['batch_stats'],
    )
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    sums = {'loss': losses, 'accuracy': logits.argmax(-1) == labels}
    return losses.mean(), (new.get('batch_stats', {}), sum_all(sums))

  def rows(
    self, replicated: tuple[Any, None], images: jax.Array, labels: jax.Array
  ) -> dict[str, jax.Array]:
    """Returns per-image metrics of evaluation, float32 `[n]` each."""
    variables, _ = replicated
    logits = self.model.apply(variables, self.preprocess(images))
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return {
      'loss': losses,
      'accuracy': (logits.argmax(-1) == labels).astype(jnp.float32),
    }


def variables_of(params: Any, batch_stats: Any) -> dict[str, Any]:
  """Returns the variables of a module in training."""
  return {'params': params, 'batch_stats': batch_stats}


def sum_all(rows: dict[str, jax.Array], where: Any = True) -> Sums:
  """Turns per-image values into (sum, count) pairs, of the rows that count."""
  return {
    key: (
      jnp.where(where, v.astype(jnp.float32), 0).sum(),
      jnp.broadcast_to(where, v.shape).sum(dtype=jnp.float32),
    )
    for key, v in rows.items()
  }

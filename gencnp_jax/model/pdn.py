"""The Pathway Distillation Network (paper, section 3.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


class PDN(nn.Module):
  """An MLP from the feature patterns of all layers to importance scores.

  Given all layers at once, it lets what deep layers know of the class reach the
  shallow ones.

  Attributes:
    hidden: width of the hidden layers (ours; the paper does not say).
    num_fc: z, the number of fully connected layers, at least 1.
    dtype: of the products; parameters stay float32.
  """

  hidden: int = 1024
  num_fc: int = 2
  dtype: Any = jnp.float32

  @nn.compact
  def __call__(
    self, patterns: Sequence[jax.Array], classes: jax.Array | None = None
  ) -> tuple[jax.Array, ...]:
    """Maps per-layer patterns to scores.

    Args:
      patterns: `[n, ...]` each.
      classes: one-hot `[n, classes]`, what else it reads of each image.

    Returns:
      Arrays like the patterns.
    """
    rows = [p.reshape(p.shape[0], -1) for p in patterns]
    x = jnp.concatenate(rows, axis=1)
    width = x.shape[1]
    if classes is not None:
      # As much as all patterns together, or it would be lost among them.
      weight = math.sqrt(width / classes.shape[1])
      x = jnp.concatenate([x, weight * classes.astype(x.dtype)], axis=1)
    for _ in range(self.num_fc - 1):
      x = nn.relu(nn.Dense(self.hidden, dtype=self.dtype)(x))
    x = nn.Dense(width, dtype=self.dtype)(x)
    scores, start = [], 0
    for row, pattern in zip(rows, patterns):
      scores.append(x[:, start : start + row.shape[1]].reshape(pattern.shape))
      start += row.shape[1]
    return tuple(scores)

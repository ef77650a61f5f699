"""How tightly embeddings group by class (paper, Fig. 4)."""

from __future__ import annotations

import dataclasses

import numpy as np

from gencnp_jax import arguments
from gencnp_jax.metrics import sums


@dataclasses.dataclass(frozen=True)
class ClassVariance:
  """Variance of embeddings, split by class; the two shares add up to 1.

  Attributes:
    within: share of the total variance within classes (lower is better).
    between: share between the classes' means (higher is better). Both are nan
      where all embeddings are equal.
    total: mean squared distance to the mean of all, in squared units.
  """

  within: float
  between: float
  total: float


def class_variance(embeddings: np.ndarray, labels: np.ndarray) -> ClassVariance:
  """Splits the variance of embeddings into within and between classes.

  Divided by the total, so that activations and importance scores compare
  though their scales differ.

  Args:
    embeddings: float `[n, ...]`: activations, PDN outputs, importances.
    labels: int `[n]`.

  Raises:
    ValueError: no image, wrong shapes, or values that are not finite.
  """
  embeddings = arguments.numbers('embeddings', embeddings)
  if embeddings.ndim < 2 or not embeddings.size:
    raise ValueError(
      f'embeddings has shape {embeddings.shape}; pass [images, ...] for one '
      'image or more.'
    )
  flat = embeddings.reshape(len(embeddings), -1)
  labels = sums.check_labels(labels, len(flat))
  centre = flat.mean(axis=0, dtype=np.float64)
  if not np.isfinite(centre).all():
    raise ValueError('embeddings hold values that are not finite.')
  within = between = 0.0
  for c in np.unique(labels):
    members = flat[labels == c].astype(np.float64)
    mean = members.mean(axis=0)
    within += float(((members - mean[None]) ** 2).sum())
    between += len(members) * float(((mean - centre) ** 2).sum())
  total = within + between
  return ClassVariance(
    within=sums.ratio(within, total),
    between=sums.ratio(between, total),
    total=total / len(flat),
  )

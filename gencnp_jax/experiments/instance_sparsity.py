"""How many neurons an image needs (section 3.2)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gencnp_jax.experiments.result import NamedFigure, Result
from gencnp_jax.experiments.run import Run
from gencnp_jax.report import Column, Table, plot

MANY = 21
"""Classes and all images: a longer table is folded."""


def present(run: Run, content: dict[str, Any] | None) -> Result:
  """Shows GEN-CNP's firing sparsity by image, class, layer and confidence.

  Args:
    run: whose evaluation is shown.
    content: not used, there is nothing more to measure.
  """
  del content
  details = run.details
  sparsity, classes = details['sparsity'], details['predictions']
  confidence = details['confidences']
  # The target's classes: the images may be unlabelled, or of another set.
  names = run.about_target['class_names']
  labels = details.get('labels')
  correct = None if labels is None else classes == labels
  overall = correlation(sparsity, confidence)
  said = ''
  if overall is not None:
    said = (
      'Rank correlation of firing sparsity and the target’s confidence over '
      f'all images: {overall:+.2f}.'
    )
  table = by_class(sparsity, confidence, classes, names)
  many = len(table.rows) > MANY
  return Result(
    'How many neurons an image needs',
    'GEN-CNP decides for each image how many neurons it needs. ' + said,
    () if many else (table,),
    (
      NamedFigure(
        'instance_sparsity',
        'Firing sparsity of the images, and against the confidence of the '
        f'target. {said}',
        plot.instance_sparsity(sparsity, confidence, correct, classes, names),
      ),
      NamedFigure(
        'firing_sparsity_by_class_and_layer',
        'Firing sparsity of each predicted class, and the share of neurons on '
        'in each layer.',
        plot.firing_sparsity(
          sparsity,
          classes,
          names,
          _per_class(details['layer_shares'], classes, len(names)),
        ),
      ),
    ),
    folded=(table,) if many else (),
  )


def by_class(
  sparsity: np.ndarray,
  confidence: np.ndarray,
  classes: np.ndarray,
  names: list[str],
) -> Table:
  """Returns firing sparsity by predicted class, all images last."""

  def row(name, chosen):
    own = sparsity[chosen]
    return {
      'class': name,
      'images': len(own),
      'mean': float(own.mean()),
      'std': float(own.std()),
      'min': float(own.min()),
      'max': float(own.max()),
      'confidence': float(confidence[chosen].mean()),
      'correlation': correlation(own, confidence[chosen]),
    }

  rows = [row(names[c], classes == c) for c in np.unique(classes)]
  rows.append(row('all', np.ones(len(classes), bool)))
  return Table(
    'Firing sparsity of images',
    (
      Column('class', 'Predicted class', fmt='text'),
      Column('images', 'Images', fmt='count'),
      Column('mean', 'Mean', fmt='percent2'),
      Column('std', 'Spread', fmt='percent2'),
      Column('min', 'Lowest', fmt='percent2'),
      Column('max', 'Highest', fmt='percent2'),
      Column('confidence', 'Confidence'),
      Column('correlation', 'Rank correlation', fmt='float'),
    ),
    rows,
    'Spread: one standard deviation over images. Rank correlation (Spearman) '
    'of firing sparsity with the target’s confidence.',
  )


def correlation(one: np.ndarray, other: np.ndarray) -> float | None:
  """Returns Spearman's rank correlation; None where one is constant."""
  if len(one) < 3 or np.ptp(one) == 0 or np.ptp(other) == 0:
    return None
  from scipy import stats

  return float(stats.spearmanr(one, other).statistic)


def _per_class(
  shares: np.ndarray, predictions: np.ndarray, classes: int
) -> np.ndarray:
  """Averages `[n, layers]` over the images of each class; NaN without any."""
  means = np.full((classes, shares.shape[1]), np.nan)
  for c in np.unique(predictions):
    means[c] = shares[predictions == c].mean(0)
  return means

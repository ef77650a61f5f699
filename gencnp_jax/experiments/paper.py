"""What the paper prints, as shares in [0, 1].

Its mIC and mDC must be means over the images that rise or fall: by its own
formulas mIC could not exceed ICr, as it does there. It does not say at which
firing sparsity its tables were taken.
"""

from __future__ import annotations

_METHODS = (
  'Greedy',
  'Random',
  'Original Activation',
  'NeuronMCT',
  'NeuronIntGrad',
  'DGR',
  'DGR_R',
  'GEN-CNP',
)
_FAITHFULNESS = (
  'increase_rate',
  'mean_increase_of_risers',
  'mean_decrease_of_fallers',
  'accuracy',
)
# Table 5, percent: ICr, mIC, mDC, accuracy of each method above.
_TABLE_5 = {
  ('cifar10', 'alexnet'): (
    (6.31, 0.80, 24.59, 38.87),
    (0.00, 0.00, 67.61, 10.08),
    (1.30, 6.76, 35.84, 38.70),
    (0.02, 5.37, 55.30, 77.22),
    (0.02, 6.17, 54.70, 77.28),
    (1.49, 12.82, 47.98, 76.79),
    (0.01, 5.79, 28.79, 77.11),
    (13.20, 14.67, 14.40, 77.12),
  ),
  ('cifar10', 'vgg11'): (
    (1.03, 9.54, 26.37, 25.11),
    (0.00, 0.00, 81.93, 9.78),
    (1.12, 6.79, 26.01, 92.13),
    (0.01, 2.64, 64.24, 92.35),
    (0.01, 1.51, 59.08, 92.41),
    (0.61, 5.81, 24.84, 92.44),
    (0.00, 0.00, 57.34, 92.43),
    (4.01, 10.26, 9.04, 92.14),
  ),
}
# Table 3, of each method above.
_TABLE_3 = {
  ('cifar10', 'alexnet'): (
    *(0.0, 0.0, 0.0178, 0.0985),
    *(0.1025, 0.1564, 0.0895, 0.1799),
  ),
  ('cifar10', 'vgg11'): (
    *(0.0, 0.0, 0.0, 0.1901),
    *(0.1962, 0.2172, 0.1909, 0.4024),
  ),
}
_TARGETS = {('cifar10', 'alexnet'): 0.7746, ('cifar10', 'vgg11'): 0.9256}


def faithfulness(data: str, model: str) -> dict[str, dict[str, float]]:
  """Returns Table 5: method -> metric -> share; empty for other data."""
  rows = _TABLE_5.get((data, model), ())
  return {
    method: {k: v / 100 for k, v in zip(_FAITHFULNESS, row)}
    for method, row in zip(_METHODS, rows)
  }


def target_accuracy(data: str, model: str) -> float | None:
  """Returns the test accuracy of the paper's target; None for other data."""
  return _TARGETS.get((data, model))


def class_iou(data: str, model: str) -> dict[str, float]:
  """Returns Table 3's acIOU: method -> share; empty for other data."""
  return dict(zip(_METHODS, _TABLE_3.get((data, model), ())))

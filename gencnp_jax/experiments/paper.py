"""What the paper prints, as shares in [0, 1].

Its mIC and mDC must be means over the images that rise or fall: by its own
formulas mIC could not exceed ICr, as it does there. It does not say at which
firing sparsity its tables were taken. Its ImageNet targets were trained on the
validation split at 32x32, and tested on it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from gencnp_jax.experiments.run import Run

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
# Table 1, percent: mIC, mDC, accuracy of each method above.
_TABLE_1 = {
  ('imagenet', 'alexnet'): (
    (1.00, 46.10, 8.39),
    (0.00, 96.79, 0.17),
    (0.00, 25.17, 26.07),
    (0.00, 92.83, 89.47),
    (0.00, 92.60, 89.81),
    (1.07, 51.99, 97.93),
    (1.15, 79.01, 97.89),
    (3.09, 9.71, 99.18),
  ),
  ('imagenet', 'vgg11'): (
    (0.00, 91.13, 3.76),
    (0.00, 95.32, 0.12),
    (0.00, 92.27, 96.49),
    (0.00, 95.31, 99.90),
    (0.00, 95.29, 99.90),
    (0.00, 94.20, 99.95),
    (0.00, 94.66, 99.94),
    (1.06, 23.80, 99.74),
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
  ('imagenet', 'alexnet'): (
    *(0.0, 0.0, 0.0, 0.1871),
    *(0.1868, 0.1936, 0.1940, 0.5996),
  ),
  ('imagenet', 'vgg11'): (
    *(0.0, 0.0, 0.0809, 0.1497),
    *(0.1753, 0.2738, 0.0733, 0.5804),
  ),
}
_TARGETS = {
  ('cifar10', 'alexnet'): 0.7746,
  ('cifar10', 'vgg11'): 0.9256,
  ('imagenet', 'alexnet'): 0.9993,
  ('imagenet', 'vgg11'): 0.9992,
}
# Table 2, percent: mIC, mDC, accuracy of each form.
_TABLE_2 = {
  ('cifar10', 'alexnet'): {
    'w/o RFEs': (0.87, 51.75, 73.43),
    'l.-w. PDNs': (0.00, 43.54, 76.69),
    'w/o DAQ': (6.31, 17.70, 76.97),
    'Ours (full)': (14.67, 14.40, 77.12),
  }
}
# Table 6, percent: accuracy at each sample sparsity.
_SAMPLES = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_TABLE_6 = {
  ('cifar10', 'alexnet'): {
    'NeuronMCT': (99.49, 99.00, 98.69, 98.74, 99.12, 99.29),
    'NeuronIntGrad': (99.99, 99.96, 99.94, 99.93, 99.97, 99.98),
    'DGR': (82.23, 82.02, 81.98, 81.94, 81.86, 82.08),
    'DGR_R': (100.0,) * 6,
    'GEN-CNP': (100.0,) * 6,
  }
}
# Table 7, percent: accuracy without the pathway, at each firing sparsity.
_PATHS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_TABLE_7 = {
  ('imagenet', 'vgg11'): {
    'Original Activation': (0.09, 0.11, 0.60, 80.33, 81.12, 81.42, 81.67),
    'NeuronMCT': (0.73, 0.64, 0.49, 0.54, 0.50, 0.62, 0.54),
    'NeuronIntGrad': (0.62, 0.55, 0.53, 0.70, 0.55, 0.65, 0.64),
    'DGR': (0.10, 0.29, 0.27, 0.26, 0.40, 0.37, 0.26),
    'DGR_R': (89.03, 88.31, 88.94, 89.34, 88.96, 88.63, 88.85),
    'GEN-CNP': (0.17, 0.07, 0.10, 0.12, 0.11, 0.13, 0.16),
  }
}


def data_set(run: Run) -> str:
  """Returns the paper's data set that a run's is: 'cifar10', 'imagenet', ''.

  CIFAR-10 as it is, or ImageNet with 1 000 classes at 32x32 from the official
  files or TFDS under either protocol, the test split. A subset of the training
  images, another size, or CIFAR-10 trained on its test images is another.
  """
  data = run.config.data
  size = tuple(run.about_target['image_shape'][:2])
  if data.limit or run.config.evaluate.split != 'test' or size != (32, 32):
    return ''
  if data.name == 'cifar10':
    return 'cifar10' if run.trained_on == 'train' else ''
  official = data.name == 'downsampled_imagenet' or (
    data.name == 'tfds' and data.path.startswith('imagenet_resized/')
  )
  whole = len(run.about_target['class_names']) == 1000
  return 'imagenet' if official and whole else ''


def faithfulness(data: str, model: str) -> dict[str, dict[str, float]]:
  """Returns Table 5 or 1: method -> metric -> share; empty for other data."""
  rows = _TABLE_5.get((data, model), _TABLE_1.get((data, model), ()))
  # Table 1 has no ICr.
  return {
    method: _shares(_FAITHFULNESS[-len(row) :], row)
    for method, row in zip(_METHODS, rows)
  }


def faithfulness_table(data: str) -> str:
  """Returns which table of the paper `faithfulness` is of."""
  return 'Table 1' if data == 'imagenet' else 'Table 5'


def ablations(data: str, model: str) -> dict[str, dict[str, float]]:
  """Returns Table 2: form -> metric -> share; empty for other data."""
  forms = _TABLE_2.get((data, model), {})
  return {name: _shares(_FAITHFULNESS[1:], row) for name, row in forms.items()}


def transfer_accuracy(data: str, model: str) -> dict[str, dict[float, float]]:
  """Returns Table 6: method -> sample sparsity -> accuracy."""
  methods = _TABLE_6.get((data, model), {})
  return {name: _shares(_SAMPLES, row) for name, row in methods.items()}


def roap(data: str, model: str) -> dict[str, dict[float, float]]:
  """Returns Table 7: method -> firing sparsity -> accuracy."""
  methods = _TABLE_7.get((data, model), {})
  return {name: _shares(_PATHS, row) for name, row in methods.items()}


def target_accuracy(data: str, model: str) -> float | None:
  """Returns the test accuracy of the paper's target; None for other data."""
  return _TARGETS.get((data, model))


def class_iou(data: str, model: str) -> dict[str, float]:
  """Returns Table 3's acIOU: method -> share; empty for other data."""
  return dict(zip(_METHODS, _TABLE_3.get((data, model), ())))


def _shares(keys, percents) -> dict:
  return {key: value / 100 for key, value in zip(keys, percents)}

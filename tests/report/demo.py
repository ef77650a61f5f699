"""A report of invented numbers that look like a run on CIFAR-10.

`python -m tests.report.demo page.html` writes it, for looking at it.
"""

import sys

import numpy as np

from gencnp_jax import report
from gencnp_jax.report import plot

CLASSES = (
  'airplane',
  'automobile',
  'bird',
  'cat',
  'deer',
  'dog',
  'frog',
  'horse',
  'ship',
  'truck',
)
SHAPES = ((8, 8, 64), (4, 4, 192), (2, 2, 384), (2, 2, 256), (2, 2, 256))
METHODS = ('GEN-CNP', 'NeuronMCT', 'Original Activation', 'Random')
KEYS = (
  'accuracy',
  'agreement',
  'increase_rate',
  'mean_increase_of_risers',
  'mean_decrease_of_fallers',
  'within',
  'between',
  'swap',
  'disconnected',
)
MEASURED = (
  (0.7712, 0.9812, 0.1031, 0.0642, 0.0483, 0.5913, 0.3121, 0.9801, 0.0),
  (0.7864, 1.0, 0.0893, 0.0411, 0.1921, 0.1312, 0.0504, 0.9862, 0.412),
  (0.2714, 0.3121, 0.0, None, 0.5621, 0.1004, 0.0611, 0.2214, 0.031),
  (0.1004, 0.1043, 0.0, None, 0.5742, 0.0271, 0.0270, 0.1004, 0.0),
)
PAPER = {  # Table 5 and Table 3
  'GEN-CNP': (0.7712, 0.1320, 0.1467, 0.1440, 0.1799),
  'NeuronMCT': (0.7722, 0.0002, 0.0537, 0.5530, None),
  'Original Activation': (0.3870, 0.0130, 0.0676, 0.3584, None),
  'Random': (0.1008, 0.0, 0.0, 0.6761, 0.0),
}
PAPER_KEYS = (
  'accuracy',
  'increase_rate',
  'mean_increase_of_risers',
  'mean_decrease_of_fallers',
  'within',
)


def rows():
  """One row a method, with the paper's numbers."""
  out = []
  for method, values in zip(METHODS, MEASURED):
    row = {'method': method, 'baseline': method == 'Random'}
    row |= dict(zip(KEYS, values))
    row |= {f'{k}_paper': v for k, v in zip(PAPER_KEYS, PAPER[method])}
    out.append(row)
  return out


def table():
  """The main table, ten columns of which five have a neighbour."""
  column = report.Column
  return report.Table(
    'The methods at GEN-CNP’s mean firing sparsity, 94.7 %, on all 10 000 '
    'test images',
    (
      column('method', 'Method', fmt='text'),
      column('accuracy', 'Accuracy', 'higher', 'percent2', paper=True),
      column('agreement', 'Agreement', 'higher'),
      column('increase_rate', 'ICr', 'higher', 'percent2', paper=True),
      column(
        'mean_increase_of_risers',
        'mIC of those that rise',
        'higher',
        'percent2',
        paper=True,
      ),
      column(
        'mean_decrease_of_fallers',
        'mDC of those that fall',
        'lower',
        'percent2',
        paper=True,
      ),
      column('within', 'acIOU within', 'higher', paper=True),
      column('between', 'acIOU between', 'lower'),
      column('swap', 'Swap leakage', 'lower'),
      column('disconnected', 'Disconnected', 'lower'),
    ),
    rows(),
    'Accuracy of the target itself: 78.64 %. A random pathway changes the '
    'class of most images, so it does not compete for the best value.',
  )


def records(stage='gencnp', steps=1000):
  """A run log with a training row every 20 steps, a validation every 200."""
  random = np.random.default_rng(0)
  out = []
  for step in range(0, steps + 1, 20):
    share = step / steps
    for split in ('train', 'validation')[: 2 if step % 200 == 0 else 1]:
      noise = random.normal(0, 0.01 if split == 'train' else 0.004)
      row = {'step': step, 'split': split, 'loss': 2.2 * np.exp(-4 * share)}
      row['loss'] += 0.25 + 3 * noise
      top = 0.985 if stage == 'gencnp' else 0.787
      row['accuracy'] = top - (top - 0.1) * np.exp(-5 * share) + noise
      if stage == 'gencnp':
        row['agreement'] = row.pop('accuracy')
        row['firing_sparsity'] = 0.5 + 0.447 * (1 - np.exp(-6 * share))
      if split == 'train':
        row['learning_rate'] = 1e-3 * np.sin(np.pi * share) ** 2
        row['images_per_second'] = 505 + 900 * noise if step else None
      out.append(row)
  return out


def pathways(k, seed=0, shapes=SHAPES):
  """Random masks of about 5 % on, thicker in the middle of a map."""
  random = np.random.default_rng(seed)
  out = []
  for height, width, channels in shapes:
    y, x = np.mgrid[:height, :width]
    far = np.hypot(y - (height - 1) / 2, x - (width - 1) / 2) / height
    share = 0.13 * np.exp(-6 * far**2) + 0.02
    out.append(
      random.random((k, height, width, channels)) < share[None, :, :, None]
    )
  return tuple(out)


def pictures(k, seed=0):
  """Images uint8 `[k, 32, 32, 3]`: a coloured blob before a gradient."""
  random = np.random.default_rng(seed)
  y, x = np.mgrid[:32, :32] / 31
  sky = np.stack([0.55 + 0.2 * y, 0.65 + 0.1 * y, 0.85 - 0.3 * y], -1)
  out = []
  for center, tone in zip(
    random.uniform(0.3, 0.7, (k, 2)), random.random((k, 3))
  ):
    blob = np.hypot(y - center[0], 0.7 * (x - center[1])) < 0.22
    image = np.where(blob[..., None], tone, sky)
    out.append(image + random.normal(0, 0.03, image.shape))
  return (255 * np.clip(out, 0, 1)).astype(np.uint8)


def sparsity_data(n=2000, seed=0):
  """Firing sparsity, predicted classes, and the share on per class, layer."""
  random = np.random.default_rng(seed)
  predicted = random.integers(0, 10, n)
  center = 0.947 + 0.012 * np.cos(np.arange(10))
  sparsity = random.normal(center[predicted], 0.006)
  per_layer = np.array([0.031, 0.062, 0.084, 0.127, 0.10])
  per_layer = per_layer * random.uniform(0.8, 1.2, (10, 5))
  return sparsity, predicted, per_layer


def build():
  """The whole report."""
  sparsity, predicted, per_layer = sparsity_data()
  logits = np.random.default_rng(1).normal(0, 1, (6, 10))
  logits[np.arange(6), [8, 3, 0, 6, 5, 1]] += 6
  after = logits.copy()
  after[1, 5] += 7
  column = report.Column
  facts = {
    'Target': 'AlexNet, 2 472 266 parameters',
    'Data': 'CIFAR-10, 10 000 test images',
    'Configuration': 'cifar.py:alexnet',
    'Seed': 0,
    'Off neurons': 'zero',
    'Device': 'cpu, 2 cores',
    'Wall time': 'target 18 min, GEN-CNP 16 min, evaluation 3 min',
    'Versions': 'gencnp_jax 0.1.0, jax 0.10.2, flax 0.12.8',
    'Date': '2026-01-01',
  }
  return report.Report(
    title='Neural pathways of AlexNet on CIFAR-10',
    lead='GEN-CNP switches off 94.7 % of the target’s neurons and keeps its '
    'prediction on 98.1 % of the test images. Where the probability falls, it '
    'falls by 4.8 points on average; NeuronMCT loses 19.2 at the same '
    'sparsity.',
    facts=facts,
    sections=[
      report.Section(
        'Comparison',
        'Every method keeps the same number of neurons an image. The paper '
        'does not say at which firing sparsity its tables were taken; its '
        'numbers stand beside the measured ones.\n\nRun it again with '
        '`python -m gencnp_jax.main --config=configs/cifar.py`.',
        tables=[table()],
        figures=[
          (
            'The methods side by side. Filled dots: within a class; open '
            'dots: between classes.',
            plot.comparison(rows()),
          )
        ],
        warnings=[
          '41.2 % of NeuronMCT’s pathways are disconnected: the image cannot '
          'reach the output, so their agreement is the mask speaking.'
        ],
      ),
      report.Section(
        'Firing sparsity',
        'How many neurons a pathway switches off, by the class that the '
        'target predicts, and where the others lie.',
        figures=[
          (
            'Left: thin line 5th to 95th percentile, thick line the middle '
            'half, bar the median. Right: mean share of neurons on.',
            plot.firing_sparsity(sparsity, predicted, CLASSES, per_layer),
          )
        ],
      ),
      report.Section(
        'Examples',
        'Where the pathway fires.',
        figures=[
          (
            'Prediction with its probability without → with the pathway.',
            plot.examples(pictures(6), pathways(6), logits, after, CLASSES),
          )
        ],
      ),
      report.Section(
        'Training',
        tables=[
          report.Table(
            'The stages',
            [
              column('stage', 'Stage', fmt='text'),
              column('steps', 'Steps', fmt='count'),
              column('seconds', 'Time', fmt='seconds'),
              column('speed', 'Images/s', 'higher', 'count'),
            ],
            [
              {'stage': 'target', 'steps': 14080, 'seconds': 1079.2},
              {'stage': 'gencnp', 'steps': 1000, 'seconds': 61.7, 'speed': 505},
            ],
          )
        ],
        figures=[
          ('The target.', plot.training_curves(records('target', 14000))),
          ('GEN-CNP.', plot.training_curves(records())),
        ],
      ),
    ],
    config='data:\n  name: cifar10\n  validation_share: 0.1\nmodel:\n  bits: 1\n'
    '  sigma: 2.0\nseed: 0\n',
  )


if __name__ == '__main__':
  print(table().to_text())
  report.write(sys.argv[1], build())

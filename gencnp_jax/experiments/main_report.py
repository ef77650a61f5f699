"""The report of the main job: what was explained, how well, and examples."""

from __future__ import annotations

from typing import Any

import numpy as np
from etils import epath

from gencnp_jax import pathway, report
from gencnp_jax.experiments import comparison, paper
from gencnp_jax.report import Report, Section, plot, write
from gencnp_jax.runtime import checkpoints, run_log

_NAMES = {
  'alexnet': 'AlexNet',
  'vgg11': 'VGG-11',
  'cifar10': 'CIFAR-10',
  'digits': 'handwritten digits',
}


def write_report(
  directory: epath.Path,
  config: Any,
  content: dict[str, Any],
  details: dict[str, np.ndarray],
  examples: pathway.Explanation,
) -> epath.Path:
  """Writes `report.html` into a workdir.

  Args:
    directory: the workdir.
    config: of the run.
    content: `rows` and `facts` of the evaluation.
    details: per-image arrays of GEN-CNP's evaluation, and the example images.
    examples: GEN-CNP's explanation of them.
  """
  rows, facts = content['rows'], content['facts']
  # The target's classes: the images may be unlabelled, or of another set.
  about = checkpoints.read_about(directory / 'target' / 'checkpoints')
  names = about['class_names']
  own = rows[0]
  faithfulness, overlap, leakage, speed = comparison.tables(
    rows, config.data.name, config.target.model
  )
  sections = [
    Section(
      'Faithfulness',
      _target_sentence(own, config),
      tables=(faithfulness,),
      figures=(
        (
          'The methods at the same mean firing sparsity. Hollow: overlap '
          'between classes.',
          plot.comparison(rows),
        ),
      ),
      warnings=comparison.warnings(rows),
    ),
    Section(
      'Do pathways of one class share neurons?',
      tables=(overlap,),
    ),
    Section(
      'Does the mask itself carry the answer?',
      'A pathway can encode the class by its shape alone. Then agreement '
      'measures the mask, not the evidence in the image.',
      tables=(leakage,),
    ),
    *_curve(content.get('curve', []), own),
    Section('How long it takes', tables=(speed,)),
    Section(
      'How many neurons an image needs',
      figures=(
        (
          'Firing sparsity of each predicted class, and the share of neurons '
          'on in each layer.',
          plot.firing_sparsity(
            details['sparsity'],
            details['predictions'],
            names,
            _per_class(
              details['layer_shares'], details['predictions'], len(names)
            ),
          ),
        ),
      ),
    ),
    Section(
      'Examples',
      figures=(
        (
          'The first images and their pathways: at each position the '
          'share of channels that are on. Beside each image the prediction, '
          'and its confidence without and with the pathway.',
          plot.examples(
            details['example_images'],
            examples.masks,
            examples.logits,
            examples.pathway_logits,
            names,
          ),
        ),
      ),
    ),
    Section('Training', figures=_curves(directory)),
  ]
  return write(
    directory / 'report.html',
    Report(
      f'Neural pathways of {_NAMES[config.target.model]} on '
      f'{_NAMES.get(facts["data set"], facts["data set"])}',
      _lead(own),
      facts,
      sections,
      config.to_yaml(),
    ),
  )


def _curve(curve: list[dict[str, Any]], own: dict[str, Any]) -> list[Section]:
  """Returns the section of the sparsity curve; none where it was not asked."""
  if not curve:
    return []
  return [
    Section(
      'Over firing sparsity',
      'Every method cut at the same sparsities: the share of neurons off is '
      'what faithfulness and overlap depend on most. GEN-CNP is cut by its '
      'scores before quantisation, ranked over all layers of an image; the '
      'ring is GEN-CNP as trained, each image at its own sparsity.',
      tables=report.comparison.curve_tables(curve),
      figures=(
        (
          'The methods over firing sparsity. Sparsities stand at equal '
          'distances.',
          plot.sparsity_curve(curve, [own]),
        ),
      ),
    )
  ]


def _lead(own: dict[str, Any]) -> str:
  said = (
    f'GEN-CNP switches off {100 * own["firing_sparsity"]:.1f} % of the neurons '
    f'of an image on average; with the rest alone the target gives the same '
    f'class for {100 * own["agreement"]:.1f} % of {own["images"]} images.'
  )
  if own['within'] is not None:
    said += f' Pathways of one class overlap by {100 * own["within"]:.0f} %'
    said += ' (Jaccard)'
    if own['between'] is not None:
      said += f', those of different classes by {100 * own["between"]:.0f} %'
    said += '.'
  return said


def _target_sentence(own: dict[str, Any], config: Any) -> str:
  if own['target_accuracy'] is None:
    return ''
  said = f'The target is right on {100 * own["target_accuracy"]:.2f} %'
  printed = paper.target_accuracy(config.data.name, config.target.model)
  if printed is not None:
    said += f' (the paper’s: {100 * printed:.2f} %)'
  return said + ' of the images.'


def _per_class(
  shares: np.ndarray, predictions: np.ndarray, classes: int
) -> np.ndarray:
  """Averages `[n, layers]` over the images of each class; NaN without any."""
  means = np.full((classes, shares.shape[1]), np.nan)
  for c in np.unique(predictions):
    means[c] = shares[predictions == c].mean(0)
  return means


def _curves(directory: epath.Path) -> list[tuple[str, Any]]:
  figures = []
  for stage, name in (('target', 'the target'), ('gencnp', 'GEN-CNP')):
    records = run_log.read(directory / stage / 'log.jsonl')
    if records:
      figures.append((f'Training of {name}.', plot.training_curves(records)))
  return figures

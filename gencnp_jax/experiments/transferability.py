"""Class-relevant pathways on other images (Fig. 6, 11-14, Table 6)."""

from __future__ import annotations

from typing import Any

import numpy as np

from gencnp_jax import metrics
from gencnp_jax.experiments import methods, paper, transfer_tables
from gencnp_jax.experiments.result import NamedFigure, Result
from gencnp_jax.experiments.run import Run, part, precise
from gencnp_jax.experiments.transfer_tables import PREDICTED, TRUE
from gencnp_jax.explainers.evaluation import defined
from gencnp_jax.explainers.inputs import batch_size_that_fits
from gencnp_jax.report import plot
from gencnp_jax.runtime import progress

SAMPLE, CLASS = 0.6, 0.7
"""eps_ss and eps_cn at which the paper's Fig. 6 is cut."""


def settled(run: Run) -> dict[str, Any]:
  """Returns what the numbers depend on."""
  section = run.config.evaluate
  names = ('methods', 'pathways', 'sparsity', 'split', 'limit', 'batch_size')
  experiments = run.config.experiments
  return {name: section[name] for name in names} | {
    'sample_sparsities': sorted(experiments.sample_sparsities),
    'class_sparsities': sorted(experiments.class_sparsities),
  }


def measure(run: Run) -> dict[str, Any]:
  """Returns 'rows', one a method, reading, eps_ss and eps_cn."""
  _ = run.evaluated  # Raises where it is not there: it kept the pathways.
  names, rows = methods.named(run.config), []
  alone = {k: v for k, v in settled(run).items() if k != 'methods'}
  with progress.Progress(len(names), 'Transferability', 'methods') as bar:
    for name in names:
      path = run.folder('transferability') / f'{name}.json'
      rows += part(path, alone, lambda n=name: _method(run, n))['rows']
      bar.update(1)
  return {'rows': rows}


def _held_out(rows: list[dict[str, Any]]) -> str:
  """Says how many images wear class pathways, by each reading."""
  counts = {row['by']: row['images'] for row in rows}
  return ' and '.join(f'{count} (by {by})' for by, count in counts.items())


@precise()
def _method(run: Run, name: str) -> dict[str, Any]:
  section, target = run.config.experiments, run.generative.target
  shapes = target.activation_shapes(run.images.shape[1:])
  sizes = tuple(int(np.prod(shape)) for shape in shapes)
  masks = methods.read_pathways(run.evaluate_folder, name, sizes)
  readings = {PREDICTED: run.details['predictions']}
  if run.labels is not None:
    readings = {TRUE: run.labels, **readings}
  rows = []
  for by, groups in readings.items():
    split = metrics.transfer_split(
      groups, section.sample_sparsities, run.config.seed
    )
    wearing = metrics.Wearing(
      target,
      run.images,
      run.labels,
      groups,
      split,
      off=run.generative.off,
      seed=run.config.seed,
      batch_size=run.config.evaluate.batch_size
      or batch_size_that_fits(target, run.images),
    )
    for sample in sorted(section.sample_sparsities):
      frequencies = metrics.neuron_frequencies(masks, split, sample)
      for threshold in sorted(section.class_sparsities):
        found = wearing(frequencies > threshold)
        rows.append(
          {
            'method': methods.TITLES[name],
            'by': by,
            'sample_sparsity': sample,
            'class_sparsity': threshold,
            **row(found),
          }
        )
  return {'rows': rows}


def row(found: metrics.Transfer) -> dict[str, Any]:
  """Returns what was measured as one flat mapping of JSON values."""
  faithful = found.faithfulness
  names = (
    *('accuracy', 'target_accuracy', 'agreement', 'increase_rate'),
    *('mean_increase', 'mean_decrease', 'mean_increase_of_risers'),
    *('mean_decrease_of_fallers', 'firing_sparsity', 'images'),
  )
  values = {name: defined(getattr(faithful, name)) for name in names}
  return values | {'swap': defined(found.swap)}


def present(run: Run, content: dict[str, Any] | None) -> Result | None:
  """Shows Fig. 6 and 11-14 and Table 6; nothing where it was not measured."""
  if content is None:
    return None
  rows = content['rows']
  data, model = paper.data_set(run), run.config.target.model
  fixed = transfer_tables.nearest(rows, 'sample_sparsity', SAMPLE)
  threshold = transfer_tables.nearest(rows, 'class_sparsity', CLASS)
  readings = list(dict.fromkeys(row['by'] for row in rows))
  figures = []
  for by in readings:
    slug = by.replace(' ', '_')
    figures.append(
      NamedFigure(
        f'transfer_{slug}',
        f'Class pathways by {by} on images that did not build them (Fig. 6): '
        f'over the sample sparsity at a class-relevant sparsity of '
        f'{100 * threshold:g} %, and over the class-relevant sparsity at a '
        f'sample sparsity of {100 * fixed:g} %. '
        + transfer_tables.reading(rows, by, fixed, threshold),
        plot.transfer(rows, threshold, fixed, by=by),
      )
    )
  last = ('accuracy', 'Accuracy')
  if TRUE not in readings:
    last = ('agreement', 'Agreement')
  for key, title in (
    ('mean_increase_of_risers', 'mIC*'),
    ('mean_decrease_of_fallers', 'mDC*'),
    last,
  ):
    if any(row[key] is not None for row in rows):
      figures.append(
        NamedFigure(
          f'transfer_grid_{key}',
          f'{title} over both sparsities, by {readings[0]} (Fig. 11-14).',
          plot.transfer_grid(rows, key, title, by=readings[0]),
        )
      )
  kept = run.config.evaluate.pathways
  said = ''
  if TRUE in readings:
    said = (
      'By true class the label chooses the pathway, so that an accuracy above '
      'the target’s own is the label speaking and not the image; by predicted '
      'class nothing is known that the target does not say. '
    )
  return Result(
    'Do class-relevant pathways transfer?',
    'A class pathway holds the neurons that are on in more than a share '
    '(class-relevant sparsity) of the pathways of drawn images of the class, '
    f'each cut at a firing sparsity of {100 * kept:g} %; all but a share '
    '(sample sparsity) are drawn from. It is worn by '
    f'{_held_out(rows)} images that were never drawn.\n\n{said}Swap leak: an '
    'image of another class wears the pathway and is given the pathway’s '
    'class.',
    tuple(
      transfer_tables.accuracy_table(rows, by, threshold, data, model)
      for by in readings
    ),
    tuple(figures),
    transfer_tables.warnings(rows, readings[-1], fixed, threshold),
    tuple(
      table
      for by in readings
      for table in transfer_tables.class_tables(rows, by, fixed)
    ),
    (transfer_tables.long_table(rows),),
  )

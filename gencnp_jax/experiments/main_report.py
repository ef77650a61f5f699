"""The report: what was explained, each experiment, examples, training."""

from __future__ import annotations

from typing import Any

from etils import epath

from gencnp_jax import pathway, workspace
from gencnp_jax.experiments import methods, registry
from gencnp_jax.experiments.run import Run
from gencnp_jax.report import Report, Section, plot, write
from gencnp_jax.runtime import checkpoints, run_log

_NAMES = {
  'alexnet': 'AlexNet',
  'vgg11': 'VGG-11',
  'cifar10': 'CIFAR-10',
  'digits': 'handwritten digits',
}
_PROTOCOL = (
  'The target was trained on the very images that are explained here, the '
  'paper’s protocol for ImageNet: its accuracy says nothing of other images.'
)


def write_report(run: Run) -> epath.Path:
  """Writes `report.html`, and each experiment's tables and figures as files.

  Args:
    run: after stage evaluate.

  Returns:
    The report's path.
  """
  own = run.evaluated['rows'][0]
  facts = run.evaluated['facts'] | {'training': _wall_time(run)}
  found = registry.results(run)
  for name in registry.EXPERIMENTS:
    # What is no longer shown, or under another name, is no longer there.
    for suffix in ('csv', 'png', 'svg'):
      for path in run.folder(name).glob(f'*.{suffix}'):
        path.unlink()
    if name in found:
      found[name].save(run.folder(name))
  target = _NAMES[run.config.target.model]
  data = _NAMES.get(facts['data set'], facts['data set'])
  return write(
    run.directory / 'report.html',
    Report(
      f'Neural pathways of {target} on {data}',
      _lead(own, run.trained_on),
      facts,
      [
        *(result.section() for result in found.values()),
        Section('Examples', figures=_examples(run)),
        Section('Training', figures=_curves(run.directory)),
      ],
      run.config.to_yaml(),
    ),
  )


def _lead(own: dict[str, Any], train_on: str) -> str:
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
  return f'{said} {_PROTOCOL}' if train_on == 'test' else said


def _wall_time(run: Run) -> str:
  """Says how long the trainings took, by their logs."""
  said = []
  for stage in ('target', 'gencnp'):
    # Of its own config: a target may have been taken from another run.
    about = checkpoints.read_about(
      workspace.checkpoint_directory(run.directory, stage)
    )
    batch = about['config'][stage]['batch_size']
    seconds, before = 0.0, 0
    for record in run_log.read(run.directory / stage / 'log.jsonl'):
      if record.get('images_per_second'):
        images = (record['step'] - before) * batch
        seconds += images / record['images_per_second']
        before = record['step']
    said.append(f'{stage} {seconds:.0f} s')
  return ', '.join(said)


def _examples(run: Run) -> list[tuple[str, Any]]:
  examples = pathway.Explanation.load(run.evaluate_folder / methods.EXAMPLES)
  return [
    (
      'Images and their pathways: at each position the share of '
      'channels that are on. Beside each image the prediction, and its '
      'confidence without and with the pathway.',
      plot.examples(
        run.details['example_images'],
        examples.masks,
        examples.logits,
        examples.pathway_logits,
        run.about_target['class_names'],
      ),
    )
  ]


def _curves(directory: epath.Path) -> list[tuple[str, Any]]:
  figures = []
  for stage, name in (('target', 'the target'), ('gencnp', 'GEN-CNP')):
    records = run_log.read(directory / stage / 'log.jsonl')
    if records:
      figures.append((f'Training of {name}.', plot.training_curves(records)))
  return figures

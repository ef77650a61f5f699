"""Measures GEN-CNP and the baselines, a method at a time.

What a method gave is written as soon as it is there, so that an interrupted
evaluation goes on with the next method.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from etils import epath

from gencnp_jax import explainers, metrics, pathway, settings
from gencnp_jax.experiments.run import (
  DETAILS,
  Run,
  on_this_machine,
  part,
  precise,
  read_arrays,
)
from gencnp_jax.explainers.kept import Kept
from gencnp_jax.runtime import files, processes, profile

EXAMPLES = 'examples.npz'

BASELINES = {
  'neuron_mct': explainers.NeuronMCT,
  'neuron_int_grad': explainers.NeuronIntGrad,
  'original_activation': explainers.OriginalActivation,
  'greedy': explainers.Greedy,
  'dgr': explainers.DGR,
  'dgr_r': functools.partial(explainers.DGR, init='random'),
  'random': explainers.Random,
}
"""Word in `evaluate.methods` -> explainer of (target, sparsity, seed, off)."""
TITLES = {
  'gencnp': 'GEN-CNP',
  'neuron_mct': 'NeuronMCT',
  'neuron_int_grad': 'NeuronIntGrad',
  'dgr': 'DGR',
  'dgr_r': 'DGR_R',
  'greedy': 'Greedy',
  'original_activation': 'Original Activation',
  'random': 'Random',
}
"""Word in `evaluate.methods` -> name in tables."""

# What may differ between a method's stored numbers and the run that reads them.
_FREE = ('methods', 'examples', 'sparsity')


def named(config: Any) -> tuple[str, ...]:
  """Returns the words of the methods that are measured, GEN-CNP first."""
  chosen = settings.methods(config.evaluate.methods)
  return ('gencnp', *(name for name in chosen if name != 'gencnp'))


def curve(config: Any) -> tuple[float, ...]:
  """Returns the sparsities of the curve: those asked for, and the kept one."""
  section = config.evaluate
  kept = (section.pathways,) if section.pathways else ()
  return tuple(sorted({*section.sparsities, *kept}))


def possible(run: Run, sparsity: float) -> float:
  """Returns the nearest firing sparsity with a neuron on, and one off.

  Pathways that are all or nothing still have others to stand beside.
  """
  shapes = run.generative.target.activation_shapes(run.images.shape[1:])
  neuron = 1 / pathway.neuron_count(shapes)
  return float(np.clip(sparsity, neuron, 1 - neuron))


def measure(
  run: Run, generative: explainers.Generative, folder: epath.Path
) -> dict[str, Any]:
  """Measures the methods of a config on its test (or validation) images.

  Args:
    run: whose config says which methods, and at which sparsities.
    generative: a trained GEN-CNP; the baselines share its ablation, and its
      mean firing sparsity.
    folder: where per-image details of GEN-CNP, its explanation of the first
      images, a JSON file a method and the pathways to keep are written, and
      found again.

  Returns:
    'rows', 'curve' and 'roap' (see `Comparison`), and 'seconds' in all.
  """
  section = run.config.evaluate
  settled = {k: v for k, v in section.to_dict().items() if k not in _FREE}

  def measured(name, explainer, settings):
    traced = profile.recorded(
      folder / 'profile' / name, run.config.runtime.profile
    )
    with traced:
      compared = run.compare(
        [explainer],
        curve(run.config),
        tuple(section.roap_sparsities),
        keep=Kept(folder / f'{name}.partial.npz', on_this_machine(settings)),
      )
    for evaluation in compared.curve:
      if evaluation.cut == section.pathways:
        _write_pathways(folder, name, evaluation.masks)
    return compared

  def as_json(compared):
    return {
      'rows': compared.rows(),
      'curve': compared.curve_rows(),
      'roap': list(compared.roap),
    }

  def own():
    compared = measured('gencnp', generative, with_examples)
    examples = run.shown
    with precise():
      explained = generative(examples, importance=False)
    _write_details(folder, compared[0], run.labels, examples, explained)
    return as_json(compared)

  with_examples = settled | {'examples': section.examples}
  parts = [part(folder / 'gencnp.json', with_examples, own)]
  mean = parts[0]['rows'][0]['firing_sparsity']
  sparsity = section.sparsity or possible(run, mean)
  for name in named(run.config)[1:]:
    explainer = BASELINES[name](
      generative.target, sparsity, seed=run.config.seed, off=generative.off
    )
    of_method = settled | {'at': sparsity}
    parts.append(
      part(
        folder / f'{name}.json',
        of_method,
        lambda given=(name, explainer, of_method): as_json(measured(*given)),
      )
    )
  return {
    'rows': [row for found in parts for row in found['rows']],
    'curve': [row for found in parts for row in found['curve']],
    'roap': [row for found in parts for row in found['roap']],
    'seconds': sum(found['seconds'] for found in parts),
  }


def read_pathways(
  folder: epath.Path, name: str, layer_sizes: tuple[int, ...]
) -> metrics.PackedMasks:
  """Reads the pathways of a method, cut at `evaluate.pathways`.

  Args:
    folder: as in `measure`.
    name: of the method, a word in `evaluate.methods`.
    layer_sizes: neurons of each layer.

  Raises:
    ValueError: there are none.
  """
  path = folder / f'{name}_pathways.npz'
  if not path.exists():
    raise ValueError(
      f'{path} is not there; set config.evaluate.pathways to the firing '
      'sparsity at which pathways are to be kept, and add evaluate to '
      'config.stages.'
    )
  arrays = read_arrays(path, 'evaluate')
  if 'bits' not in arrays:
    raise ValueError(f'{path} is no file of pathways: it holds no `bits`.')
  return metrics.PackedMasks(arrays['bits'], layer_sizes)


def _write_pathways(
  folder: epath.Path, name: str, masks: metrics.PackedMasks
) -> None:
  write_arrays(folder / f'{name}_pathways.npz', bits=masks.bits)


def _write_details(
  folder: epath.Path,
  own: explainers.Evaluation,
  labels: np.ndarray | None,
  examples: np.ndarray,
  explained: pathway.Explanation,
) -> None:
  labelled = {} if labels is None else {'labels': labels}
  write_arrays(
    folder / DETAILS,
    predictions=own.predictions,
    confidences=own.confidences,
    sparsity=own.sparsity_of_images,
    layer_shares=own.layer_counts / own.layer_sizes,
    example_images=examples,
    **labelled,
  )
  processes.from_first(lambda: explained.save(folder / EXAMPLES))


def write_arrays(path: epath.Path, **arrays: np.ndarray) -> None:
  """Writes an .npz file; see `files.write`."""
  files.write(path, lambda file: np.savez_compressed(file, **arrays))

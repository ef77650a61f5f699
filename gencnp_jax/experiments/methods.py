"""Measures GEN-CNP and the baselines, a method at a time.

What a method gave is written as soon as it is there, so that an interrupted
evaluation goes on with the next method.
"""

from __future__ import annotations

import functools
import json
import time
from typing import Any

import jax
import numpy as np
from absl import logging
from etils import epath

from gencnp_jax import (
  data,
  explainers,
  metrics,
  pathway,
  products,
  settings,
)
from gencnp_jax.runtime import workdir

DETAILS = 'details.npz'
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

# What may differ between a method's stored numbers and the run that reads them.
_FREE = ('methods', 'examples', 'sparsity')


def measure(
  config: Any,
  generative: explainers.Generative,
  splits: data.Splits,
  folder: epath.Path,
) -> dict[str, Any]:
  """Measures the methods of a config on its test (or validation) images.

  Args:
    config: of the run.
    generative: the trained GEN-CNP.
    splits: the data.
    folder: where per-image details of GEN-CNP, its explanation of the first
      images, and a JSON file a method are written, and found again.

  Returns:
    'rows' and 'curve' (see `Comparison`), and 'seconds' in all.

  Raises:
    ValueError: a split that is not there.
  """
  section = config.evaluate
  chosen = splits.test if section.split == 'test' else splits.validation
  if chosen is None:
    raise ValueError(
      "config.evaluate.split='validation': no images are held out; set "
      'config.data.validation_share above 0, or evaluate on the test split.'
    )
  count = min(section.limit or len(chosen.images), len(chosen.images))
  images = chosen.images[:count]
  common = {
    'labels': None if chosen.labels is None else chosen.labels[:count],
    'sparsities': tuple(section.sparsities),
    'batch_size': section.batch_size or None,
    'blank': metrics.mean_image(splits.train.images),
    'seed': config.seed,
  }
  settled = {k: v for k, v in section.to_dict().items() if k not in _FREE}
  settled |= {'device': products.device(), 'versions': products.versions()}
  folder.mkdir(parents=True, exist_ok=True)

  def own():
    compared = explainers.evaluate([generative], images, **common)
    shown = generative(images[: max(section.examples, 1)], importance=False)
    _write_details(folder, compared[0], images, shown)
    return compared

  with_examples = settled | {'examples': section.examples}
  parts = [_part(folder, 'gencnp', with_examples, own)]
  # Pathways that are all or nothing still have baselines to stand beside.
  shapes = generative.target.activation_shapes(images.shape[1:])
  neuron = 1 / pathway.neuron_count(shapes)
  mean = parts[0]['rows'][0]['firing_sparsity']
  sparsity = section.sparsity or float(np.clip(mean, neuron, 1 - neuron))
  for name in settings.methods(section.methods):
    if name in BASELINES:
      explainer = BASELINES[name](
        generative.target, sparsity, seed=config.seed, off=generative.off
      )
      run = functools.partial(
        explainers.evaluate, [explainer], images, **common
      )
      parts.append(_part(folder, name, settled | {'at': sparsity}, run))
  return {
    'rows': [row for part in parts for row in part['rows']],
    'curve': [row for part in parts for row in part['curve']],
    'seconds': sum(part['seconds'] for part in parts),
  }


def _part(folder, name: str, settled: dict[str, Any], run) -> dict[str, Any]:
  """Returns a method's rows: those of its file, where the settings are equal."""
  path = folder / f'{name}.json'
  settled = json.loads(json.dumps(settled))
  if path.exists():
    try:
      part = json.loads(path.read_text())
      if part['settings'] == settled:
        logging.info('%s is there: not measured again.', path)
        return part
    except (ValueError, KeyError, TypeError):
      logging.warning('%s is damaged: measured again.', path)
  start = time.monotonic()
  # Float32 products run in lower precision on TPU and GPU unless told not to.
  with jax.default_matmul_precision('highest'):
    compared = run()
  part = {
    'settings': settled,
    'rows': compared.rows(),
    'curve': compared.curve_rows(),
    'seconds': time.monotonic() - start,
  }
  workdir.write_json(path, part)
  return part


def _write_details(folder, own: explainers.Evaluation, images, shown) -> None:
  temporary = folder / f'.{DETAILS}'
  with temporary.open('wb') as file:
    np.savez_compressed(
      file,
      predictions=own.predictions,
      sparsity=own.sparsity_of_images,
      layer_shares=own.layer_counts / own.layer_sizes,
      example_images=images[: len(shown)],
    )
  temporary.replace(folder / DETAILS)
  shown.save(folder / EXAMPLES)

"""The experiments by name: which there are, what they need, their numbers.

Each module has `present(run, content) -> Result | None`, content being None
where nothing was measured for it. One that measures more than stage evaluate
does has `settled(run)`, what its numbers depend on, and `measure(run)`.
"""

from __future__ import annotations

import json
from typing import Any

from absl import logging

from gencnp_jax import settings
from gencnp_jax.choices import SettingsError
from gencnp_jax.experiments import (
  ablations,
  class_iou,
  embedding,
  faithfulness,
  instance_sparsity,
  leakage,
  pictures,
  roap,
  transferability,
)
from gencnp_jax.experiments.result import Result
from gencnp_jax.experiments.run import Run, part
from gencnp_jax.experiments.stored import MEASURED

EXPERIMENTS = {
  'faithfulness': faithfulness,
  'class_iou': class_iou,
  'roap': roap,
  'transferability': transferability,
  'ablations': ablations,
  'embedding': embedding,
  'leakage': leakage,
  'instance_sparsity': instance_sparsity,
  'pictures': pictures,
}


def check(config: Any) -> None:
  """Checks that the evaluation measures what the named experiments show.

  Raises:
    SettingsError: names the field to set.
  """
  named = settings.experiments(config.experiments.names)
  section = config.evaluate
  curve = tuple(section.sparsities) + tuple(section.roap_sparsities)
  for name, missing, field, remedy in (
    ('roap', not curve, 'roap_sparsities', '(.2, .4, .6, .8, .95)'),
    ('transferability', not section.pathways, 'pathways', '.95'),
    ('leakage', not section.sparsities, 'sparsities', '(.7, .8, .9, .95)'),
  ):
    if name in named and missing:
      raise SettingsError(
        f'config.evaluate.{field}={section[field]!r}: experiment {name} needs '
        f'it; set it, such as to {remedy}.'
      )


def measure(run: Run, name: str) -> None:
  """Measures an experiment, where it is more than the evaluation."""
  module = EXPERIMENTS[name]
  if hasattr(module, 'measure'):
    part(
      run.folder(name) / MEASURED,
      module.settled(run),
      lambda: module.measure(run),
    )


def results(run: Run) -> dict[str, Result]:
  """Returns what there is to show of each experiment."""
  found = {
    name: module.present(run, _measured(run, name))
    for name, module in EXPERIMENTS.items()
  }
  return {name: result for name, result in found.items() if result}


def _measured(run: Run, name: str) -> dict[str, Any] | None:
  """Reads what was measured with the settings of the run, if anything."""
  module, path = EXPERIMENTS[name], run.folder(name) / MEASURED
  if not hasattr(module, 'measure') or not path.exists():
    return None
  now = json.loads(json.dumps(module.settled(run)))
  try:
    content = json.loads(path.read_text())
    before = {key: content['settings'].get(key) for key in now}
  except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
    logging.warning(
      '%s is damaged: left out of the report. Add experiments to config.stages '
      'to measure it again.',
      path,
    )
    return None
  if before != now:
    changed = ', '.join(key for key in now if before[key] != now[key])
    logging.warning(
      '%s was measured with other settings (%s): left out of the report. Add '
      'experiments to config.stages to measure it again.',
      path,
      changed,
    )
    return None
  return content

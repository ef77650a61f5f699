"""Variants of a GEN-CNP: other settings of its section, the same target.

Each is a workdir of its own in `variants/`, trained by the stages that train
the run's own, skipped where it is trained, resumed where it was interrupted.
"""

from __future__ import annotations

import copy
from typing import Any

from absl import logging
from etils import epath

from gencnp_jax import (
  explainers,
  products,
  settings,
  training_stages,
  workspace,
)
from gencnp_jax.experiments.run import Run
from gencnp_jax.runtime import workdir


def trained(run: Run, name: str, **changes: Any) -> explainers.Generative:
  """Returns a GEN-CNP with other settings; the run's own where they are equal.

  Args:
    run: whose target, data and other settings it shares.
    name: of its folder.
    **changes: fields of the config's section `gencnp`.

  Raises:
    ValueError: the folder holds a variant of other settings.
  """
  section = run.config.gencnp
  if all(section[field] == value for field, value in changes.items()):
    return run.generative
  directory = folder(run, name)
  directory.mkdir(parents=True, exist_ok=True)
  config = copy.deepcopy(run.config)
  config.target.workdir = str(run.directory)
  for field, value in changes.items():
    config.gencnp[field] = value
  workdir.check_config(
    directory, config.to_dict(), settings.FREE, settings.before().to_dict()
  )
  said = ', '.join(f'{field}={value}' for field, value in changes.items())
  logging.info('Variant %s: gencnp.%s', name, said)
  training_stages.train_target(config, directory, run.splits)
  training_stages.train_gencnp(config, directory, run.splits)
  return products.needed(directory, 'gencnp', workspace.load_explainer)


def folder(run: Run, name: str) -> epath.Path:
  """Returns the workdir of a variant."""
  return run.directory / 'variants' / name

"""A trained workdir for others: what explaining needs, in half the bytes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from gencnp_jax import products, settings, workspace
from gencnp_jax.choices import one_of
from gencnp_jax.runtime import (
  buckets,
  checkpoint_files,
  checkpoints,
  workdir,
)


def share_workdir(
  path: epath.PathLike, out: epath.PathLike, dtype: str = 'bfloat16'
) -> epath.Path:
  """Copies a trained workdir without what going on with its training needs.

  The copy opens like any workdir, by `load_explainer` and by the stages after
  the training, which measure it again. Parameters are rounded to `dtype`, and
  computed with in float32; statistics and the means of off neurons are kept.

  Args:
    path: of a workdir, or a checkpoint in it; local or `gs://`. The target goes
      along, unless `fit` made the GEN-CNP for a model of your own.
    out: a new folder, or an empty one.
    dtype: 'bfloat16', or 'float32', which rounds nothing.

  Returns:
    out.

  Raises:
    CheckpointError: no checkpoint of a GEN-CNP, or a damaged one.
    ValueError: an interrupted training, a folder that is not empty, another
      dtype.
  """
  one_of('dtype', dtype, settings.DTYPES)
  source = workspace.find(path, 'gencnp')
  buckets.check(out, '--out')
  out = epath.Path(out)
  if out.exists() and not (out.is_dir() and not any(out.iterdir())):
    raise ValueError(
      f'--out={out} is there, and not an empty folder; name a new one.'
    )
  stages = [
    stage
    for stage in ('target', 'gencnp')
    if workspace.checkpoint_directory(source, stage).exists()
  ]
  for stage in stages:
    products.check_finished(source, stage)
  for stage in stages:
    _share(source, out, stage, jnp.dtype(dtype))
  for name in (workdir.CONFIG, f'gencnp/{workspace.OFF}'):
    if (source / name).exists():
      (source / name).copy(out / name)
  # Last: what is half copied is taken for an interrupted training.
  for stage in stages:
    (source / stage / products.DONE).copy(out / stage / products.DONE)
  return out


def _share(source, out, stage: str, dtype: Any) -> None:
  directory = workspace.checkpoint_directory(source, stage)
  step = checkpoint_files.newest(directory)
  path = buckets.absolute(directory) / str(step)
  variables = checkpoint_files.read(path, 'variables')
  variables['params'] = jax.tree.map(
    lambda x: np.asarray(x, dtype), variables['params']
  )
  about = checkpoint_files.about_of(path) | {'stored': str(dtype)}
  where = workspace.checkpoint_directory(out, stage)
  with checkpoints.Checkpoints(where, about) as shared:
    shared.save(step, variables)

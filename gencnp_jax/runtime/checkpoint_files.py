"""Checkpoints on disk: their steps, what they say, their arrays, and the sums."""

from __future__ import annotations

import itertools
import json
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from etils import epath

from gencnp_jax.runtime import buckets

FORMAT = 1
"""Version of what a checkpoint holds."""


_COMMITTED = 'commit_success.txt'
_reads = itertools.count()


class CheckpointError(ValueError):
  """A checkpoint that cannot be used, and why."""


def checksums(tree: Any) -> dict[str, int]:
  """Returns the CRC-32 of each leaf's bytes, by its path in the tree."""
  return {
    jax.tree_util.keystr(path): zlib.crc32(
      np.ascontiguousarray(leaf).reshape(-1).view(np.uint8)
    )
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def as_read(tree: Any) -> Any:
  """Returns a tree of arrays with float32 for bfloat16.

  Checksums are of this: a template of float32 takes what was rounded to save room.
  """
  return jax.tree.map(
    lambda x: x.astype(np.float32) if x.dtype == jnp.bfloat16 else x, tree
  )


def steps(directory: epath.Path) -> list[int]:
  """Returns the steps that a directory holds, good or not, in order."""
  if not directory.exists():
    return []
  # Other names are no steps: a copy, a half-written one, a user's notes.
  return sorted(
    int(path.name)
    for path in directory.iterdir()
    if path.name.isdigit()
    and str(int(path.name)) == path.name
    and _is_whole(path)
  )


def _is_whole(path: epath.Path) -> bool:
  """Returns whether a step was written to its end."""
  if buckets.is_remote(path):
    # It has its name from the start, and this file at the end.
    return (path / _COMMITTED).exists()
  return path.is_dir()


def about_of(path: epath.Path) -> dict[str, Any]:
  """Reads what a step says of itself.

  Raises:
    CheckpointError: damaged, or of another format.
  """
  try:
    # Plain JSON: one of several processes may read it on its own.
    about = json.loads((path / 'about' / 'metadata').read_text())
  except (OSError, ValueError, RecursionError) as error:
    raise CheckpointError(f'{path}: damaged, no readable `about`.') from error
  if not isinstance(about, dict):
    raise CheckpointError(f'{path}: damaged, `about` is no mapping.')
  if about.get('format') != FORMAT:
    raise CheckpointError(
      f'{path}: checkpoint format {about.get("format")}; this version reads '
      f'format {FORMAT}.'
    )
  return about


def read(path: epath.Path, item: str, like: Any = None) -> Any:
  """Reads a tree of a step, NumPy leaves, and checks every leaf.

  Args:
    path: of the step.
    item: 'variables' or 'training'.
    like: a tree of arrays or shape structs, shaped like it; None takes what is
      there.

  Raises:
    CheckpointError: damaged, or of another model.
  """
  about = about_of(path)
  # NumPy leaves restore on any number of devices.
  blank = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)
  try:
    # Each process on its own: where one finds damage, none waits for it.
    mine = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
      mine, {mine}, f'{mine}_{next(_reads)}'
    )
    with ocp.StandardCheckpointer(multiprocessing_options=alone) as reader:
      tree = reader.restore(path / item, blank)
  except Exception as error:  # Orbax raises a dozen types for a damaged file.
    reason = str(error).partition('\n')[0] or type(error).__name__
    raise CheckpointError(
      f'{path}: {item} damaged, or not of this model: {reason}'
    ) from error
  # Orbax gives an array of another shape as it is stored, without a word.
  for (where, leaf), wanted in zip(
    jax.tree_util.tree_leaves_with_path(tree), jax.tree.leaves(blank)
  ):
    if leaf.shape != wanted.shape:
      raise CheckpointError(
        f'{path}: {item} is not of this model: '
        f'{jax.tree_util.keystr(where)} has shape {leaf.shape}, the model '
        f'needs {wanted.shape}.'
      )
  try:
    found, expected = checksums(as_read(tree)), about['checksums'][item]
    wrong = [k for k in found if expected.get(k) != found[k]]
  except (KeyError, TypeError, AttributeError) as error:
    raise CheckpointError(
      f'{path}: damaged, no checksums in `about`.'
    ) from error
  if wrong:
    raise CheckpointError(
      f'{path}: {item} damaged, {wrong[0]} fails its checksum.'
    )
  return tree


def read_about(directory: epath.PathLike) -> dict[str, Any]:
  """Reads what the newest checkpoint of a directory says of itself.

  Raises:
    CheckpointError: no checkpoint there, or one of another format.
  """
  step = newest(directory)
  return about_of(buckets.absolute(directory) / str(step))


def read_variables(directory: epath.PathLike, like: Any) -> Any:
  """Reads the newest variables of a directory, on any device count.

  Args:
    directory: where a stage saved.
    like: a tree of arrays or shape structs, shaped like the variables.

  Raises:
    CheckpointError: none there, or a damaged one.
  """
  step = newest(directory)
  return read(buckets.absolute(directory) / str(step), 'variables', like)


def newest(directory: epath.PathLike) -> int:
  """Returns the newest step of a directory.

  Raises:
    CheckpointError: none there.
  """
  path = epath.Path(directory)
  there = steps(path)
  if not there:
    found = sorted(p.name for p in path.iterdir()) if path.exists() else []
    raise CheckpointError(
      f'{path}: there is no checkpoint here; the folder '
      + (f'holds {", ".join(found)}.' if found else 'is missing or empty.')
    )
  return there[-1]

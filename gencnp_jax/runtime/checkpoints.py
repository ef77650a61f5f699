"""Checkpoints: orbax, NumPy leaves, and a JSON that opens them by themselves.

A step holds `variables` (all that using the model needs), `training` (what going
on needs besides) and `about` (model, data set, config, and a checksum of every
leaf: orbax does not notice a flipped byte). The newest good step is restored; a
damaged one is named and set aside.
"""

from __future__ import annotations

import zlib
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging
from etils import epath

from gencnp_jax.runtime import devices

FORMAT = 1
"""Version of what a checkpoint holds."""
_KEEP = 2
_DAMAGED = 'damaged'


class CheckpointError(ValueError):
  """A checkpoint that cannot be used, and why."""


class Checkpoints:
  """The checkpoints of one stage.

  Args:
    directory: where; made if need be.
    about: JSON mapping that describes the state: enough to rebuild it.
  """

  def __init__(self, directory: epath.PathLike, about: dict[str, Any]):
    self._directory = epath.Path(directory).absolute()
    self._about = about
    self._manager = ocp.CheckpointManager(
      self._directory,
      options=ocp.CheckpointManagerOptions(
        preservation_policy=ocp.checkpoint_managers.LatestN(_KEEP),
      ),
    )

  def save(self, step: int, variables: Any, training: Any) -> None:
    """Saves replicated trees; returns while the files are being written.

    Args:
      step: number of steps done.
      variables: what using the model needs.
      training: what going on with the training needs besides.

    Raises:
      AssertionError: devices that hold different values.
      CheckpointError: a step that is not past the newest one there.
    """
    trees = {'variables': variables, 'training': training}
    devices.assert_replicas_equal(trees)
    trees = devices.to_host(trees)
    about = {
      **self._about,
      'format': FORMAT,
      'checksums': {item: checksums(tree) for item, tree in trees.items()},
    }
    saved = {item: ocp.args.StandardSave(tree) for item, tree in trees.items()}
    done = self._manager.save(
      step,
      args=ocp.args.Composite(**saved, about=ocp.args.JsonSave(about)),
    )
    if not done:  # Orbax skips such a step without a word.
      raise CheckpointError(
        f'{self._directory}: step {step} was not saved; the folder holds step '
        f'{self.latest()}, and only a later one can follow.'
      )

  def latest(self) -> int | None:
    """Returns the newest step, good or not; None without one."""
    return self._manager.latest_step()

  def restore(self, variables: Any, training: Any) -> tuple | None:
    """Restores the newest good step.

    Args:
      variables: tree of arrays or shape structs, shaped like what was saved.
      training: likewise.

    Returns:
      `(step, variables, training)`, NumPy leaves; None where nothing was saved.

    Raises:
      CheckpointError: there are checkpoints, and none is good.
    """
    steps = sorted(self._manager.all_steps(), reverse=True)
    for count, step in enumerate(steps):
      path = self._directory / str(step)
      try:
        restored = (
          step,
          _read(path, 'variables', variables),
          _read(path, 'training', training),
        )
      except CheckpointError as error:
        logging.error('%s', error)
        continue
      self._set_aside(steps[:count])
      return restored
    if steps:
      # Left where they are: the next run must not take the folder for new.
      raise CheckpointError(
        f'{self._directory}: none of the checkpoints {steps} is good. Restore '
        'them from a copy, or remove the folder to start over.'
      )
    return None

  def _set_aside(self, steps: list[int]) -> None:
    """Moves damaged steps out of the way of those that will be saved anew."""
    for step in steps:
      aside, again = self._directory.parent / f'{_DAMAGED}-{step}', 1
      while aside.exists():
        again += 1
        aside = self._directory.parent / f'{_DAMAGED}-{step}-{again}'
      logging.error('Step %d is set aside as %s.', step, aside)
      (self._directory / str(step)).rename(aside)
    if steps:
      self._manager.reload()

  def close(self) -> None:
    """Waits for the last save."""
    self._manager.wait_until_finished()
    self._manager.close()

  def __enter__(self) -> Checkpoints:
    return self

  def __exit__(self, *unused) -> None:
    self.close()


def read_about(directory: epath.PathLike) -> dict[str, Any]:
  """Reads what the newest checkpoint of a directory says of itself.

  Raises:
    CheckpointError: no checkpoint there, or one of another format.
  """
  step = _newest(directory)
  return _read_about(epath.Path(directory).absolute() / str(step))


def read_variables(directory: epath.PathLike, like: Any) -> Any:
  """Reads the newest variables of a directory, on any device count.

  Args:
    directory: where a stage saved.
    like: a tree of arrays or shape structs, shaped like the variables.

  Raises:
    CheckpointError: none there, or a damaged one.
  """
  step = _newest(directory)
  return _read(epath.Path(directory).absolute() / str(step), 'variables', like)


def checksums(tree: Any) -> dict[str, int]:
  """Returns the CRC-32 of each leaf's bytes, by its path in the tree."""
  return {
    jax.tree_util.keystr(path): zlib.crc32(
      np.ascontiguousarray(leaf).reshape(-1).view(np.uint8)
    )
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
  }


def _newest(directory: epath.PathLike) -> int:
  path = epath.Path(directory)
  found = sorted(p.name for p in path.iterdir()) if path.exists() else []
  steps = [int(name) for name in found if name.isdigit()]
  if not steps:
    raise CheckpointError(
      f'{path}: there is no checkpoint here; the folder '
      + (f'holds {", ".join(found)}.' if found else 'is missing or empty.')
    )
  return max(steps)


def _read_about(path: epath.Path) -> dict[str, Any]:
  try:
    with ocp.Checkpointer(ocp.JsonCheckpointHandler()) as reader:
      about = reader.restore(path / 'about')
  except Exception as error:  # Orbax raises a dozen types for a damaged file.
    raise CheckpointError(f'{path}: damaged, no readable `about`.') from error
  if about.get('format') != FORMAT:
    raise CheckpointError(
      f'{path}: checkpoint format {about.get("format")}; this version reads '
      f'format {FORMAT}.'
    )
  return about


def _read(path: epath.Path, item: str, like: Any) -> Any:
  about = _read_about(path)
  # NumPy leaves restore on any number of devices.
  blank = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), like)
  try:
    with ocp.StandardCheckpointer() as reader:
      tree = reader.restore(path / item, blank)
  except Exception as error:  # As above.
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
  found, expected = checksums(tree), about['checksums'][item]
  wrong = [k for k in expected if found.get(k) != expected[k]]
  if wrong:
    raise CheckpointError(
      f'{path}: {item} damaged, {wrong[0]} fails its checksum.'
    )
  return tree

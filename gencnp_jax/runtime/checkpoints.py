"""Checkpoints: orbax, NumPy leaves, and a JSON that opens them by themselves.

A step holds `variables` (all that using the model needs), `training` (what going
on needs besides) and `about` (model, data set, config, and a checksum of every
leaf: orbax does not notice a flipped byte). The newest good step is restored; a
damaged one is named and set aside.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import orbax.checkpoint as ocp
from absl import logging
from etils import epath

from gencnp_jax.runtime import buckets, checkpoint_files, devices, processes
from gencnp_jax.runtime.checkpoint_files import FORMAT as FORMAT
from gencnp_jax.runtime.checkpoint_files import (
  CheckpointError as CheckpointError,
)
from gencnp_jax.runtime.checkpoint_files import checksums as checksums

_KEEP = 2
_DAMAGED = 'damaged'


class _Manager(ocp.CheckpointManager):
  """Orbax's manager, which leaves preemption to `preemption.py`."""

  def reached_preemption(self, step: int) -> bool:
    # JAX's protocol counts the times that it is asked: asked about orbax's
    # steps in between, it waits for a number that never comes.
    return False


class Checkpoints:
  """The checkpoints of one stage.

  Args:
    directory: where; made if need be.
    about: JSON mapping that describes the state: enough to rebuild it.

  Raises:
    BucketError: a bucket that cannot be used.
  """

  def __init__(self, directory: epath.PathLike, about: dict[str, Any]):
    self._directory = buckets.absolute(directory)
    self._about = about
    buckets.check_rights(self._directory)
    self._manager = _Manager(
      self._directory,
      options=ocp.CheckpointManagerOptions(
        preservation_policy=ocp.checkpoint_managers.LatestN(_KEEP),
      ),
    )

  def save(
    self,
    step: int,
    variables: Any,
    training: Any,
    progress: dict[str, Any] | None = None,
  ) -> None:
    """Saves replicated trees; returns while the files are being written.

    Args:
      step: number of steps done.
      variables: what using the model needs.
      training: what going on with the training needs besides.
      progress: JSON mapping that going on with the run needs besides.

    Raises:
      AssertionError: devices that hold different values.
      CheckpointError: a step that is not past the newest one there, processes
        that hold different values, or files that cannot be written.
    """
    trees = {'variables': variables, 'training': training}
    devices.assert_replicas_equal(trees)
    trees = devices.to_host(trees)
    sums = {item: checksums(tree) for item, tree in trees.items()}
    for item, of_leaves in sums.items():
      processes.check_same(
        f'{item} at step {step}', of_leaves, 'Nothing was saved.'
      )
    about = {
      **self._about,
      'format': FORMAT,
      'checksums': sums,
      'progress': progress or {},
    }
    saved = {item: ocp.args.StandardSave(tree) for item, tree in trees.items()}
    with self._explained(step):
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
    steps = checkpoint_files.steps(self._directory)
    return steps[-1] if steps else None

  def restore(self, variables: Any, training: Any) -> tuple | None:
    """Restores the newest step that is good in all processes.

    Args:
      variables: tree of arrays or shape structs, shaped like what was saved.
      training: likewise.

    Returns:
      `(step, variables, training, progress)`, NumPy leaves; None where nothing
      was saved.

    Raises:
      CheckpointError: there are checkpoints, and none is good.
    """
    steps = processes.from_first(
      lambda: checkpoint_files.steps(self._directory)
    )
    for count, step in enumerate(reversed(steps)):
      path, restored = self._directory / str(step), None
      try:
        restored = (
          step,
          checkpoint_files.read(path, 'variables', variables),
          checkpoint_files.read(path, 'training', training),
          checkpoint_files.about_of(path).get('progress', {}),
        )
      except CheckpointError as error:
        logging.error('%s', error)
      if all(processes.from_all(restored is not None)):
        self._set_aside(steps[len(steps) - count :])
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

    def move():
      for step in steps:
        aside, again = self._directory.parent / f'{_DAMAGED}-{step}', 1
        while aside.exists():
          again += 1
          aside = self._directory.parent / f'{_DAMAGED}-{step}-{again}'
        logging.error('Step %d is set aside as %s.', step, aside)
        (self._directory / str(step)).rename(aside)

    processes.from_first(move)
    if steps:
      self._manager.reload()

  @contextlib.contextmanager
  def _explained(self, step: int | None) -> Iterator[None]:
    """Says what a file system's error means for the run."""
    try:
      yield
    except Exception as error:  # Orbax and tensorstore raise many types.
      reason = str(error).partition('\n')[0] or type(error).__name__
      which = 'a step' if step is None else f'step {step}'
      there = checkpoint_files.steps(self._directory)
      kept = f'steps {there} there are whole' if there else 'none was there'
      raise CheckpointError(
        f'{self._directory}: {which} could not be saved ({reason}); {kept}. '
        'Make room or give the rights to write, and start again: it goes on '
        'from the last one.'
      ) from error

  def close(self) -> None:
    """Waits for the last save.

    Raises:
      CheckpointError: it could not be written.
    """
    try:
      with self._explained(None):
        self._manager.wait_until_finished()
    finally:
      self._manager.close()

  def __enter__(self) -> Checkpoints:
    return self

  def __exit__(self, kind, *unused) -> None:
    try:
      self.close()
    except CheckpointError as error:
      if kind is None:
        raise
      logging.error('%s', error)  # What ended the run is told before.


def read_about(directory: epath.PathLike) -> dict[str, Any]:
  """Reads what the newest checkpoint of a directory says of itself.

  Raises:
    CheckpointError: no checkpoint there, or one of another format.
  """
  step = _newest(directory)
  return checkpoint_files.about_of(buckets.absolute(directory) / str(step))


def read_variables(directory: epath.PathLike, like: Any) -> Any:
  """Reads the newest variables of a directory, on any device count.

  Args:
    directory: where a stage saved.
    like: a tree of arrays or shape structs, shaped like the variables.

  Raises:
    CheckpointError: none there, or a damaged one.
  """
  step = _newest(directory)
  return checkpoint_files.read(
    buckets.absolute(directory) / str(step), 'variables', like
  )


def _newest(directory: epath.PathLike) -> int:
  path = epath.Path(directory)
  steps = checkpoint_files.steps(path)
  if not steps:
    found = sorted(p.name for p in path.iterdir()) if path.exists() else []
    raise CheckpointError(
      f'{path}: there is no checkpoint here; the folder '
      + (f'holds {", ".join(found)}.' if found else 'is missing or empty.')
    )
  return steps[-1]

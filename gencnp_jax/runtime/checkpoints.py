"""Checkpoints: orbax, NumPy leaves, and a JSON that opens them by themselves.

A step holds `variables` (all that using the model needs), `training` (what going
on needs besides) and `about` (model, data set, config, and a checksum of every
leaf: orbax does not notice a flipped byte). The newest good step is restored; a
damaged one is named and set aside. The state is the same in all processes: the
first one saves it, and all restore it.
"""

from __future__ import annotations

import concurrent.futures
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
from gencnp_jax.runtime.checkpoint_files import read_about as read_about
from gencnp_jax.runtime.checkpoint_files import read_variables as read_variables

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
    self._thread = concurrent.futures.ThreadPoolExecutor(1, 'checkpoint')
    self._writing: concurrent.futures.Future | None = None
    processes.from_first(self._open)

  def _open(self) -> None:
    buckets.check_rights(self._directory)
    with buckets.explained(self._directory):
      self._directory.mkdir(parents=True, exist_ok=True)
      alone = ocp.options.MultiprocessingOptions(0, {0}, 'first')
      self._manager = _Manager(
        self._directory,
        options=ocp.CheckpointManagerOptions(
          create=False,
          preservation_policy=ocp.checkpoint_managers.LatestN(_KEEP),
          # In a thread of ours, where its errors are raised.
          enable_async_checkpointing=False,
          multiprocessing_options=alone
          if processes.started()
          else ocp.options.MultiprocessingOptions(),
        ),
      )

  def save(
    self,
    step: int,
    variables: Any,
    training: Any = None,
    progress: dict[str, Any] | None = None,
  ) -> None:
    """Saves replicated trees; returns while the files are being written.

    The values are those of now: the arrays may change, and be donated, after.
    What goes wrong in the background is raised by the next call.

    Args:
      step: number of steps done.
      variables: what using the model needs. A bfloat16 leaf takes half the room,
        and is read as float32.
      training: what going on with the training needs besides; None to be read
        by `read_variables` alone.
      progress: JSON mapping that going on with the run needs besides.

    Raises:
      AssertionError: devices that hold different values.
      CheckpointError: a step that is not past the newest one there, processes
        that hold different values, or files that cannot be written.
    """
    self.finish()
    trees = {'variables': variables}
    if training is not None:
      trees['training'] = training
    devices.assert_replicas_equal(trees)
    trees = devices.to_host(trees)
    if processes.several():
      for item, tree in trees.items():
        processes.check_same(
          f'{item} at step {step}', checksums(tree), 'Nothing was saved.'
        )
    if processes.is_first():
      self._writing = self._thread.submit(self._write, step, trees, progress)

  def _write(self, step: int, trees: dict[str, Any], progress: Any) -> None:
    about = {
      **self._about,
      'format': FORMAT,
      'checksums': {
        item: checksums(checkpoint_files.as_read(tree))
        for item, tree in trees.items()
      },
      'progress': progress or {},
    }
    saved = {item: ocp.args.StandardSave(tree) for item, tree in trees.items()}
    with self._explained():
      done = self._manager.save(
        step,
        args=ocp.args.Composite(**saved, about=ocp.args.JsonSave(about)),
      )
    if not done:  # Orbax skips such a step without a word.
      raise CheckpointError(
        f'{self._directory}: step {step} was not saved; the folder holds step '
        f'{self.latest()}, and only a later one can follow.'
      )

  def finish(self) -> None:
    """Waits until what was saved is on disk, in all processes.

    Raises:
      CheckpointError: it could not be written.
    """
    processes.from_first(self._wait)

  def _wait(self) -> None:
    writing, self._writing = self._writing, None
    if writing is not None:
      writing.result()

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
      if steps:
        self._manager.reload()

    processes.from_first(move)

  @contextlib.contextmanager
  def _explained(self) -> Iterator[None]:
    """Says what a file system's error means for the run.

    Of this save or of the one before, which was written in the background.
    """
    try:
      yield
    except Exception as error:  # Orbax and tensorstore raise many types.
      reason = str(error).partition('\n')[0] or type(error).__name__
      there = checkpoint_files.steps(self._directory)
      kept = f'steps {there} there are whole' if there else 'none was there'
      raise CheckpointError(
        f'{self._directory}: a checkpoint could not be saved ({reason}); {kept}. '
        'Make room or give the rights to write, and start again: it goes on '
        'from there.'
      ) from error

  def close(self) -> None:
    """Waits for the last save.

    Raises:
      CheckpointError: it could not be written.
    """
    try:
      self.finish()
    finally:
      self._thread.shutdown()
      if processes.is_first():
        self._manager.close()

  def __enter__(self) -> Checkpoints:
    return self

  def __exit__(self, kind, *unused) -> None:
    if kind is None:
      self.close()
      return
    # What ended this process may have ended it alone: nothing is agreed upon.
    try:
      self._wait()
    except CheckpointError as error:
      logging.error('%s', error)
    self._thread.shutdown()

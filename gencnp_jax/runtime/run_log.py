"""The run log: one JSON line a record, the console, TensorBoard where wanted."""

from __future__ import annotations

import json
from typing import Any

from absl import logging
from etils import epath

from gencnp_jax.runtime import files, processes

_INTEGERS = 2**63


class RunLog:
  """Appends records to a JSONL file and says them on the console.

  With several processes the first one writes.

  Args:
    path: of the file. Records of a step after `from_step` are dropped: a run
      that goes on from there writes them again.
    from_step: the number of steps done; 0 starts a new log.
    tensorboard: also write TensorBoard events beside the file; needs the
      extra `tensorboard`.

  Raises:
    ValueError: tensorboard without its package.
  """

  def __init__(
    self, path: epath.PathLike, from_step: int = 0, tensorboard: bool = False
  ):
    self._path = epath.Path(path)
    kept = [r for r in read(self._path) if r['step'] <= from_step]
    if from_step == 0:
      kept = []
    self._lines = [json.dumps(record) for record in kept]
    self._write()
    self._board = None
    if tensorboard and processes.is_first():
      self._board = _tensorboard(self._path.parent)

  def write(self, step: int, split: str, **metrics: float) -> None:
    """Adds a record.

    Args:
      step: number of steps done.
      split: what was measured, 'train' or 'validation'.
      **metrics: finite or not, floats by name.
    """
    record: dict[str, Any] = {'step': step, 'split': split, **metrics}
    self._lines.append(json.dumps(record))
    self._write()
    figures = ', '.join(f'{k} {v:.4g}' for k, v in metrics.items())
    logging.info('%s, step %d: %s', split, step, figures)
    if self._board is not None:
      for key, value in metrics.items():
        self._board.add_scalar(f'{split}/{key}', value, step)
      self._board.flush()

  def has(self, step: int, split: str) -> bool:
    """Returns whether there is a record of a step and split."""

    def found():
      records = map(json.loads, self._lines)
      return any(r['step'] == step and r['split'] == split for r in records)

    return processes.from_first(found)

  def _write(self) -> None:
    # Rewritten whole, since object stores cannot append; it stays small.
    files.write_text(self._path, ''.join(line + '\n' for line in self._lines))


def read(path: epath.PathLike) -> list[dict[str, Any]]:
  """Reads the records of a run log; none where there is no file.

  A damaged line, such as a last one cut short by a kill, is left out.
  """
  path = epath.Path(path)
  records = []
  for line in path.read_bytes().splitlines() if path.exists() else ():
    try:
      record = json.loads(line)
    except (ValueError, RecursionError):
      record = None
    if _is_record(record):
      records.append(record)
    else:
      logging.warning('%s: a damaged line is left out.', path)
  return records


def _is_record(record: Any) -> bool:
  """Whether JSON is what `RunLog.write` writes."""
  if not isinstance(record, dict):
    return False
  metrics = dict(record)
  step, split = metrics.pop('step', None), metrics.pop('split', None)
  return (
    isinstance(step, int)
    and isinstance(split, str)
    and all(
      isinstance(v, float) or (isinstance(v, int) and abs(v) < _INTEGERS)
      for v in (step, *metrics.values())
    )
  )


def _tensorboard(directory: epath.Path):
  try:
    from tensorboardX import SummaryWriter
  except ImportError as error:
    raise ValueError(
      'config.runtime.tensorboard=True needs tensorboardX: pip install '
      "'gencnp_jax[tensorboard]', or set it to False."
    ) from error
  return SummaryWriter(str(directory))

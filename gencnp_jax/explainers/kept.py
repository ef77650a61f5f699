"""What an evaluation has measured when it is asked to end, kept for the next."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from absl import logging
from etils import epath

from gencnp_jax.runtime import files, preemption, processes

# What a block gives: the target's logits, rows of each set of pathways, and
# logits without each.
Block = tuple[np.ndarray, list[dict[str, np.ndarray]], list[np.ndarray]]
_ABOUT = 'about'


class Kept:
  """The finished blocks of one method.

  Args:
    path: an .npz file, there or not.
    settled: JSON mapping; blocks of another one are not taken.
  """

  def __init__(self, path: epath.PathLike, settled: dict[str, Any]):
    self._path = epath.Path(path)
    self._settled = json.loads(json.dumps(settled))
    self.seconds = 0.0
    """What the blocks that are there took to explain."""

  def blocks(
    self,
    measure: Callable[[int], Iterator[tuple[slice, Block]]],
    seconds: Callable[[], float],
  ) -> Iterator[tuple[slice, Block]]:
    """Yields the blocks that are there, then those that are measured now.

    Args:
      measure: yields blocks from a row on.
      seconds: what explaining them has taken so far.

    Raises:
      Preempted: all finished blocks are in the file.
    """
    done = self._read()
    yield from done
    first = done[-1][0].stop if done else 0
    try:
      for part, block in measure(first):
        done.append((part, block))
        yield part, block
    except preemption.Preempted:
      self._write(done, self.seconds + seconds())
      rows = done[-1][0].stop if done else 0
      raise preemption.Preempted(
        f'what {rows} images gave is kept in {self._path}'
      ) from None
    processes.from_first(lambda: self._path.unlink(missing_ok=True))

  def _write(self, done: list[tuple[slice, Block]], seconds: float) -> None:
    if not done:
      return
    named = [_named(block) for _, block in done]
    arrays = {k: np.concatenate([b[k] for b in named]) for k in named[0]}
    about = {
      'settled': self._settled,
      'stops': [part.stop for part, _ in done],
      'seconds': seconds,
    }
    files.write(
      self._path,
      lambda file: np.savez(file, **{_ABOUT: json.dumps(about)}, **arrays),
    )

  def _read(self) -> list[tuple[slice, Block]]:
    about = processes.from_first(self._about)
    if about is None:
      return []
    with self._path.open('rb') as file, np.load(file) as stored:
      arrays = {k: stored[k] for k in stored.files if k != _ABOUT}
    self.seconds = about['seconds']
    stops = about['stops']
    logging.info('%s: %d images are measured.', self._path, stops[-1])
    parts = [slice(a, b) for a, b in zip([0, *stops], stops)]
    return [
      (part, _block({k: v[part] for k, v in arrays.items()})) for part in parts
    ]

  def _about(self) -> dict[str, Any] | None:
    """Returns what the file says of itself, where it can be gone on from."""
    if not self._path.exists():
      return None
    try:
      with self._path.open('rb') as file, zipfile.ZipFile(file) as archive:
        # NumPy stops reading before the checksum of an array is looked at.
        damaged = archive.testzip()
      with self._path.open('rb') as file, np.load(file) as stored:
        about = json.loads(str(stored[_ABOUT]))
      if damaged is None and about['settled'] == self._settled:
        return about
      said = 'is damaged' if damaged else 'is of other settings'
    except Exception as error:  # A damaged archive raises a dozen types.
      said = f'is damaged ({error})'
    logging.warning('%s %s: measured again.', self._path, said)
    return None


def _named(block: Block) -> dict[str, np.ndarray]:
  logits, worn, removed = block
  return {
    'logits': logits,
    **{
      f'worn/{i}/{k}': v for i, rows in enumerate(worn) for k, v in rows.items()
    },
    **{f'removed/{i}': rest for i, rest in enumerate(removed)},
  }


def _block(arrays: dict[str, np.ndarray]) -> Block:
  worn, removed = {}, {}
  for name, rows in arrays.items():
    kind, *place = name.split('/')
    if kind == 'worn':
      worn.setdefault(int(place[0]), {})[place[1]] = rows
    elif kind == 'removed':
      removed[int(place[0])] = rows
  return (
    arrays['logits'],
    [worn[i] for i in sorted(worn)],
    [removed[i] for i in sorted(removed)],
  )

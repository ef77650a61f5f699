"""A profile of a piece of work: JAX's trace, and what it says in a table.

The trace opens in Perfetto (`*.trace.json.gz`, ui.perfetto.dev) and in XProf or
TensorBoard (the folder).
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
from absl import logging
from etils import epath

from gencnp_jax.runtime import processes

# Dispatches before the first that is recorded.
_BEFORE = 2
_SHOWN = 25
SUMMARY = 'summary.txt'
# What an event of a compiled operation says of itself, on CPU, GPU and TPU.
_OPERATION = 'hlo_op'


@dataclasses.dataclass(frozen=True)
class Operation:
  """One compiled operation, all its executions together.

  Attributes:
    name: as in the compiled program.
    seconds: added up over executions and threads.
    count: executions.
  """

  name: str
  seconds: float
  count: int


@dataclasses.dataclass(frozen=True)
class Summary:
  """What a trace says.

  Attributes:
    wall: seconds from the first operation to the end of the last.
    busy: seconds of them in which at least one operation ran.
    operations: longest first.
  """

  wall: float
  busy: float
  operations: tuple[Operation, ...]

  def __str__(self) -> str:
    total = sum(o.seconds for o in self.operations)
    lines = [
      f'{self.wall * 1e3:.1f} ms, in {self.busy / self.wall:.1%} of which an '
      f'operation ran; {len(self.operations)} operations, {total * 1e3:.1f} ms '
      'added up.',
      f'{"ms":>10}{"share":>8}{"count":>8}  operation',
    ]
    lines += [
      f'{o.seconds * 1e3:10.2f}{o.seconds / total:8.1%}{o.count:8}  {o.name}'
      for o in self.operations[:_SHOWN]
    ]
    return '\n'.join(lines)


class _Recorder:
  """Counts dispatches, and records some of them."""

  def __init__(self, directory: epath.Path, dispatches: int):
    self._directory, self._dispatches = directory, dispatches
    self._number, self._recording = 0, False

  def step(self, waits_for: Any) -> None:
    """See `step`."""
    if self._number in (_BEFORE, _BEFORE + self._dispatches):
      jax.block_until_ready(waits_for)
    if self._number == _BEFORE:
      jax.profiler.start_trace(str(self._directory))
      self._recording = True
    elif self._number == _BEFORE + self._dispatches:
      self.end()
    self._number += 1

  def end(self) -> None:
    """Ends the record, and sums it up in the first process."""
    if self._number <= _BEFORE:
      logging.warning(
        '%s: no profile; %d dispatches are too few, the first %d compile and '
        'are left out.',
        self._directory,
        self._number,
        _BEFORE,
      )
    if self.stop() and processes.is_first():
      summary = summarise(self._directory)
      (self._directory / SUMMARY).write_text(f'{summary}\n')
      logging.info('%s: %s', self._directory, summary)

  def stop(self) -> bool:
    """Ends the record, if there is one; returns whether there was."""
    if not self._recording:
      return False
    self._recording = False
    jax.profiler.stop_trace()
    return True


_recorder: _Recorder | None = None


@contextlib.contextmanager
def recorded(directory: epath.PathLike, dispatches: int) -> Iterator[None]:
  """Records some dispatches of the training or explaining inside the block.

  The first ones are left out: they compile. Every process records itself.

  Args:
    directory: where the trace goes, and its summary.
    dispatches: how many are recorded; 0 for none.
  """
  global _recorder
  if not dispatches:
    yield
    return
  before, _recorder = _recorder, _Recorder(epath.Path(directory), dispatches)
  try:
    yield
    _recorder.end()
  finally:
    _recorder.stop()
    _recorder = before


def step(waits_for: Any = None) -> None:
  """Says that a dispatch begins; does nothing where nothing is recorded.

  Args:
    waits_for: arrays of the dispatches before, which may still be computed;
      waited for where the record begins or ends.
  """
  if _recorder is not None:
    _recorder.step(waits_for)


def summarise(directory: epath.PathLike) -> Summary:
  """Sums up the newest trace in a folder.

  Raises:
    ValueError: there is none, or it holds no compiled operation.
  """
  traces = sorted(epath.Path(directory).glob('plugins/profile/*/*.xplane.pb'))
  if not traces:
    raise ValueError(f'{directory} holds no trace of the JAX profiler.')
  data = jax.profiler.ProfileData.from_serialized_xspace(
    traces[-1].read_bytes()
  )
  found: dict[str, list[float]] = {}
  spans = []
  for event in _operations(data):
    of_name = found.setdefault(event.name, [0.0, 0])
    of_name[0] += event.duration_ns * 1e-9
    of_name[1] += 1
    spans.append((event.start_ns, event.end_ns))
  if not spans:
    raise ValueError(f'{traces[-1]} holds no compiled operation.')
  operations = sorted(
    (Operation(name, *of_name) for name, of_name in found.items()),
    key=lambda o: -o.seconds,
  )
  wall = max(end for _, end in spans) - min(start for start, _ in spans)
  return Summary(wall * 1e-9, _covered(spans) * 1e-9, tuple(operations))


def _operations(data):
  for plane in data.planes:
    for line in plane.lines:
      for event in line.events:
        if any(key == _OPERATION for key, _ in event.stats):
          yield event


def _covered(spans: Sequence[tuple[float, float]]) -> float:
  """Returns the length of the union of intervals."""
  total, reached = 0.0, float('-inf')
  for start, end in sorted(spans):
    if end > reached:
      total += end - max(start, reached)
      reached = end
  return total

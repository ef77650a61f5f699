"""The collectives of a compiled program, and a plain formula for their bytes.

Reads optimised HLO as the CPU backend writes it (`compiled.as_text()`): there
a collective is one instruction, not a start and a done.
"""

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator

GROUPS = {
  'gradients': 'gradients',
  'norm_forward': 'BatchNorm, forward',
  'norm_backward': 'BatchNorm, backward',
  'sums': 'metric sums',
  'swap': 'swap term',
  'results': 'results of evaluation',
}
_BITS = {'pred': 8, 'bf16': 16}
_COMPUTATION = re.compile(r'^(ENTRY )?%?([\w.\-]+) .*\{$')
_COLLECTIVE = re.compile(
  r'%?([\w.\-]+) = (.+?) '
  r'(all-reduce|all-gather|collective-permute|reduce-scatter|all-to-all)\('
)
_ARRAY = re.compile(r'\b([a-z]+\d*)\[([\d,]*)\]')
_CALLED = re.compile(r'\b(?:body|calls|to_apply)=%?([\w.\-]+)')
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_NAME = re.compile(r'op_name="([^"]*)"')


@dataclasses.dataclass(frozen=True)
class Piece:
  """One array that a collective carries; XLA packs several into one.

  Attributes:
    kind: 'all-reduce', 'all-gather', 'collective-permute' and so on.
    instruction: name of the instruction, the same for all that it carries.
    origin: what it was in the program, such as
      'jit(f)/shard_map/jvp(Net)/BatchNorm_0/psum'.
    dtype: HLO's name of it, such as 'f32'.
    shape: of the result.
    times: how often it runs in a step: more than once inside a loop.
  """

  kind: str
  instruction: str
  origin: str
  dtype: str
  shape: tuple[int, ...]
  times: int

  @property
  def payload(self) -> int:
    """Bytes of the array, times the number of runs."""
    return self.times * math.prod(self.shape) * _bytes(self.dtype)

  @property
  def group(self) -> str:
    """What it is for, a key of `GROUPS`."""
    if self.kind == 'collective-permute':
      return 'swap'
    if self.kind == 'all-gather':
      return 'results'
    if 'jvp(' not in self.origin:  # Behind the differentiated loss.
      return 'gradients' if self.shape else 'sums'
    if 'jvp()' in self.origin:  # In the loss, in no module.
      return 'swap'
    backward = 'transpose(' in self.origin
    return 'norm_backward' if backward else 'norm_forward'

  def wire(self, devices: int) -> float:
    """Bytes that a device sends for it, in a ring of so many devices."""
    return wire(self.kind, self.payload, devices)


def _bytes(dtype: str) -> int:
  return (_BITS.get(dtype) or int(re.sub(r'\D', '', dtype))) // 8


def wire(kind: str, payload: float, devices: int) -> float:
  """Returns the bytes that a device of a ring sends.

  Args:
    kind: of collective, as in `Piece`.
    payload: bytes of the result on one device.
    devices: how many share it.
  """
  if devices == 1:
    return 0.0
  if kind == 'all-reduce':  # A reduce-scatter and an all-gather.
    return 2 * (devices - 1) / devices * payload
  if kind == 'all-gather':
    return (devices - 1) / devices * payload
  return float(payload)


def pieces(hlo: str) -> list[Piece]:
  """Lists all that the collectives of a program carry.

  Args:
    hlo: text of an optimised module.

  Raises:
    ValueError: a collective in a loop of unknown length, or one whose names
      and arrays are not equally many.
  """
  lines: dict[str, list[str]] = {}
  entry = body = None
  for line in hlo.splitlines():
    if header := _COMPUTATION.match(line):
      body = lines.setdefault(header[2], [])
      entry = header[2] if header[1] else entry
    elif body is not None:
      body.append(line)
  return list(_walk(lines, entry, 1))


def _walk(lines: dict, computation: str, times: int) -> Iterator[Piece]:
  for line in lines.get(computation, ()):
    if found := _COLLECTIVE.search(line):
      yield from _carried(*found.groups(), line, times)
      continue
    for called in _CALLED.findall(line):
      trips = _TRIPS.search(line)
      inside = _walk(lines, called, times * int(trips[1] if trips else 1))
      for piece in inside:
        if ' while(' in line and not trips:
          raise ValueError(
            f'{piece.instruction} is in a loop of unknown length.'
          )
        yield piece


def _carried(instruction, result, kind, line, times) -> Iterator[Piece]:
  arrays = _ARRAY.findall(result)
  named = _NAME.search(line)
  origins = _origins(named[1] if named else '')
  if len(origins) == 1:
    origins *= len(arrays)
  if len(origins) != len(arrays):
    raise ValueError(
      f'{instruction} has {len(arrays)} arrays and {len(origins)} names.'
    )
  for origin, (dtype, sides) in zip(origins, arrays):
    shape = tuple(int(side) for side in sides.split(',') if side)
    yield Piece(kind, instruction, origin, dtype, shape, times)


def _origins(name: str) -> list[str]:
  """Splits 'a/(b:c)', the name of what XLA has merged, into 'a/b', 'a/c'."""
  for start, character in enumerate(name):
    if character != '(':
      continue
    depth, parts = 0, ['']
    for end in range(start, len(name)):
      depth += (name[end] == '(') - (name[end] == ')')
      if depth == 0:
        break
      if name[end] == ':' and depth == 1:
        parts.append('')
      elif end > start:
        parts[-1] += name[end]
    if len(parts) > 1:
      return [name[:start] + part + name[end + 1 :] for part in parts]
  return [name]


def launches(carried: Iterable[Piece]) -> int:
  """Returns how many collectives a step runs, however much each carries."""
  return sum({p.instruction: p.times for p in carried}.values())


def by_group(carried: Iterable[Piece]) -> dict[str, int]:
  """Returns the payload of each group, in bytes."""
  found: dict[str, int] = {}
  for piece in carried:
    found[piece.group] = found.get(piece.group, 0) + piece.payload
  return found


def predicted(
  parameters: int, statistics: int, sums: int, swapped: int
) -> dict[str, int]:
  """Returns what a training step should carry, in bytes a group.

    gradients        4 x parameters
    BatchNorm        4 x 2 x channels x passes, forward and again backward
    metric sums      4 x (metrics + 1), all metrics being counted alike
    swap term        an image, its class, and the share of pairs that differ

  Args:
    parameters: of the net that is trained.
    statistics: running means and variances, 2 x channels x passes.
    sums: number of metrics.
    swapped: bytes of an image if there is a swap term, or 0.
  """
  norm = 4 * statistics
  expected = {
    'gradients': 4 * parameters,
    'norm_forward': norm,
    'norm_backward': norm,
    'sums': 4 * (sums + 1),
    'swap': swapped + 8 if swapped else 0,
  }
  return {group: size for group, size in expected.items() if size}

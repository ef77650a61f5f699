"""Says which operations of a traced program are a GELU or a SiLU, by value.

`jax.nn.gelu` leaves no call of its name in a trace, only its arithmetic, and
SiLU is often written `x * sigmoid(x)`. Both are a product of x with a gate that
is a function of x alone. Such a product is evaluated on a few numbers and
compared with the activation functions that it may be.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from gencnp_jax.program import Op, Path, Program

_PROBES = np.linspace(-4, 4, 17)
# bfloat16 constants move the values by less, other functions by more.
_TOLERANCE = 5e-3

_erf = np.vectorize(math.erf)
_GATES = {
  'tanh': np.tanh,
  'erf': _erf,
  'erfc': lambda x: 1 - _erf(x),
  'logistic': lambda x: 1 / (1 + np.exp(-x)),
}
_ARITHMETIC = {
  'add': np.add,
  'sub': np.subtract,
  'mul': np.multiply,
  'div': np.divide,
  'neg': np.negative,
  'pow': np.power,
  'sqrt': np.sqrt,
  'rsqrt': lambda x: 1 / np.sqrt(x),
  'square': np.square,
  'convert_element_type': lambda x: x,
  'broadcast_in_dim': lambda x: x,
  'copy': lambda x: x,
}
# GELU by tanh is within 5e-4 of the exact one.
_FUNCTIONS = {
  'gelu': 0.5 * _PROBES * (1 + _erf(_PROBES / math.sqrt(2))),
  'silu': _PROBES / (1 + np.exp(-_PROBES)),
}
# Operations between the gate and the product, and in the whole function.
_TAIL = 4
_SIZE = 16


@dataclasses.dataclass(frozen=True)
class Smooth:
  """A GELU or a SiLU: its last operation, its values, its operations in all."""

  kind: str
  path: Path
  input: int
  output: int
  parts: tuple[Path, ...]


def find(program: Program) -> list[Smooth]:
  """Returns the GELUs and SiLUs that a program writes out, in call order."""
  found = {}
  for gate in program.ops:
    if gate.name not in _GATES:
      continue
    for product in _products(program, gate):
      match = _match(program, product)
      if match is not None:
        found[match.path] = match
        break
  return list(found.values())


def _products(program: Program, gate: Op) -> Iterator[Op]:
  """Yields the multiplications right behind a gate."""
  value = gate.outputs[0]
  for _ in range(_TAIL):
    uses = program.consumers.get(value, [])
    if len(uses) != 1 or uses[0].name not in _ARITHMETIC:
      return
    value = uses[0].outputs[0]
    if uses[0].name == 'mul':
      yield uses[0]


def _match(program: Program, product: Op) -> Smooth | None:
  """Returns what a product computes of one value upstream, None if unknown."""
  output = product.outputs[0]
  for x in _upstream(program, output):
    if program.shapes[x] != program.shapes[output]:
      continue
    parts: dict[int, tuple] = {}
    values = _evaluate(program, output, x, parts)
    if values is None:
      continue
    for kind, expected in _FUNCTIONS.items():
      if np.allclose(values, expected, rtol=0, atol=_TOLERANCE):
        paths = tuple(path for path, _ in parts.values())
        return Smooth(kind, product.path, x, output, paths)
  return None


def _upstream(program: Program, value: int) -> list[int]:
  """Returns the nearest values that arithmetic made `value` of."""
  seen = [value]
  for current in seen:
    op = program.producer.get(current)
    if op is None or len(seen) > _SIZE or not _is_arithmetic(op):
      continue
    seen += [
      v for v in op.inputs if v not in program.constants and v not in seen
    ]
  return seen[1:]


def _is_arithmetic(op: Op) -> bool:
  return op.name in _ARITHMETIC or op.name in (*_GATES, 'integer_pow')


def _evaluate(program, value: int, x: int, parts: dict) -> np.ndarray | None:
  """Evaluates a value on the probes as a function of `x`, None if it is none.

  Args:
    program: the program.
    value: number of the value.
    x: number of the value that takes the probes.
    parts: filled with (path, result) of the operations by their outputs.
  """
  if value == x:
    return _PROBES
  if value in program.constants:
    return _scalar(program.constants[value])
  if value not in parts:
    op = program.producer.get(value)
    if op is None or not _is_arithmetic(op) or len(parts) > _SIZE:
      return None
    parts[value] = op.path, None  # Tried once, whatever comes of it.
    parts[value] = (
      op.path,
      _apply(op, [_evaluate(program, v, x, parts) for v in op.inputs]),
    )
  return parts[value][1]


def _apply(op: Op, arguments: list[np.ndarray | None]) -> np.ndarray | None:
  if any(a is None for a in arguments):
    return None
  with np.errstate(all='ignore'):  # Wrong guesses of x may leave a domain.
    if op.name == 'integer_pow':
      return arguments[0] ** op.params['y']
    return {**_ARITHMETIC, **_GATES}[op.name](*arguments)


def _scalar(content) -> np.ndarray | None:
  # A larger array is a weight: the function would differ between neurons.
  if np.size(content) != 1:
    return None
  try:
    return np.asarray(content, np.float64).reshape(())
  except Exception:  # A tracer has no readable content.
    return None

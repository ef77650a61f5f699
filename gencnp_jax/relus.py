"""Says which operations of a traced program are ReLUs, by structure alone.

  max(x, 0)            also through `jnp.clip(x, 0)` and `zeros_like`
  where(x > 0, x, 0)   with >, >=, <, <= and either branch order
  x * (x > 0)
  a custom_jvp or custom_vjp call whose whole body is one of these (`jax.nn.relu`)

A custom call is matched whole; a composite that holds ReLU calls of its own is
entered. Look-alikes are left alone: `min(max(x, 0), c)` is ReLU6, `max(x, 0)`
beside `min(x, 0)` is CELU or leaky, and normalisation layers clamp a variance
by `max(0, v)`, a reduction statistic.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np

from gencnp_jax.program import CUSTOM_CALLS, Op, Path, Program

_REDUCTIONS = ('reduce_sum', 'reduce_max', 'reduce_min', 'psum')
_SQUARES = ('square', 'integer_pow', 'abs')
# A statistic may pass through these between its reduction and its clamp.
_ARITHMETIC = ('add', 'sub', 'mul', 'div', 'neg', 'sqrt', 'max', 'min')
_FORMS = ('broadcast_in_dim', 'convert_element_type', 'reshape', 'copy')
_MOVES = ('squeeze', 'transpose', 'concatenate', 'slice', 'split', 'select_n')
_POINTWISE = (*_ARITHMETIC, *_SQUARES, *_FORMS, *_MOVES)


@dataclasses.dataclass(frozen=True)
class Relu:
  """A ReLU: where it stands, and the numbers of its input and output."""

  path: Path
  input: int
  output: int


def find(program: Program) -> list[Relu]:
  """Returns the ReLUs of a program in call order."""
  found = []
  for op in program.ops:
    x = _relu_input(program, op)
    if x is not None and not _is_part(program, op, x):
      found.append(Relu(op.path, x, op.outputs[0]))
  return found


def is_composite(program: Program) -> bool:
  """True for the body of a custom call with whole ReLU calls among others."""
  return not _lone_relu(program) and any(
    op.name in CUSTOM_CALLS and _lone_relu(op.bodies[0]) for op in program.ops
  )


def _lone_relu(body: Program) -> bool:
  """True where the whole body is one ReLU of one of its inputs."""
  found = find(body)
  return (
    len(found) == 1
    and body.outputs == (found[0].output,)
    and found[0].input in body.inputs
  )


def _relu_input(program: Program, op: Op) -> int | None:
  """Returns the number of `x` where `op` computes `relu(x)`, else None."""
  if len(op.outputs) != 1 or not jnp.issubdtype(
    program.dtypes[op.outputs[0]] or bool, jnp.floating
  ):
    return None
  if op.name in CUSTOM_CALLS:
    whole = len(op.bodies) == 1 and _lone_relu(op.bodies[0])
    if not whole:
      return None
    return op.inputs[op.bodies[0].inputs.index(find(op.bodies[0])[0].input)]
  x = None
  if op.name == 'max':
    x = next((a for a, b in _orders(op) if _is_zero(program, b)), None)
  elif op.name == 'select_n' and len(op.inputs) == 3:
    predicate, if_false, if_true = op.inputs
    if _is_zero(program, if_false) and _tests(program, predicate, if_true, 'g'):
      x = if_true
    if _is_zero(program, if_true) and _tests(program, predicate, if_false, 'l'):
      x = if_false
  elif op.name == 'mul':
    x = next(
      (a for a, b in _orders(op) if _tests(program, b, a, 'g')),
      None,
    )
  same = x is not None and program.shapes[x] == program.shapes[op.outputs[0]]
  return x if same and not _is_statistic(program, x) else None


def _orders(op: Op) -> tuple[tuple[int, ...], tuple[int, ...]]:
  return op.inputs, op.inputs[::-1]


def _source(program: Program, value: int, through: tuple[str, ...]) -> int:
  """Follows a value back through operations that only change its form."""
  op = program.producer.get(value)
  while op is not None and op.name in through:
    value = op.inputs[0]
    op = program.producer.get(value)
  return value


def _is_zero(program: Program, value: int) -> bool:
  content = program.constants.get(_source(program, value, _FORMS))
  # A large constant array is a weight; looking through it would cost.
  return (
    content is not None and np.size(content) <= 1 << 20 and _all_zero(content)
  )


def _all_zero(content) -> bool:
  try:
    return bool(np.all(np.asarray(content) == 0))
  except Exception:  # A tracer or a key array has no readable content.
    return False


def _tests(program: Program, predicate: int, x: int, sign: str) -> bool:
  """True where `predicate` is `x > 0` (sign 'g') or `x < 0` (sign 'l')."""
  op = program.producer.get(
    _source(program, predicate, ('convert_element_type',))
  )
  if op is None or op.name not in ('gt', 'ge', 'lt', 'le'):
    return False
  left, right = op.inputs
  if left == x and _is_zero(program, right):
    return op.name[0] == sign
  if right == x and _is_zero(program, left):
    return op.name[0] != sign
  return False


def _is_part(program: Program, op: Op, x: int) -> bool:
  """True where `op` is the `max(x, 0)` in ReLU6 or in CELU.

  ReLU6 is `min` with a constant before it, or as its only use; CELU goes on
  with `min(x, 0)` of the same x, as leaky functions may.
  """
  uses = program.consumers.get(op.outputs[0], [])
  only_use = len(uses) == 1 and op.outputs[0] not in program.outputs
  before = program.producer.get(x)
  return (
    (only_use and _is_cap(program, uses[0]))
    or (before is not None and _is_cap(program, before))
    or any(
      other.name == 'min' and any(_is_zero(program, v) for v in other.inputs)
      for other in program.consumers[x]
    )
  )


def _is_cap(program: Program, op: Op) -> bool:
  return op.name == 'min' and any(
    _source(program, v, _FORMS) in program.constants for v in op.inputs
  )


def _is_statistic(program: Program, value: int) -> bool:
  """True for a pointwise function of reductions with a square among them."""
  queue, seen, squared, reduced = [value], set(), False, False
  while queue:
    current = queue.pop()
    if current in program.constants or current in seen:
      continue
    seen.add(current)
    op = program.producer.get(current)
    if op is None:
      return False
    if op.name in _REDUCTIONS:
      reduced = True
      source = program.producer.get(op.inputs[0])
      squared |= source is not None and _is_square(source)
    elif op.name in _POINTWISE:
      squared |= _is_square(op)
      # What chooses is none of what is chosen: `jnp.var` tests its count.
      queue += op.inputs[1:] if op.name == 'select_n' else op.inputs
    else:
      return False
  return reduced and squared


def _is_square(op: Op) -> bool:
  return op.name in _SQUARES or (
    op.name == 'mul' and op.inputs[0] == op.inputs[-1]
  )

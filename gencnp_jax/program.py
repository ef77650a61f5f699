"""Reads a traced JAX program and says which of its operations are ReLUs.

`jax.make_jaxpr` gives a tree of nested calls. `flatten` lays it out as one list
of operations, calls entered, so that a ReLU written over several equations and
a `jit` boundary (`jnp.where(x > 0, x, 0)`) is as easy to see as a bare `max`.
ReLUs are recognised by structure, never by a function's name:

  max(x, 0)            also through `jnp.clip(x, 0)` and `zeros_like`
  where(x > 0, x, 0)   with >, >=, <, <= and either branch order
  x * (x > 0)
  a custom_jvp or custom_vjp call whose whole body is one of these (`jax.nn.relu`)

Look-alikes are left alone: `min(max(x, 0), c)` is ReLU6, and normalisation
layers clamp a variance by `max(0, v)`, a reduction statistic, no activation.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.extend import core

Path = tuple[int, ...]
"""Where an equation stands: its index in each jaxpr from the outermost in."""

# Calls by the parameter that holds their jaxpr: those that mean no more than
# their body, and those with a derivative rule of their own.
_CALLS = {
  'jit': 'jaxpr',
  'pjit': 'jaxpr',
  'remat2': 'jaxpr',
  'checkpoint': 'jaxpr',
  'closed_call': 'call_jaxpr',
}
_CUSTOM = {'custom_jvp_call': 'call_jaxpr', 'custom_vjp_call': 'call_jaxpr'}
_RANDOM = ('random_', 'threefry', 'rng_')
_REDUCTIONS = ('reduce_sum', 'reduce_max', 'reduce_min', 'psum')
_SQUARES = ('square', 'integer_pow', 'abs')
# A statistic may pass through these between its reduction and its clamp.
_POINTWISE = (
  'add sub mul div neg square integer_pow sqrt abs max min '
  'broadcast_in_dim reshape squeeze transpose concatenate slice split '
  'convert_element_type copy select_n'
).split()


@dataclasses.dataclass(frozen=True)
class Op:
  """One operation: primitive name, place, value numbers in and out."""

  name: str
  path: Path
  inputs: tuple[int, ...]
  outputs: tuple[int, ...]
  params: dict[str, Any]
  bodies: tuple[Program, ...] = ()


@dataclasses.dataclass
class Program:
  """A flat program: operations in order, and what is known of their values."""

  ops: list[Op]
  inputs: tuple[int, ...]
  outputs: tuple[int, ...]
  shapes: dict[int, tuple[int, ...]]
  dtypes: dict[int, Any]
  constants: dict[int, Any]

  def __post_init__(self):
    self.producer = {v: op for op in self.ops for v in op.outputs}
    self.consumers: dict[int, list[Op]] = {}
    for op in self.ops:
      for value in op.inputs:
        self.consumers.setdefault(value, []).append(op)

  def walk(self) -> Iterator[Op]:
    """Yields every operation, those of opaque bodies included."""
    for op in self.ops:
      yield op
      for body in op.bodies:
        yield from body.walk()


@dataclasses.dataclass(frozen=True)
class Relu:
  """A ReLU: where it stands, and the numbers of its input and output."""

  path: Path
  input: int
  output: int


def open_jaxpr(jaxpr) -> tuple[Any, tuple]:
  """Returns `(jaxpr, consts)` of a closed or an open jaxpr."""
  consts = tuple(getattr(jaxpr, 'consts', ()))
  return getattr(jaxpr, 'jaxpr', jaxpr), consts


def body(eqn) -> Any | None:
  """Returns the jaxpr of a call that may be entered, else None."""
  key = {**_CALLS, **_CUSTOM}.get(eqn.primitive.name)
  return None if key is None else eqn.params[key]


def flatten(closed_jaxpr) -> Program:
  """Lays a closed jaxpr out as a flat `Program`."""
  jaxpr, consts = open_jaxpr(closed_jaxpr)
  counter = itertools.count()
  program = Program([], (), (), {}, {}, {})

  def number(aval) -> int:
    value = next(counter)
    program.shapes[value] = tuple(getattr(aval, 'shape', ()))
    program.dtypes[value] = getattr(aval, 'dtype', None)
    return value

  def constant(aval, content) -> int:
    value = number(aval)
    program.constants[value] = content
    return value

  def lay_out(jaxpr, consts, arguments, path) -> list[int]:
    env = {v: number(v.aval) for v in jaxpr.constvars}
    program.constants.update(zip(env.values(), consts))
    env.update(zip(jaxpr.invars, arguments))

    def read(atom) -> int:
      if isinstance(atom, core.Literal):
        return constant(atom.aval, atom.val)
      return env[atom]

    for i, eqn in enumerate(jaxpr.eqns):
      inputs = tuple(read(v) for v in eqn.invars)
      here = (*path, i)
      name, bodies = eqn.primitive.name, ()
      if name not in _CALLS:
        bodies = tuple(flatten(j) for j in _jaxprs(eqn.params))
      # A custom call is matched whole. Where it is a composite that holds
      # ReLU calls of its own it is entered; its derivative rule is lost then.
      if name in _CALLS or (name in _CUSTOM and _is_composite(bodies[0])):
        outputs = lay_out(*open_jaxpr(body(eqn)), inputs, here)
      else:
        outputs = [number(v.aval) for v in eqn.outvars]
        program.ops.append(
          Op(name, here, inputs, tuple(outputs), eqn.params, bodies)
        )
      env.update(zip(eqn.outvars, outputs))
    return [read(v) for v in jaxpr.outvars]

  program.inputs = tuple(number(v.aval) for v in jaxpr.invars)
  program.outputs = tuple(lay_out(jaxpr, consts, program.inputs, ()))
  program.__post_init__()
  return program


def relus(program: Program) -> list[Relu]:
  """Returns the ReLUs of a program in call order."""
  found = []
  for op in program.ops:
    x = _relu_input(program, op)
    if x is not None and not _is_relu6(program, op):
      found.append(Relu(op.path, x, op.outputs[0]))
  return found


def hidden_relu(program: Program) -> str | None:
  """Names the control-flow operation that holds a ReLU, else None."""
  for op in program.ops:
    if op.name in _CUSTOM:
      continue
    for body in op.bodies:
      if relus(body) or hidden_relu(body):
        return op.name
  return None


def random_operation(program: Program) -> str | None:
  """Names the first operation that draws random numbers, else None."""
  return next(
    (o.name for o in program.walk() if o.name.startswith(_RANDOM)), None
  )


def batch_reduction(program: Program, other: Program) -> str | None:
  """Names a reduction over the batch axis, else None.

  Args:
    program: the target traced on some batch size.
    other: the same target on another batch size; an axis of another length is
      the batch axis.
  """
  for a, b in zip(program.ops, other.ops):
    if not a.name.startswith('reduce_') or a.name != b.name:
      continue
    mine, its = program.shapes[a.inputs[0]], other.shapes[b.inputs[0]]
    axes = a.params.get('axes', ())
    if len(mine) == len(its) and any(mine[i] != its[i] for i in axes):
      return a.name
  return None


def channel_axis(program: Program, value: int) -> int | None:
  """Returns the channel axis that the nearest convolution upstream wrote."""
  queue, seen = [value], set()
  while queue:
    op = program.producer.get(queue.pop(0))
    if op is None or op.path in seen:
      continue
    seen.add(op.path)
    if op.name == 'conv_general_dilated':
      return op.params['dimension_numbers'].out_spec[1]
    shape = program.shapes[value]
    queue += [v for v in op.inputs if program.shapes[v] == shape]
  return None


def _jaxprs(params: dict[str, Any]) -> Iterator[Any]:
  for value in params.values():
    for v in value if isinstance(value, tuple) else (value,):
      if isinstance(v, core.Jaxpr | core.ClosedJaxpr):
        yield v


def _is_composite(program: Program) -> bool:
  """True where a custom call holds whole ReLU calls and is not one itself."""
  return not _lone_relu(program) and any(
    op.name in _CUSTOM and _lone_relu(op.bodies[0]) for op in program.ops
  )


def _lone_relu(body: Program) -> bool:
  """True where the whole body is one ReLU of one of its inputs."""
  found = relus(body)
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
  if op.name in _CUSTOM:
    whole = len(op.bodies) == 1 and _lone_relu(op.bodies[0])
    if not whole:
      return None
    return op.inputs[op.bodies[0].inputs.index(relus(op.bodies[0])[0].input)]
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
  forms = ('broadcast_in_dim', 'convert_element_type', 'reshape', 'copy')
  content = program.constants.get(_source(program, value, forms))
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


def _is_relu6(program: Program, op: Op) -> bool:
  """True where the only use of a ReLU is `min` with a constant."""
  (output,) = op.outputs
  uses = program.consumers.get(output, [])
  if output in program.outputs or len(uses) != 1 or uses[0].name != 'min':
    return False
  bound = next(v for v in (*uses[0].inputs, output) if v != output)
  forms = ('broadcast_in_dim', 'convert_element_type')
  return _source(program, bound, forms) in program.constants


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
      queue += op.inputs
    else:
      return False
  return reduced and squared


def _is_square(op: Op) -> bool:
  return op.name in _SQUARES or (
    op.name == 'mul' and op.inputs[0] == op.inputs[-1]
  )

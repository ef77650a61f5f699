"""Lays a traced JAX program out as one flat list of operations.

`jax.make_jaxpr` gives a tree of nested calls. `flatten` enters them, so that a
pattern written over several equations and a `jit` boundary, such as
`jnp.where(x > 0, x, 0)`, is as easy to see as a single equation. The calls of
functions under `jax.jit` are kept beside the list, by name.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from jax.extend import core

Path = tuple[int, ...]
"""Where an equation stands: its index in each jaxpr from the outermost in."""

# Calls by the parameter that holds their jaxpr: those that mean no more than
# their body, and those with a derivative rule of their own.
CALLS = {
  'jit': 'jaxpr',
  'pjit': 'jaxpr',
  'remat2': 'jaxpr',
  'checkpoint': 'jaxpr',
  'closed_call': 'call_jaxpr',
}
CUSTOM_CALLS = {
  'custom_jvp_call': 'call_jaxpr',
  'custom_vjp_call': 'call_jaxpr',
}


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
  """A flat program: operations in order, and what is known of their values.

  Attributes:
    ops: the operations, those of entered calls in the place of the call.
    calls: the functions under `jax.jit` that were entered, as operations of
      their names.
    inputs: numbers of the values that go in.
    outputs: numbers of the values that come out.
    shapes: of each value.
    dtypes: of each value.
    constants: contents of the values that are constant.
  """

  ops: list[Op]
  calls: list[Op]
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


def open_jaxpr(jaxpr) -> tuple[Any, tuple]:
  """Returns `(jaxpr, consts)` of a closed or an open jaxpr."""
  consts = tuple(getattr(jaxpr, 'consts', ()))
  return getattr(jaxpr, 'jaxpr', jaxpr), consts


def body(eqn) -> Any | None:
  """Returns the jaxpr of a call that may be entered, else None."""
  key = {**CALLS, **CUSTOM_CALLS}.get(eqn.primitive.name)
  return None if key is None else eqn.params[key]


def flatten(
  closed_jaxpr: Any, enter: Callable[[Program], bool] = lambda body: False
) -> Program:
  """Lays a closed jaxpr out as a flat `Program`.

  Args:
    closed_jaxpr: what `jax.make_jaxpr` returns.
    enter: says of the body of a custom-derivative call whether it is entered
      (its derivative rule is lost then) or stays one operation.
  """
  jaxpr, consts = open_jaxpr(closed_jaxpr)
  counter = itertools.count()
  program = Program([], [], (), (), {}, {}, {})

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
      if name not in CALLS:
        bodies = tuple(flatten(j, enter) for j in _jaxprs(eqn.params))
      if name in CALLS or (name in CUSTOM_CALLS and enter(bodies[0])):
        outputs = lay_out(*open_jaxpr(body(eqn)), inputs, here)
        if 'name' in eqn.params:
          called = eqn.params['name']
          program.calls.append(
            Op(called, here, inputs, tuple(outputs), eqn.params)
          )
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


def _jaxprs(params: dict[str, Any]) -> Iterator[Any]:
  for value in params.values():
    for v in value if isinstance(value, tuple) else (value,):
      if isinstance(v, core.Jaxpr | core.ClosedJaxpr):
        yield v

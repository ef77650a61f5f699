"""Says which values of a traced program are activations, and of which kind.

  relu            found by structure (`relus`)
  gelu, silu      by value where they are written out (`smooth`)
  any other name  the call of a function of this name under `jax.jit`, as most
                  of `jax.nn` is, or a primitive such as `tanh`

A call is one activation, whatever is inside: the tanh in a Mish is none of its
own, nor is the ReLU6 in a hard SiLU.
"""

from __future__ import annotations

import collections
import dataclasses
import difflib
from collections.abc import Iterable, Sequence
from typing import Any

import jax.numpy as jnp

from gencnp_jax import program as program_lib
from gencnp_jax import relus, smooth
from gencnp_jax.program import Op, Path, Program

RELU = 'relu'
# What is reported where it is not tapped: `jax.nn`, and what users call theirs.
KNOWN = ('celu', 'elu', 'gelu', 'glu', 'hard_sigmoid', 'hard_silu', 'hard_tanh')
KNOWN += ('leaky_relu', 'log_sigmoid', 'mish', 'prelu', 'quick_gelu', 'relu6')
KNOWN += ('selu', 'sigmoid', 'silu', 'soft_sign', 'softplus', 'sparse_plus')
KNOWN += ('sparse_sigmoid', 'squareplus', 'tanh')
_ALIASES = {
  'logistic': 'sigmoid',
  'swish': 'silu',
  'hard_swish': 'hard_silu',
}


@dataclasses.dataclass(frozen=True)
class Activation:
  """One activation function: its kind, its place, the number of its output."""

  kind: str
  path: Path
  output: int


def kinds(tap: Iterable[str]) -> tuple[str, ...]:
  """Returns the kinds that names stand for: 'swish' is 'silu'."""
  return tuple(dict.fromkeys(_ALIASES.get(name, name) for name in tap))


def flatten(closed_jaxpr: Any, tap: Iterable[str] = (RELU,)) -> Program:
  """Lays a program out such that every tapped call in reach can be found.

  Args:
    closed_jaxpr: what `jax.make_jaxpr` returns.
    tap: the kinds to tap.
  """

  def enter(body: Program) -> bool:
    # Only where a tapped one is held: the derivative rule is lost.
    if RELU in tap and relus.is_composite(body):
      return True
    return _whole(body) is None and any(
      a.kind in tap and a.kind != RELU for a in find(body, tap)
    )

  return program_lib.flatten(closed_jaxpr, enter)


def find(program: Program, tap: Iterable[str] = (RELU,)) -> list[Activation]:
  """Returns the activations of a program in call order, untapped ones too.

  Args:
    program: what `flatten` returned for the same `tap`.
    tap: the kinds to tap. They count beside the known ones.
  """
  named = []
  for op in (*program.calls, *program.ops):
    kind = _kind(program, op)
    if kind is not None and kind != RELU and (kind in KNOWN or kind in tap):
      named.append(Activation(kind, op.path, _floating(program, op)[0]))
  written = smooth.find(program)
  parts = [(part, s.path) for s in written for part in s.parts]
  named = [
    a
    for a in named
    if not any(
      _within(part, a.path) and not _within(whole, a.path)
      for part, whole in parts
    )
  ]
  whole = [Activation(s.kind, s.path, s.output) for s in written]
  # A call before what is inside, a whole function before its last operation.
  named = _outermost(sorted(whole + named, key=lambda a: a.path))
  tapped = [a for a in named if a.kind in tap]
  found = [
    Activation(RELU, r.path, r.output)
    for r in relus.find(program)
    if not any(_within(r.path, a.path) for a in tapped)
  ]
  # A leaky ReLU made of ReLUs, which are found one by one.
  named = [a for a in named if not any(_within(r.path, a.path) for r in found)]
  return sorted(found + named, key=lambda a: a.path)


def find_hidden(program: Program, tap: Iterable[str]) -> tuple[str, str] | None:
  """Returns (kind, operation) of a tapped activation inside control flow."""
  for op in program.ops:
    if op.name in program_lib.CUSTOM_CALLS:
      continue
    for body in op.bodies:
      inside = [a.kind for a in find(body, tap) if a.kind in tap]
      hidden = find_hidden(body, tap)
      if inside or hidden:
        return (inside or [hidden[0]])[0], op.name
  return None


def count_hidden(program: Program) -> collections.Counter[str]:
  """Counts the activations inside control flow by kind."""
  counts: collections.Counter[str] = collections.Counter()
  for op in program.ops:
    if op.name in program_lib.CUSTOM_CALLS:
      continue
    for body in op.bodies:
      counts.update(a.kind for a in find(body))
      counts += count_hidden(body)
  return counts


def listed(counts: dict[str, int]) -> str:
  """Returns counts in words: 'gelu (12), tanh (3)'."""
  return ', '.join(f'{kind} ({n})' for kind, n in counts.items())


def advice(
  program: Program, missing: Sequence[str], present: dict[str, int]
) -> str:
  """Says what to do about kinds that a program does not have.

  Args:
    program: the program.
    missing: the kinds.
    present: how often it has other kinds.
  """
  if not present:
    return (
      'It has no other activation function that is known by name. Put yours in '
      'a function of one result under `@jax.jit` and tap that by its name: '
      "Target(..., tap=('its_name',))."
    )
  if missing == (RELU,):
    return (
      f'It has {listed(present)}, which are not ReLUs; name them to tap them: '
      f'Target(..., tap={tuple(present)}).'
    )
  names = {*present, *(call.name for call in program.calls)}
  close = [
    near
    for name in missing
    if name != RELU
    for near in difflib.get_close_matches(name, sorted(names), 1)
  ]
  meant = f' Did you mean {" or ".join(map(repr, close))}?' if close else ''
  return (
    f'It has {listed(present)}.{meant} Name what it has, or a function of your '
    'own under `@jax.jit`.'
  )


def _kind(program: Program, op: Op) -> str | None:
  """Returns the kind of one operation or call, None if it cannot be one."""
  if len(_floating(program, op)) != 1:
    return None
  name = op.name
  if name in program_lib.CUSTOM_CALLS:
    name = _whole(op.bodies[0]) if op.bodies else None
  return _ALIASES.get(name, name)


def _floating(program: Program, op: Op) -> list[int]:
  # A wrapper of `jax.jit` may return more than the function's result.
  return [
    v
    for v in op.outputs
    if jnp.issubdtype(program.dtypes[v] or bool, jnp.floating)
  ]


def _whole(body: Program) -> str | None:
  """Names the jitted function or the written-out one that is all of a body."""
  calls = [(c.name, c.inputs, c.outputs) for c in body.calls]
  calls += [(s.kind, (s.input,), (s.output,)) for s in smooth.find(body)]
  return next(
    (
      name
      for name, inputs, outputs in calls
      if outputs == body.outputs and set(inputs) <= {*body.inputs}
    ),
    None,
  )


def _outermost(ordered: list[Activation]) -> list[Activation]:
  kept: list[Activation] = []
  for a in ordered:
    if not any(_within(a.path, k.path) for k in kept):
      kept.append(a)
  return kept


def _within(path: Path, call: Path) -> bool:
  return path[: len(call)] == call

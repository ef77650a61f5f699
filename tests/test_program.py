"""The flat program: order, places, values, and the calls by name."""

import jax
import jax.numpy as jnp
from jax import lax

from gencnp_jax import program as program_lib

X = jnp.ones((3, 4))


def _flat(fn, *args):
  return program_lib.flatten(jax.make_jaxpr(fn)(*args))


def test_calls_are_entered_and_the_order_is_kept():
  @jax.jit
  def inner(x):
    return jnp.sin(jnp.exp(x))

  def fn(x):
    return jnp.cos(jax.checkpoint(inner)(jnp.tanh(x)))

  program = _flat(fn, jnp.ones(3))
  assert [op.name for op in program.ops] == ['tanh', 'exp', 'sin', 'cos']
  assert [op.path for op in program.ops] == [(0,), (1, 0, 0), (1, 0, 1), (2,)]
  # Values run through the calls: each operation reads what the last one wrote.
  chain = [program.inputs, *(op.outputs for op in program.ops)]
  assert [op.inputs for op in program.ops] == chain[:-1]
  assert program.outputs == chain[-1]


def test_a_shared_function_has_two_places():
  inner = jax.jit(jnp.sin)
  program = _flat(lambda x: inner(inner(x)), jnp.ones(3))
  assert [op.path for op in program.ops] == [(0, 0), (1, 0)]
  assert program.ops[1].inputs == program.ops[0].outputs


def test_calls_are_kept_by_name():
  @jax.jit
  def inner(x):
    return jnp.sin(x)

  @jax.jit
  def outer(x):
    return inner(x) * 2

  program = _flat(lambda x: jax.vmap(outer)(jax.checkpoint(inner)(x)), X)
  calls = {call.path: call for call in program.calls}
  assert {path: c.name for path, c in calls.items()} == {
    (0, 0): 'inner',
    (1,): 'outer',
    (1, 0): 'inner',
  }
  # Their values are those of the operations inside.
  sines = [op for op in program.ops if op.name == 'sin']
  assert calls[0, 0].outputs == sines[0].outputs == calls[1,].inputs
  assert calls[1, 0].outputs == sines[1].outputs
  assert calls[1,].outputs == program.outputs


def test_opaque_bodies_are_walked_and_constants_known():
  def fn(x):
    c, _ = lax.scan(lambda c, _: (jnp.sin(c) * 2, None), x, None, length=2)
    return jnp.maximum(c, 0)

  program = _flat(fn, jnp.ones(3))
  assert [op.name for op in program.ops] == ['scan', 'max']
  assert {'scan', 'sin', 'mul', 'max'} <= {op.name for op in program.walk()}
  assert 0 in [program.constants.get(v) for v in program.ops[-1].inputs]
  assert program.shapes[program.outputs[0]] == (3,)


def test_custom_calls_are_entered_on_demand():
  closed = jax.make_jaxpr(jax.nn.relu)(jnp.ones(3))
  (whole,) = program_lib.flatten(closed).ops
  assert whole.name == 'custom_jvp_call'
  (entered,) = program_lib.flatten(closed, lambda body: True).ops
  assert entered.name == 'max'

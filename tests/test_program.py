"""The flat program: order, places, values, and where the channels are."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from jax import lax

from gencnp_jax import program as program_lib


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


# Images [3, 3, 8, 9] in NCHW, or [3, 8, 9, 3] in NHWC; 5 channels out.
KERNEL = jnp.ones((5, 3, 3, 3))


def _nchw(x):
  return lax.conv_general_dilated(
    x, KERNEL, (1, 1), 'SAME', dimension_numbers=('NCHW', 'OIHW', 'NCHW')
  )


def _one_image(x):
  # As Equinox: no batch axis inside, a bias of shape [c, 1, 1].
  return jax.vmap(lambda x: _nchw(x[None])[0] + jnp.ones((5, 1, 1)))(x)


def _pooled(x):
  window = (1, 1, 2, 2)
  return lax.reduce_window(x, -jnp.inf, lax.max, window, window, 'VALID')


def _residual(x):
  y = _nchw(x)
  return jnp.concatenate([y, jnp.tanh(y)], axis=1)


@pytest.mark.parametrize(
  'axis, fn',
  [
    (1, _nchw),
    (1, _one_image),
    (1, lambda x: _pooled(_nchw(x))),
    (1, _residual),
    (3, lambda x: jnp.moveaxis(_nchw(x), 1, -1)),
    (3, lambda x: jnp.tanh(jnp.moveaxis(_pooled(_one_image(x)), 1, -1))),
    (2, lambda x: jnp.transpose(_nchw(x), (2, 0, 1, 3))),
  ],
)
@pytest.mark.parametrize('shape', [(3, 3, 8, 9), (3, 3, 5, 5), (1, 3, 8, 9)])
def test_channel_axis_is_found_upstream(axis, fn, shape):
  """Also where all sides are equal, and where the batch is one image."""
  program = _flat(fn, jnp.ones(shape))
  assert program_lib.channel_axis(program, program.outputs[0]) == axis


def test_channel_axis_is_unknown_behind_a_product():
  program = _flat(lambda x: _nchw(x) @ jnp.ones((9, 9)), jnp.ones((3, 3, 8, 9)))
  assert program_lib.channel_axis(program, program.outputs[0]) is None
  program = _flat(jnp.tanh, jnp.ones((3, 3, 8, 9)))
  assert program_lib.channel_axis(program, program.outputs[0]) is None


def test_channel_axis_of_a_flax_convolution():
  module = nn.Sequential([nn.Conv(5, (3, 3)), nn.GroupNorm(num_groups=5)])
  x = jnp.ones((2, 5, 5, 3))
  variables = module.init(jax.random.key(0), x)
  program = _flat(lambda x: module.apply(variables, x), x)
  assert program_lib.channel_axis(program, program.outputs[0]) in (3, None)

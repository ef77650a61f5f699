"""Activation functions by name and by value, and what is said of them."""

import collections
import functools

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from gencnp_jax import activations, neurons, smooth

X = jax.random.normal(jax.random.key(0), (3, 4, 4, 6))

NAMES = [
  *('celu', 'elu', 'gelu', 'glu', 'hard_sigmoid', 'hard_silu', 'hard_tanh'),
  *('leaky_relu', 'log_sigmoid', 'mish', 'relu', 'relu6', 'selu', 'sigmoid'),
  *('silu', 'soft_sign', 'softplus', 'sparse_plus', 'sparse_sigmoid'),
  *('squareplus', 'tanh'),
]
JAX_NN = {name: getattr(jax.nn, name) for name in NAMES}


@jax.jit
def cube(x):
  return x**3


def _kinds(fn, tap=('relu',), x=X):
  kinds = activations.kinds(tap)
  program = activations.flatten(jax.make_jaxpr(fn)(x), kinds)
  return [a.kind for a in activations.find(program, kinds)]


def _logits(fn, x):
  return jnp.cos(fn(2 * x)).sum((1, 2))


def _recorded(fn, tap, x=X):
  """Returns what is recorded of a net that calls `fn` on `2 * x`."""
  seen = []
  net = functools.partial(_logits, fn)
  traced = neurons.trace(lambda _, x: net(x), {}, x, tap=tap)
  out = neurons.replay(traced, lambda i, a: seen.append(a) or a, {}, x)
  np.testing.assert_array_equal(out, net(x))
  zero = neurons.replay(traced, lambda i, a: a * 0, {}, x)
  np.testing.assert_array_equal(zero, np.full_like(zero, 16))
  return seen


# What the name of a function finds.


@pytest.mark.parametrize('name', JAX_NN)
@pytest.mark.parametrize('wrap', [lambda f: f, jax.vmap, jax.checkpoint])
def test_jax_nn_is_found_by_name_once(name, wrap):
  assert _kinds(wrap(JAX_NN[name])) == [name]


@pytest.mark.parametrize(
  'kind, fn',
  [
    *[item for item in JAX_NN.items() if item[0] not in ('relu', 'glu')],
    ('gelu', functools.partial(jax.nn.gelu, approximate=False)),
    ('leaky_relu', functools.partial(jax.nn.leaky_relu, negative_slope=0.3)),
    ('silu', nn.swish),
    ('hard_silu', nnx.hard_swish),
    ('cube', cube),
    ('cube', jax.vmap(cube)),
    ('cube', lambda x: jax.jit(lambda x: cube(x))(x)),
    ('cube', eqx.filter_jit(lambda x: cube(x))),
    ('sin', jnp.sin),
  ],
)
def test_a_tapped_call_is_recorded_and_replaced(kind, fn):
  (activation,) = _recorded(fn, (kind,))
  np.testing.assert_array_equal(activation, fn(2 * X))


@pytest.mark.parametrize('make', [eqx.filter_jit, nnx.jit])
def test_a_jit_of_a_library_keeps_the_name(make):
  @make
  def powered(x):
    return x**2

  (activation,) = _recorded(powered, ('powered',))
  np.testing.assert_array_equal(activation, 4 * X**2)


@pytest.mark.parametrize(
  'name, fn',
  [
    ('swish', jax.nn.silu),
    ('silu', jax.nn.swish),
    ('hard_swish', jax.nn.hard_silu),
    ('logistic', jax.nn.sigmoid),
    ('sigmoid', jax.nn.sigmoid),
  ],
)
def test_two_names_of_one_function(name, fn):
  assert len(_recorded(fn, (name,))) == 1


def test_kinds_come_in_call_order():
  def fn(x):
    x = jax.nn.gelu(jax.nn.relu(cube(x)))
    x = jnp.tanh(jnp.maximum(jax.nn.relu6(x), 0.5))
    return cube(jnp.where(x > 0, x, 0))

  every = ['cube', 'relu', 'gelu', 'relu6', 'tanh', 'relu', 'cube']
  for tap in [('relu', 'cube'), ('cube', 'gelu'), ('tanh',), ('relu',)]:
    known = [k for k in every if k != 'cube' or 'cube' in tap]
    assert _kinds(fn, tap) == known
    traced = neurons.trace(lambda _, x: _logits(fn, x), {}, X, tap=tap)
    assert [s.kind for s in traced.sites] == [k for k in every if k in tap]
    counts = collections.Counter(k for k in known if k not in tap)
    assert traced.untapped == counts


def test_the_default_taps_relus_alone():
  def fn(x):
    return jax.nn.gelu(jax.nn.relu(x))

  (activation,) = _recorded(fn, ('relu',))
  np.testing.assert_array_equal(activation, jax.nn.relu(2 * X))


# A call is one activation, whatever is inside.


@pytest.mark.parametrize('inner', ['relu6', 'elu', 'tanh', 'sigmoid', 'erf'])
@pytest.mark.parametrize(
  'outer', ['hard_silu', 'selu', 'mish', 'silu', 'gelu', 'hard_sigmoid']
)
def test_what_is_inside_another_is_none_of_its_own(inner, outer):
  assert _kinds(JAX_NN[outer], (inner,)) == [outer]
  assert _kinds(JAX_NN[outer], (inner, outer)) == [outer]


def test_relus_inside_a_call_are_found_unless_it_is_tapped():
  @jax.jit
  def leaky_relu(x):
    return jax.nn.relu(x) - 0.1 * jax.nn.relu(-x)

  assert _kinds(leaky_relu) == ['relu', 'relu']
  assert _kinds(leaky_relu, ('tanh',)) == ['relu', 'relu']
  assert _kinds(leaky_relu, ('relu', 'leaky_relu')) == ['leaky_relu']


def test_a_jitted_block_is_entered():
  @jax.jit
  def block(x):
    return jax.nn.gelu(cube(jax.nn.relu(x)))

  assert _kinds(block, ('cube',)) == ['relu', 'cube', 'gelu']
  assert _kinds(block, ('cube', 'block')) == ['block']
  assert _kinds(jax.checkpoint(block), ('gelu',)) == ['relu', 'gelu']


def test_custom_derivatives_are_entered_where_they_hold_what_is_tapped():
  @jax.custom_vjp
  def block(x):
    return cube(jax.nn.gelu(x)) + 1

  block.defvjp(lambda x: (block(x), x), lambda x, g: (g,))

  @jax.custom_jvp
  @jax.jit
  def whole(x):
    return cube(x) * 2

  whole.defjvp(lambda p, t: (whole(*p), 7 * t[0]))

  @jax.custom_jvp
  def own_gelu(x):
    return jax.nn.gelu(x)

  own_gelu.defjvp(lambda p, t: (own_gelu(*p), 7 * t[0]))

  assert _kinds(block, ('cube',)) == ['gelu', 'cube']
  assert _kinds(block, ('gelu',)) == ['gelu']
  assert _kinds(block, ('tanh',)) == []
  assert _kinds(whole, ('whole',)) == ['whole']
  assert _kinds(own_gelu) == ['gelu']
  # One that is whole keeps its derivative rule.
  for fn, tap in (whole, 'whole'), (own_gelu, 'gelu'):
    net = functools.partial(_logits, fn)
    traced = neurons.trace(lambda _, x, net=net: net(x), {}, X, tap=(tap,))
    slopes = [
      jax.grad(lambda x, f=f: f(x).sum())(X)
      for f in (
        net,
        lambda x, t=traced: neurons.replay(t, lambda i, a: a, {}, x),
      )
    ]
    np.testing.assert_array_equal(*slopes)


def test_integers_and_several_results_are_no_activations():
  @jax.jit
  def halves(x):
    return x / 2, x / 4

  @jax.jit
  def rounded(x):
    return x.astype(jnp.int32)

  assert (
    _kinds(lambda x: halves(x)[0] * rounded(x), ('halves', 'rounded')) == []
  )


# GELU and SiLU by value.

SMOOTH = {
  'gelu': [
    jax.nn.gelu,
    functools.partial(jax.nn.gelu, approximate=False),
    jax.vmap(nn.gelu),
    lambda x: 0.5 * x * (1 + lax.erf(x / np.sqrt(2))),
    lambda x: x * 0.5 * (1 + lax.erf(x / jnp.sqrt(2.0))),
    lambda x: x * (1 - 0.5 * lax.erfc(x * 2**-0.5)),
    lambda x: (
      0.5 * (x * (1 + jnp.tanh(0.7978846 * (x + 0.044715 * x * x * x))))
    ),
    lambda x: jax.nn.gelu(x.astype(jnp.float32)).astype(x.dtype),
  ],
  'silu': [
    lambda x: x * jax.nn.sigmoid(x),
    lambda x: jax.nn.sigmoid(x) * x,
    lambda x: 0.5 * x * (1 + jnp.tanh(0.5 * x)),
    lambda x: x * jax.jit(jax.nn.sigmoid)(x),
  ],
}


@pytest.mark.parametrize(
  'kind, fn', [(kind, fn) for kind, fns in SMOOTH.items() for fn in fns]
)
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_written_out_functions_are_found_by_value(kind, fn, dtype):
  x = X.astype(dtype)
  (activation,) = _recorded(fn, (kind,), x)
  np.testing.assert_array_equal(
    *(a.astype(dtype) for a in (activation, fn(2 * x)))
  )
  assert _kinds(lambda x: jnp.sin(x) + 3 * fn(fn(x) + 1), x=x) == [kind] * 2


@pytest.mark.parametrize(
  'kinds, fn',
  [
    (['sigmoid'], lambda x: x * jax.nn.sigmoid(1.702 * x)),
    (['sigmoid'], lambda x: x * jax.nn.sigmoid(x - 1)),
    (['sigmoid'], lambda x: x[::-1] * jax.nn.sigmoid(x)),
    (['sigmoid'], lambda x: x * jax.nn.sigmoid(x.mean((1, 2), keepdims=True))),
    (['sigmoid'], lambda x: x * jax.nn.sigmoid(x * jnp.arange(6.0))),
    (['tanh'], lambda x: x * jnp.tanh(x)),
    (['tanh'], lambda x: x * (1 + jnp.tanh(x))),
    ([], lambda x: x * (1 + lax.erf(x))),
    ([], lax.erf),
  ],
)
@jax.numpy_rank_promotion('allow')
def test_other_gates_are_no_gelu(kinds, fn):
  assert _kinds(fn) == kinds


def test_the_parts_of_a_written_out_function_are_its_own():
  program = activations.flatten(jax.make_jaxpr(jax.nn.gelu)(X))
  (found,) = smooth.find(program)
  assert sorted(found.parts) == [op.path for op in program.ops]
  assert (found.input, found.output) == (
    program.inputs[0],
    program.outputs[0],
  )
  for tap in ('tanh', 'mul', 'integer_pow'):
    assert _kinds(jax.nn.gelu, (tap,)) == ['gelu']


# What is refused, and what is said.


def _trace(fn, tap=('relu',)):
  return neurons.trace(lambda _, x: _logits(fn, x), {}, X, tap=tap)


def _twelve(x):
  for _ in range(12):
    x = jax.nn.gelu(x)
  return jnp.tanh(jax.nn.relu6(x))


@pytest.mark.parametrize(
  'tap, fn, message',
  [
    (
      ('relu',),
      _twelve,
      'The target has no ReLU, so there are no such neurons to explain. It has '
      'gelu (12), relu6 (1), tanh (1), which are not ReLUs; name them to tap '
      "them: Target(..., tap=('gelu', 'relu6', 'tanh')).",
    ),
    (
      ('relu',),
      jax.nn.softplus,
      "It has softplus (1), which are not ReLUs; name them to tap them: "
      "Target(..., tap=('softplus',)).",
    ),
    (
      ('relu',),
      jnp.sin,
      'The target has no ReLU, so there are no such neurons to explain. It has '
      'no other activation function that is known by name. Put yours in a '
      'function of one result under `@jax.jit`',
    ),
    (
      ('relu', 'geglu'),
      _twelve,
      "tap=('relu', 'geglu'): The target has no ReLU and no geglu, so there are "
      "no such neurons to explain. It has gelu (12), relu6 (1), tanh (1). Did "
      "you mean 'gelu'? Name what it has",
    ),
    (
      ('gleu', 'tahn'),
      _twelve,
      "It has gelu (12), relu6 (1), tanh (1). Did you mean 'gelu' or 'tanh'?",
    ),
    (('cub',), lambda x: cube(nn.relu(x)), "relu (1). Did you mean 'cube'?"),
    (('xyz',), jax.nn.relu, 'It has relu (1). Name what it has'),
    (
      ('gelu',),
      lambda x: lax.map(jax.nn.gelu, jax.nn.relu(x)),
      'The target has a gelu inside `scan`: its activations of different',
    ),
    (
      ('relu', 'tanh'),
      lambda x: nn.relu(lax.cond(x[0, 0, 0, 0] > 0, jnp.tanh, jnp.sin, x)),
      'The target has a tanh inside `cond`',
    ),
    (
      ('cube',),
      lambda x: lax.while_loop(lambda c: c[0, 0, 0, 0] > 9, cube, x),
      'The target has a cube inside `while`',
    ),
    (
      ('relu',),
      lambda x: lax.map(jax.nn.gelu, x),
      "It has gelu (1), which are not ReLUs",
    ),
    (
      ('gelu',),
      lambda x: jax.nn.gelu(x.reshape(-1, 12)).reshape(x.shape),
      'gelu 0 sees 3 images as an axis of length 24',
    ),
  ],
)  # fmt: skip
def test_what_is_said_of_what_is_not_there(tap, fn, message):
  with pytest.raises(neurons.TargetError) as caught:
    _trace(fn, tap)
  assert message in str(caught.value)


def test_a_loop_hides_only_what_is_tapped():
  traced = _trace(lambda x: jax.nn.relu(lax.map(jax.nn.gelu, x)))
  assert [s.kind for s in traced.sites] == ['relu']
  assert traced.untapped == {'gelu': 1}
  traced = _trace(lambda x: jax.nn.gelu(lax.map(jax.nn.relu, x)), ('gelu',))
  assert [s.kind for s in traced.sites] == ['gelu']
  assert traced.untapped == {'relu': 1}


def test_functions_of_weights_do_not_count():
  def fn(w, x):
    return x.mean((1, 2)) @ jnp.tanh(jax.nn.gelu(w)) + jax.nn.relu(x[:, 0, 0])

  traced = neurons.trace(fn, jnp.ones((6, 6)), X)
  assert traced.untapped == {}
  with pytest.raises(neurons.TargetError, match='has no tanh'):
    neurons.trace(fn, jnp.ones((6, 6)), X, tap=('tanh',))

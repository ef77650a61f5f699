"""What counts as a ReLU, and what only looks like one."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gencnp_jax import activations, contract, neurons, relus

X = jax.random.normal(jax.random.key(0), (3, 4, 4, 6))


@jax.custom_vjp
def _vjp_relu(x):
  return jnp.maximum(x, 0)


_vjp_relu.defvjp(
  lambda x: (_vjp_relu(x), x), lambda x, g: (jnp.where(x > 0, g, 0),)
)


@jax.custom_jvp
def _wrapped_relu(x):
  return jax.nn.relu(x)


_wrapped_relu.defjvp(lambda p, t: (_wrapped_relu(*p), t[0]))


def _in_jit(fn):
  return jax.jit(lambda x: jax.jit(fn)(x))


class _Remat(nn.Module):
  @nn.compact
  def __call__(self, x):
    return nn.relu(x)


RELUS = {
  'jax.nn.relu': jax.nn.relu,
  'nn.relu': nn.relu,
  'maximum': lambda x: jnp.maximum(x, 0),
  'maximum_flipped': lambda x: jnp.maximum(0.0, x),
  'lax.max': lambda x: lax.max(x, lax.full_like(x, 0)),
  'minus_zero': lambda x: jnp.maximum(x, -0.0),
  'clip_method': lambda x: x.clip(min=0),
  'clip': lambda x: jnp.clip(x, 0, None),
  'zeros_like': lambda x: jnp.maximum(x, jnp.zeros_like(x)),
  'zero_vector': lambda x: jnp.maximum(x, jnp.zeros((1, 1, 1, 6))),
  'numpy_zeros': lambda x: jnp.maximum(x, np.zeros(x.shape, np.float32)),
  'where_gt': lambda x: jnp.where(x > 0, x, 0),
  'where_ge': lambda x: jnp.where(x >= 0, x, jnp.zeros_like(x)),
  'where_lt': lambda x: jnp.where(x < 0, 0.0, x),
  'where_le': lambda x: jnp.where(x <= 0, 0, x),
  'where_flipped': lambda x: jnp.where(jnp.less(0, x), x, 0.0),
  'lax.select': lambda x: lax.select(x > 0, x, jnp.zeros_like(x)),
  'times_test': lambda x: x * (x > 0),
  'times_cast_test': lambda x: (x >= 0).astype(x.dtype) * x,
  'jit': _in_jit(jax.nn.relu),
  'jit_where': _in_jit(lambda x: jnp.where(x > 0, x, 0)),
  'checkpoint': jax.checkpoint(jax.nn.relu),
  'remat_module': lambda x: nn.remat(_Remat)().apply({}, x),
  'vmap': jax.vmap(lambda x: jax.nn.relu(x)),
  'vmap_where': jax.vmap(lambda x: jnp.where(x > 0, x, 0)),
  'vmap_inner_axis': jax.vmap(jax.nn.relu, in_axes=2, out_axes=2),
  'custom_vjp': _vjp_relu,
  'custom_jvp_around': _wrapped_relu,
}

LOOK_ALIKES = {
  'relu6': jax.nn.relu6,
  'min_of_max': lambda x: jnp.minimum(jnp.maximum(x, 0), 6),
  'max_of_min': lambda x: jnp.maximum(jnp.minimum(x, 6), 0),
  'min_of_relu': lambda x: jnp.minimum(jax.nn.relu(x), 6.0),
  'clip_both': lambda x: jnp.clip(x, 0, 6),
  'lax.clamp': lambda x: lax.clamp(0.0, x, 6.0),
  'hard_swish': jax.nn.hard_swish,
  'hard_sigmoid': jax.nn.hard_sigmoid,
  'hard_tanh': jax.nn.hard_tanh,
  'leaky_relu': jax.nn.leaky_relu,
  'leaky_by_halves': lambda x: jnp.maximum(x, 0) + 0.1 * jnp.minimum(x, 0),
  'elu': jax.nn.elu,
  'celu': jax.nn.celu,
  'selu': jax.nn.selu,
  'gelu': jax.nn.gelu,
  'gelu_exact': lambda x: jax.nn.gelu(x, approximate=False),
  'softplus': jax.nn.softplus,
  'silu': jax.nn.silu,
  'mish': jax.nn.mish,
  'tanh': jnp.tanh,
  'abs': jnp.abs,
  'squareplus': jax.nn.squareplus,
  'sparse_plus': jax.nn.sparse_plus,
  'log_sigmoid': jax.nn.log_sigmoid,
  'glu': jax.nn.glu,
  'softmax': jax.nn.softmax,
  'log_softmax': jax.nn.log_softmax,
  'logsumexp': jax.nn.logsumexp,
  'step': lambda x: (x > 0).astype(x.dtype),
  'where_other': lambda x: jnp.where(x > 0, 2 * x, 0),
  'where_reversed': lambda x: jnp.where(x > 0, 0, x),
  'where_one': lambda x: jnp.where(x > 1, x, 0),
  'negative_part': lambda x: jnp.minimum(x, 0),
  'max_one': lambda x: jnp.maximum(x, 1),
  'max_two': lambda x: jnp.maximum(x, x[::-1]),
  'max_epsilon': lambda x: jnp.maximum(x, 1e-6),
  'max_pool': lambda x: nn.max_pool(x, (2, 2)),
  'avg_pool': lambda x: nn.avg_pool(x, (2, 2)),
  'std': lambda x: (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True),
  'integer': lambda x: jnp.maximum(x.astype(jnp.int32), 0),
}


def _find(fn, *args):
  return relus.find(activations.flatten(jax.make_jaxpr(fn)(*args)))


@pytest.mark.parametrize('name', RELUS)
@pytest.mark.parametrize('dtype', ['float32', 'bfloat16'])
def test_every_spelling_is_found_once_and_recorded_right(name, dtype):
  if name == 'numpy_zeros' and dtype == 'bfloat16':
    pytest.skip('float32 zeros make the product float32')
  x, fn = X.astype(dtype), RELUS[name]

  def logits(_, x):
    return jnp.tanh(fn(2 * x)).sum((1, 2))

  seen = []
  traced = neurons.trace(logits, {}, x)
  out = neurons.replay(traced, lambda i, a: seen.append(a) or a, {}, x)
  assert len(seen) == len(_find(fn, x)) == 1
  np.testing.assert_array_equal(seen[0], jnp.maximum(2 * x, 0))
  np.testing.assert_array_equal(out, logits({}, x))


@pytest.mark.parametrize('name', LOOK_ALIKES)
def test_look_alikes_are_left_alone(name):
  assert not _find(LOOK_ALIKES[name], X)


@pytest.mark.parametrize(
  'norm',
  [
    nn.LayerNorm(),
    nn.LayerNorm(use_fast_variance=False),
    nn.RMSNorm(),
    nn.GroupNorm(num_groups=2),
    nn.GroupNorm(num_groups=None, group_size=1),
    nn.InstanceNorm(),
    nn.BatchNorm(use_running_average=True),
    nn.BatchNorm(use_running_average=False),
    nn.BatchNorm(use_running_average=False, dtype=jnp.bfloat16),
  ],
  ids=lambda m: type(m).__name__,
)
def test_a_variance_clamp_is_no_relu_but_its_neighbour_is(norm):
  variables = norm.init(jax.random.key(0), X)

  def around(x):
    y, _ = norm.apply(variables, jax.nn.relu(x), mutable=['batch_stats'])
    return jnp.maximum(y, 0)

  assert len(_find(around, X)) == 2


@pytest.mark.parametrize(
  'norm',
  [
    eqx.nn.LayerNorm((4, 4, 6)),
    eqx.nn.GroupNorm(2, 4),
    eqx.nn.RMSNorm((4, 4, 6)),
    lambda x: jnp.maximum(jnp.var(x, axis=0), 0),
    lambda x: jnp.maximum(jnp.std(x, axis=(0, 1), ddof=1), 0),
  ],
)
@pytest.mark.parametrize('wrap', [jax.vmap, lambda f: lambda x: f(x[0])])
def test_a_clamp_of_a_variance_of_one_image_is_no_relu(norm, wrap):
  assert not _find(wrap(norm), X)
  assert len(_find(lambda x: jax.nn.relu(wrap(norm)(x)), X)) == 1


def test_relu_that_is_also_used_otherwise_is_no_relu6():
  def fn(x):
    y = jax.nn.relu(x)
    return jnp.minimum(y, 6) + y

  assert len(_find(fn, X)) == 1
  assert len(_find(lambda x: jnp.minimum(jax.nn.relu(x), x[:1]), X)) == 1


def test_composites_are_entered_where_they_hold_relu_calls():
  @jax.custom_jvp
  def composite(x):
    return jax.nn.relu(2 * x) + jax.nn.relu(-x)

  composite.defjvp(lambda p, t: (composite(*p), t[0]))

  @jax.custom_vjp
  def outer(x):
    return 3 * composite(x)

  outer.defvjp(lambda x: (outer(x), None), lambda _, g: (g,))
  assert len(_find(composite, X)) == len(_find(outer, X)) == 2
  # A bare maximum inside a rule of its own belongs to that rule (softplus).
  assert not _find(lambda x: jnp.logaddexp(x, 0.0), X)


def _step(i, x):
  del i
  return jnp.maximum(x, 0)


def _scan(x):
  return lax.scan(lambda c, _: (jax.nn.relu(c), None), x, None, length=2)[0]


def _while(x):
  halve = jax.jit(lambda c: jnp.maximum(c, 0) * 0.5)
  return lax.while_loop(lambda c: c.sum() > 9, halve, x)


@pytest.mark.parametrize(
  'name, fn',
  [
    ('scan', _scan),
    ('scan', lambda x: lax.map(lambda row: jnp.where(row > 0, row, 0), x)),
    ('scan', lambda x: lax.fori_loop(0, 3, lambda i, c: nn.relu(c), x)),
    ('while', _while),
    ('while', lambda x: lax.fori_loop(0, x.astype(int).max(), _step, x)),
    ('cond', lambda x: lax.cond(x.sum() > 0, jax.nn.relu, jnp.tanh, x)),
    ('cond', lambda x: lax.cond(x.sum() > 0, _scan, jnp.tanh, x)),
    ('cond', lambda x: lax.switch(x.size, [jnp.sin, jnp.tanh, nn.relu], x)),
  ],
)
def test_relu_inside_control_flow_is_named(name, fn):
  program = activations.flatten(jax.make_jaxpr(fn)(X))
  assert activations.find_hidden(program, ('relu',)) == ('relu', name)


def test_control_flow_without_relu_hides_nothing():
  def fn(x):
    return lax.scan(lambda c, _: (jnp.tanh(c), None), x, None, length=2)[0]

  program = activations.flatten(jax.make_jaxpr(fn)(X))
  assert activations.find_hidden(program, ('relu',)) is None


@pytest.mark.parametrize(
  'drawn, fn',
  [
    ('random_bits', lambda x: x + jax.random.normal(jax.random.key(0))),
    ('random_bits', lambda x: x * jax.random.uniform(jax.random.PRNGKey(0))),
    (
      'random_bits',
      lambda x: lax.map(lambda r: r + jax.random.uniform(jax.random.key(1)), x),
    ),
    (None, lambda x: x + 0 * jax.random.key_data(jax.random.key(0)).sum()),
    (None, lambda x: jax.random.fold_in(jax.random.key(0), 1) is None or x),
  ],
)
def test_a_draw_is_random_and_a_key_is_not(drawn, fn):
  program = activations.flatten(jax.make_jaxpr(fn)(X))
  assert contract.random_operation(program) == drawn

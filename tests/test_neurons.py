"""Tracing a target: which neurons it has, their layout, what is refused."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gencnp_jax import neurons
from gencnp_jax.neurons import TargetError

IMAGES = jax.random.normal(jax.random.key(0), (3, 8, 6, 2))


def _record(fn, images=IMAGES, variables=(), layout='auto'):
  seen = []
  traced = neurons.trace(fn, variables, images, layout)
  out = neurons.replay(
    traced, lambda i, a: seen.append((i, a)) or a, variables, images
  )
  assert [i for i, _ in seen] == list(range(len(traced.sites)))
  assert [a.shape[1:] for _, a in seen] == [s.shape for s in traced.sites]
  return out, [a for _, a in seen]


def _logits(x):
  return x.reshape(x.shape[0], -1)[:, :5]


class Net(nn.Module):
  """Look-alikes between the ReLUs, a shared submodule, a dense activation."""

  @nn.compact
  def __call__(self, x, train=False):
    x = nn.relu(nn.Conv(4, (3, 3))(x))
    x = nn.GroupNorm(num_groups=2)(x)
    x = nn.relu6(nn.Conv(4, (3, 3))(x))
    shared = nn.Conv(4, (3, 3))
    for _ in range(2):
      x = jnp.maximum(nn.LayerNorm()(shared(x)), 0)
    x = nn.max_pool(x, (2, 2), (2, 2))
    x = nn.BatchNorm(use_running_average=not train)(x)
    x = jnp.where(x > 0, x, 0).mean((1, 2))
    x = nn.Dropout(0.5, deterministic=not train)(x)
    return nn.Dense(5)(nn.relu(nn.Dense(7)(x)))


@pytest.fixture(scope='module')
def net():
  module = Net()
  return module, jax.jit(module.init)(jax.random.key(1), IMAGES)


@pytest.mark.parametrize('batch', [1, 3])
def test_activations_of_a_flax_module_in_call_order(net, batch):
  module, variables = net
  images = IMAGES[:batch]
  out, activations = _record(module.apply, images, variables)
  np.testing.assert_array_equal(out, module.apply(variables, images))
  assert [a.shape[1:] for a in activations] == [
    *[(8, 6, 4)] * 3,
    (4, 3, 4),
    (7,),
  ]
  _, state = module.apply(variables, images, capture_intermediates=True)
  state = state['intermediates']
  before = [
    state['Conv_0']['__call__'][0],
    state['LayerNorm_0']['__call__'][0],
    state['LayerNorm_1']['__call__'][0],
    state['BatchNorm_0']['__call__'][0],
    state['Dense_1']['__call__'][0],
  ]
  for activation, x in zip(activations, before):
    np.testing.assert_array_equal(activation, np.maximum(x, 0))


def test_a_shared_module_is_a_site_a_call(net):
  module, variables = net
  _, activations = _record(module.apply, IMAGES, variables)
  assert not np.array_equal(activations[1], activations[2])


def test_every_other_operation_is_bound_as_it_was():
  """Loops, branches and derivative rules pass through, in value and slope."""

  @jax.custom_vjp
  def tripled(x):
    return jnp.tanh(x)

  tripled.defvjp(lambda x: (tripled(x), x), lambda x, g: (3 * g,))

  def fn(w, x):
    x = lax.scan(lambda c, k: (jnp.sin(c) * k, c.sum()), x, jnp.arange(1.0, 3))
    x = lax.fori_loop(0, 2, lambda i, c: c + i, x[0])
    x = lax.cond(w > 0, jnp.cos, jnp.sin, x)
    x = lax.map(lambda row: tripled(row * w), x)
    x = jax.checkpoint(lambda x: tripled(jax.nn.relu(jnp.sin(x))))(x)
    x = jax.nn.gelu(jax.nn.softmax(jnp.sort(x, axis=1)))
    x = jax.vmap(jnp.outer)(x[:, 0, :, 0], x[:, :, 0, 1])
    return _logits(jnp.einsum('nij,jk->nik', x, jnp.ones((8, 2))))

  w = jnp.float32(0.7)
  out, activations = _record(fn, IMAGES, w)
  assert len(activations) == 1
  np.testing.assert_array_equal(out, fn(w, IMAGES))

  def replayed(w, x):
    traced = neurons.trace(fn, w, x)
    return neurons.replay(traced, lambda i, a: a, w, x)

  grads = [
    jax.grad(lambda w, x, f=f: (f(w, x) ** 2).sum(), (0, 1))(w, IMAGES)
    for f in (fn, replayed)
  ]
  jax.tree.map(np.testing.assert_array_equal, *grads)


def test_on_relu_replaces_what_flows_on():
  def fn(w, x):
    x = jax.nn.relu(x.mean((1, 2)))
    return jax.jit(lambda x: jnp.where(x > 0, x, 0))(x - w)

  traced = neurons.trace(fn, 1.0, IMAGES)
  out = neurons.replay(traced, lambda i, a: a * 0 + 4 + i, 1.0, IMAGES)
  np.testing.assert_array_equal(out, np.full((3, 2), 5.0))


# Layouts.


def _nchw(x):
  kernel = jnp.arange(5 * 2 * 3 * 3.0).reshape(5, 2, 3, 3) - 40
  return lax.conv_general_dilated(
    x, kernel, (1, 1), 'SAME', dimension_numbers=('NCHW', 'OIHW', 'NCHW')
  )


def _channels_first(pool=False, one_image=False):
  def fn(_, x):
    x = jnp.moveaxis(x, -1, 1)
    y = jax.vmap(lambda x: _nchw(x[None])[0])(x) if one_image else _nchw(x)
    if pool:
      window = (1, 1, 2, 2)
      y = lax.reduce_window(y, -jnp.inf, lax.max, window, window, 'VALID')
    return _logits(jax.nn.relu(y))

  return fn


@pytest.mark.parametrize('pool', [False, True])
@pytest.mark.parametrize('one_image', [False, True])
@pytest.mark.parametrize('layout', ['auto', 'NCHW'])
def test_channels_first_leaves_as_nhwc(pool, one_image, layout):
  fn = _channels_first(pool, one_image)
  _, (a,) = _record(fn, layout=layout)
  assert a.shape == ((3, 4, 3, 5) if pool else (3, 8, 6, 5))
  expected = np.maximum(_nchw(jnp.moveaxis(IMAGES, -1, 1)), 0)
  if pool:
    expected = expected.reshape(3, 5, 4, 2, 3, 2).max((3, 5))
  np.testing.assert_array_equal(a, np.moveaxis(expected, 1, -1))


def test_masks_go_back_in_the_layout_of_the_target():
  """A mask on one neuron in NHWC switches that one neuron."""
  fn = _channels_first()
  traced = neurons.trace(fn, (), IMAGES)
  mask = jnp.zeros((1, 8, 6, 5)).at[0, 0, 3, 0].set(1)
  out = neurons.replay(traced, lambda i, a: a * mask, (), IMAGES)
  # The logits are the first row of channel 0: columns 0 to 4.
  expected = np.asarray(fn((), IMAGES)) * (np.arange(5) == 3)
  np.testing.assert_array_equal(out, expected)


def test_layout_decides_where_no_convolution_tells():
  def fn(_, x):
    return _logits(jax.nn.relu(x))

  assert _record(fn)[1][0].shape == (3, 8, 6, 2)
  assert _record(fn, layout='NHWC')[1][0].shape == (3, 8, 6, 2)
  assert _record(fn, layout='NCHW')[1][0].shape == (3, 6, 2, 8)
  with pytest.raises(TargetError, match="layout='HWC': choose one of auto"):
    _record(fn, layout='HWC')


def test_the_batch_axis_need_not_lead():
  def fn(_, x):
    y = jnp.moveaxis(x, 0, -1)  # [h, w, c, n]
    y = jax.nn.relu(y - 0.5)
    z = jax.nn.relu(y.sum((0, 1)))  # [c, n]
    return jnp.tile(z.T, (1, 2)) + y[0, 0, 0][:, None]

  out, (a, b) = _record(fn)
  np.testing.assert_array_equal(out, fn((), IMAGES))
  np.testing.assert_array_equal(a, np.maximum(IMAGES - 0.5, 0))
  np.testing.assert_allclose(b, a.sum((1, 2)), rtol=1e-5)


def test_relu_of_weights_is_no_activation():
  def fn(w, x):
    return jax.nn.relu(x.mean((1, 2)) @ jax.nn.relu(w))

  assert len(_record(fn, variables=jnp.ones((2, 4)))[1]) == 1
  with pytest.raises(TargetError, match='has no ReLU'):
    _record(
      lambda w, x: x.mean((1, 2)) @ jax.nn.relu(w), variables=jnp.ones((2, 4))
    )


def test_variables_may_be_numpy_scalars_and_doubles():
  variables = {'w': np.ones((2, 4)), 'gain': 0.5, 'count': 3, 'none': None}

  def fn(v, x):
    return jax.nn.relu(x.mean((1, 2)) @ v['w']) * v['gain'] + v['count']

  out, (a,) = _record(fn, variables=variables)
  assert a.dtype == out.dtype == jnp.float32
  np.testing.assert_allclose(out, a * 0.5 + 3)


# What is refused.


def _train_mode(variables, x):
  return Net().apply(
    variables, x, train=True, mutable=['batch_stats'],
    rngs={'dropout': jax.random.key(0)},
  )  # fmt: skip


def _centred(_, x):
  return jax.nn.relu(x.mean((1, 2))) - x.mean((0, 1, 2))[None]


def _merged(_, x):
  rows = x.reshape(-1, 12)  # Images and rows in one axis.
  return _logits(jax.nn.relu(rows).reshape(x.shape))


@pytest.mark.parametrize(
  'message, fn',
  [
    ('has no ReLU', lambda v, x: jnp.tanh(x.mean((1, 2)))),
    ('ReLU inside `scan`', lambda v, x: lax.map(jax.nn.relu, x).mean((1, 2))),
    (
      'ReLU inside `cond`',
      lambda v, x: jax.nn.relu(
        lax.cond(x[0, 0, 0, 0] > 0, jax.nn.relu, jnp.sin, x).mean((1, 2))
      ),
    ),
    ('returned PyTreeDef.*without `mutable=`', _train_mode),
    ('stochastic.*train=False', lambda v, x: _train_mode(v, x)[0]),
    ('mixes the images.*use_running_average=True', _centred),
    ('returned shape \\(3, 8, 6, 2\\)', lambda v, x: jax.nn.relu(x)),
    ('returned shape \\(6,\\)', lambda v, x: jax.nn.relu(x.mean((1, 2))).ravel()),
    ('3 images as an axis of length 24.*an axis of its own', _merged),
  ],
)  # fmt: skip
def test_what_cannot_be_explained_is_refused(net, message, fn):
  with pytest.raises(TargetError, match=f'(?s){message}'):
    neurons.trace(fn, net[1], IMAGES)


@pytest.mark.parametrize('batch', [1, 2, 3])
@pytest.mark.parametrize('norm', ['batch', 'layer'])
def test_batchnorm_in_training_mode_is_seen_at_every_batch_size(norm, batch):
  module = nn.BatchNorm(use_running_average=False)
  if norm == 'layer':  # Reduces as well, but within an image.
    module = nn.LayerNorm(reduction_axes=(1, 2, 3))
  variables = module.init(jax.random.key(0), IMAGES)

  def fn(v, x):
    y, _ = module.apply(v, nn.relu(x), mutable=['batch_stats'])
    return _logits(nn.relu(y - y.mean((1, 2), keepdims=True)))

  if norm == 'layer':
    assert len(neurons.trace(fn, variables, IMAGES[:batch]).sites) == 2
  else:
    with pytest.raises(TargetError, match='mixes the images of a batch'):
      neurons.trace(fn, variables, IMAGES[:batch])


def _mean_in_a_loop(x):
  return lax.fori_loop(0, 1, lambda i, y: y - y.mean(0, keepdims=True), x)


def _mean_by_products(x):
  return x - jnp.einsum('nhwc,n->hwc', x, jnp.ones(len(x)) / len(x))[None]


@jax.custom_vjp
def _mean_with_a_rule(x):
  return x - x.mean(0, keepdims=True)


_mean_with_a_rule.defvjp(
  lambda x: (_mean_with_a_rule(x), None), lambda _, g: (g,)
)


@pytest.mark.parametrize(
  'mix, name',
  [
    (_mean_in_a_loop, 'reduce_sum'),
    (_mean_by_products, 'dot_general'),
    (_mean_with_a_rule, 'reduce_sum'),
    (lambda x: jnp.sort(x, 0), 'sort'),
    (lambda x: jnp.cumsum(x, 0), 'cumsum'),
  ],
)
def test_images_are_mixed_in_more_ways_than_a_mean(mix, name):
  with pytest.raises(TargetError, match=f'mixes the images.*`{name}`'):
    neurons.trace(lambda _, x: _logits(jax.nn.relu(mix(x))), (), IMAGES)


@pytest.mark.parametrize(
  'within', [lambda x: jnp.sort(x, 1), lambda x: jnp.cumsum(x, 2)]
)
def test_what_stays_within_an_image_mixes_nothing(within):
  fn = lambda _, x: _logits(jax.nn.relu(within(x)))  # noqa: E731
  assert len(neurons.trace(fn, (), IMAGES).sites) == 1


def test_what_the_logits_do_not_depend_on_is_not_there():
  """An auxiliary head, a loss over the batch, noise that nothing reads."""

  @jax.jit
  def heads(x):
    x = jax.nn.relu(x)
    noise = jax.random.normal(jax.random.key(0), x.shape)
    other = jax.nn.relu(x.mean((1, 2)))
    return _logits(x), (other * noise.mean()).mean(0)

  traced = neurons.trace(lambda _, x: heads(x)[0], (), IMAGES)
  assert [site.shape for site in traced.sites] == [IMAGES.shape[1:]]
  seen = neurons.replay(traced, lambda i, a: a, (), IMAGES)
  np.testing.assert_array_equal(seen, heads(IMAGES)[0])


# The trace is made once.


class _Counting:
  """A callable that counts its calls; unhashable on demand."""

  def __init__(self):
    self.calls = 0

  def __call__(self, w, x):
    self.calls += 1
    return jax.nn.relu(x.mean((1, 2)) * w)


class _Unhashable(_Counting):
  __hash__ = None


def test_a_function_is_traced_once_per_shape():
  fn = _Counting()
  for w in (1.0, 2.0, jnp.float32(3)):
    neurons.trace(fn, w, IMAGES)
  assert fn.calls == 2  # Two batch sizes.
  neurons.trace(fn, 1.0, jnp.concatenate([IMAGES, IMAGES]))
  assert fn.calls == 4


def test_an_unhashable_function_works():
  fn = _Unhashable()
  out, (a,) = _record(fn, variables=2.0)
  np.testing.assert_array_equal(out, a)


def test_a_trace_keeps_to_the_matmul_precision_in_force():
  def fn(w, x):
    return jax.nn.relu(x.mean((1, 2)) @ w)

  def replayed():
    traced = neurons.trace(fn, jnp.ones((2, 4)), IMAGES)
    return str(traced.jaxpr)

  assert 'HIGHEST' not in replayed()
  with jax.default_matmul_precision('highest'):
    assert 'HIGHEST' in replayed()
  assert 'HIGHEST' not in replayed()


def test_a_trace_made_under_jit_serves_outside_and_back():
  constant = np.linspace(0, 1, 2, dtype=np.float32)

  def fn(w, x):
    return jax.nn.relu(x.mean((1, 2)) * jnp.asarray(constant)[None] + w)

  def run(w, x):
    return neurons.replay(neurons.trace(fn, w, x), lambda i, a: -a, w, x)

  with jax.checking_leaks():
    first = jax.jit(run)(0.5, IMAGES)
  second = run(0.5, IMAGES)
  third = jax.jit(jax.grad(lambda w, x: run(w, x).sum()))(0.5, IMAGES)
  np.testing.assert_allclose(first, second, rtol=1e-6)
  np.testing.assert_allclose(third, -(second < 0).sum())

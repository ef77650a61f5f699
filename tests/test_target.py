"""The target: recording, masking, and what a caller may get wrong."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gencnp_jax.target import Preprocess, Target, TargetError

IMAGES = jax.random.uniform(jax.random.key(0), (4, 6, 6, 3))


class _Linen(nn.Module):
  dtype: str = 'float32'

  @nn.compact
  def __call__(self, x):
    x = nn.relu(nn.Conv(4, (3, 3), dtype=self.dtype)(x))
    x = nn.GroupNorm(num_groups=2)(x)
    x = nn.relu(nn.Conv(5, (3, 3), strides=2, dtype=self.dtype)(x))
    x = nn.relu(nn.Dense(7, dtype=self.dtype)(x.mean((1, 2))))
    return nn.Dense(3, dtype=self.dtype)(x)


class _Nnx(nnx.Module):
  def __init__(self, rngs):
    self.conv = nnx.Conv(3, 4, (3, 3), rngs=rngs)
    self.norm = nnx.BatchNorm(4, use_running_average=True, rngs=rngs)
    self.drop = nnx.Dropout(0.5, deterministic=True, rngs=rngs)
    self.dense = nnx.Linear(4, 3, rngs=rngs)

  def __call__(self, x):
    x = nnx.relu(self.norm(self.conv(x))).mean((1, 2))
    return self.dense(self.drop(jnp.maximum(x - 0.1, 0)))


def _plain(weights, x):
  """Two ReLUs with a closed form: 2 inputs, 2 hidden, 2 logits."""
  x = jax.nn.relu(x[:, 0, 0, :2] @ weights['a'])
  return jax.nn.relu(x @ weights['b'])


@functools.cache
def _make(kind):
  if kind == 'plain':
    return Target(
      _plain,
      {
        'a': jnp.array([[1.0, -2.0], [3.0, 4.0]]),
        'b': jnp.array([[1.0, -1.0], [2.0, 3.0]]),
      },
    )
  if kind == 'nnx':
    graph, state = nnx.split(_Nnx(nnx.Rngs(0)))

    def apply_fn(state, x):
      return nnx.merge(graph, state)(x)

    return Target(apply_fn, state)
  module = _Linen()
  return Target(module.apply, jax.jit(module.init)(jax.random.key(1), IMAGES))


@pytest.fixture(scope='module', params=['linen', 'nnx', 'plain'])
def target(request):
  return _make(request.param)


@pytest.fixture(scope='module')
def linen():
  return _make('linen')


def _ones(target, batch=4, dtype=bool):
  shapes = target.activation_shapes(IMAGES.shape[1:])
  return tuple(jnp.ones((batch, *s), dtype) for s in shapes)


@pytest.mark.parametrize('batch', [1, 3])
@pytest.mark.parametrize('wrap', [lambda f: f, jax.jit], ids=['eager', 'jit'])
def test_masks_of_ones_give_the_target_bit_for_bit(target, batch, wrap):
  """Bit for bit op by op; under jit, fusions may sum in another order."""
  equal = np.testing.assert_array_equal
  if wrap is jax.jit:
    equal = functools.partial(np.testing.assert_allclose, atol=1e-6)
  images = IMAGES[:batch]
  own = wrap(lambda t, x: t(x))(target, images)
  logits, activations = wrap(lambda t, x: t.record(x))(target, images)
  assert own.dtype == logits.dtype == jnp.float32
  equal(logits, own)
  shapes = target.activation_shapes(images.shape[1:])
  assert tuple(a.shape[1:] for a in activations) == shapes
  for dtype in (bool, jnp.float32):
    masks = _ones(target, batch, dtype)
    masked = wrap(lambda t, x, m: t.masked(x, m))(target, images, masks)
    equal(masked, own)


def test_what_stands_in_does_not_touch_what_is_on(linen):
  shapes = linen.activation_shapes(IMAGES.shape[1:])
  off = tuple(jnp.full(shape[-1:], jnp.inf) for shape in shapes)
  masked = linen.masked(IMAGES, _ones(linen), off)
  np.testing.assert_array_equal(masked, linen(IMAGES))


def test_bfloat16_targets_keep_their_dtype_inside():
  target = Target(_Linen('bfloat16').apply, _make('linen').variables)
  logits, activations = jax.jit(lambda t, x: t.record(x))(target, IMAGES)
  assert logits.dtype == jnp.float32
  assert {str(a.dtype) for a in activations} == {'bfloat16'}
  gates = _ones(target, dtype=jnp.float32)
  off = tuple(jnp.ones(g.shape[-1:]) for g in gates)
  grads = jax.jit(jax.grad(lambda g: target.masked(IMAGES, g, off).sum()))(
    gates
  )
  assert {str(g.dtype) for g in grads} == {'float32'}


def test_masking_is_multiplication_in_the_forward_pass():
  """Against the closed form, with masks that differ between images."""
  target = _make('plain')
  rng = np.random.default_rng(0)
  p = [jnp.asarray(rng.uniform(size=(4, 2)), jnp.float32) for _ in range(2)]
  off = [jnp.asarray(rng.uniform(size=s), jnp.float32) for s in [(4, 2), (2,)]]
  w = target.variables
  x = IMAGES[:, 0, 0, :2]

  def by_hand(p, off=(0, 0)):
    h = p[0] * np.maximum(x @ w['a'], 0) + (1 - p[0]) * off[0]
    y = p[1] * np.maximum(h @ w['b'], 0)
    return y + (1 - p[1]) * np.broadcast_to(off[1], y.shape)

  with jax.numpy_rank_promotion('allow'):
    np.testing.assert_allclose(target.masked(IMAGES, p), by_hand(p), rtol=1e-6)
    np.testing.assert_allclose(
      target.masked(IMAGES, p, off), by_hand(p, off), rtol=1e-6
    )
    binary = [m > 0.5 for m in p]
    np.testing.assert_allclose(
      target.masked(IMAGES, binary, off),
      by_hand([np.float32(m) for m in binary], off),
      rtol=1e-6,
    )


def test_gradients_of_gates_in_closed_form():
  """d logit / d gate = activation * what the gate's output weighs."""
  target = _make('plain')
  w, x = target.variables, IMAGES[:, 0, 0, :2]
  gates = (jnp.full((4, 2), 0.5), jnp.full((4, 2), 2.0))
  grads = jax.grad(lambda g: target.masked(IMAGES, g)[:, 1].sum())(gates)
  h = np.maximum(np.asarray(x @ w['a']), 0)
  z = (0.5 * h) @ np.asarray(w['b'])
  expected_1 = np.stack([np.zeros(4), np.maximum(z[:, 1], 0)], 1)
  np.testing.assert_allclose(grads[1], expected_1, rtol=1e-6)
  slope = 2.0 * (z[:, 1] > 0)[:, None] * np.asarray(w['b'])[:, 1]
  np.testing.assert_allclose(grads[0], h * slope, rtol=1e-6)


def test_zero_masks_leave_only_the_biases(linen):
  zeros = tuple(m * 0 for m in _ones(linen, dtype=jnp.float32))
  bias = linen.variables['params']['Dense_1']['bias']
  for masks in (zeros, tuple(z > 0 for z in zeros)):
    logits = linen.masked(IMAGES, masks)
    np.testing.assert_array_equal(logits, np.tile(bias, (4, 1)))


def test_what_stands_in_for_off_broadcasts(linen):
  _, activations = linen.record(IMAGES)
  zeros = tuple(m & False for m in _ones(linen))
  per_neuron = tuple(a.mean(0, keepdims=True) for a in activations)
  per_channel = tuple(a.mean(tuple(range(a.ndim - 1))) for a in activations)
  for off in (per_neuron, per_channel):
    full = tuple(
      np.broadcast_to(o, a.shape).copy() for o, a in zip(off, activations)
    )
    masked = linen.masked(IMAGES, zeros, off)
    np.testing.assert_array_equal(masked, linen.masked(IMAGES, zeros, full))
    # All neurons at one value: the image cannot matter.
    np.testing.assert_array_equal(masked, np.tile(masked[:1], (4, 1)))
    assert not np.allclose(masked, linen.masked(IMAGES, zeros))
  one_image = tuple(a[1:2] for a in activations)
  np.testing.assert_allclose(
    linen.masked(IMAGES, zeros, one_image)[0], linen(IMAGES)[1], rtol=1e-5
  )


def test_masks_broadcast_over_the_batch(linen):
  masks = tuple(
    jax.random.bernoulli(jax.random.key(i), 0.5, (1, *m.shape[1:]))
    for i, m in enumerate(_ones(linen))
  )
  tiled = tuple(np.repeat(m, 4, axis=0) for m in masks)
  np.testing.assert_array_equal(
    linen.masked(IMAGES, masks), linen.masked(IMAGES, tiled)
  )


def test_under_jit_grad_and_vmap(target):
  """A batch of 4 equals 4 batches of 1, in values and gradients."""
  masks = tuple(0.5 * m for m in _ones(target, dtype=jnp.float32))

  @jax.jit
  @functools.partial(jax.value_and_grad, argnums=(1, 2), has_aux=True)
  def slopes(target, images, masks):
    logits = target.masked(images, masks)
    return (logits**2).sum(), logits

  (_, logits), grads = slopes(target, IMAGES, masks)
  one = jax.tree.map(lambda a: a[:, None], (IMAGES, masks))
  (_, each), singly = jax.vmap(slopes, (None, 0, 0))(target, *one)
  np.testing.assert_allclose(each[:, 0], logits, rtol=1e-4, atol=1e-6)
  for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(singly)):
    np.testing.assert_allclose(b[:, 0], a, rtol=1e-3, atol=1e-5)
  assert max(np.abs(g).max() for g in jax.tree.leaves(grads)) > 0.01


def test_pmap_on_four_devices_equals_one(target):
  masks = _ones(target)
  sharded = jax.tree.map(lambda a: a[:, None], (IMAGES, masks))

  @functools.partial(jax.pmap, in_axes=(None, 0), axis_name='batch')
  def step(target, batch):
    images, masks = batch
    logits, activations = target.record(images)
    return logits, activations, target.masked(images, masks)

  assert jax.local_device_count() == 4
  logits, activations, masked = step(target, sharded)
  own, expected = target.record(IMAGES)
  np.testing.assert_allclose(logits, masked, rtol=1e-5, atol=1e-6)
  # One image a device: a product of one row rounds differently.
  np.testing.assert_allclose(logits[:, 0], own, rtol=1e-4, atol=1e-6)
  for a, b in zip(activations, expected):
    np.testing.assert_allclose(a[:, 0], b, rtol=1e-4, atol=1e-5)
  # The trace made inside pmap, of one image, must not serve outside of it.
  np.testing.assert_array_equal(
    jax.jit(lambda t, x: t.record(x)[0])(target, IMAGES[:1]),
    jax.jit(lambda t, x: t(x))(target, IMAGES[:1]),
  )
  logits, _, _ = step(target, jax.tree.map(lambda a: a[:2], sharded))
  np.testing.assert_allclose(logits[:, 0], own[:2], rtol=1e-4, atol=1e-6)


def test_a_target_is_an_argument_not_a_constant(linen):
  """A second target with other weights reuses the compiled program."""
  traces = []

  @jax.jit
  def record(target, images):
    traces.append(1)
    return target.record(images)[0]

  other = linen.replace(
    variables=jax.tree.map(lambda v: v * 2, linen.variables)
  )
  # A bound method is made anew on every access and is still the same.
  again = Target(linen.apply_fn.__self__.apply, linen.variables)
  results = [record(t, IMAGES) for t in (linen, other, again)]
  assert len(traces) == 1
  np.testing.assert_array_equal(results[0], results[2])
  assert not np.allclose(results[0], results[1])


def test_only_chosen_relus_count(linen):
  shapes = linen.activation_shapes((6, 6, 3))
  assert shapes == ((6, 6, 4), (3, 3, 5), (7,))
  some = linen.replace(relus=(2, 0))
  assert some.activation_shapes((6, 6, 3)) == (shapes[0], shapes[2])
  _, activations = linen.record(IMAGES)
  _, chosen = some.record(IMAGES)
  np.testing.assert_array_equal(chosen[1], activations[2])
  masks = (jnp.ones((4, *shapes[0])), jnp.zeros((4, 7)))
  zeroed = linen.masked(IMAGES, (masks[0], jnp.ones((4, *shapes[1])), masks[1]))
  np.testing.assert_array_equal(some.masked(IMAGES, masks), zeroed)
  for wrong in ((3,), (-1,), ()):
    with pytest.raises(TargetError, match='has 3 ReLUs; choose indices from 0'):
      linen.replace(relus=wrong).record(IMAGES)


@pytest.mark.parametrize('shape', [32, (1, 6, 6, 3), (6, 6)])
def test_a_shape_that_is_not_of_one_image(linen, shape):
  with pytest.raises(TargetError, match=r'image_shape=.*\(h, w, channels\)'):
    linen.describe(shape)


@pytest.mark.parametrize(
  'mean, std, message',
  [
    (0.5, 0.5, 'mean=0.5: give one finite number a channel'),
    ((0.5,) * 3, (0.2, 0.0, 0.2), 'std=.*above 0 for each of the 3'),
    ((0.5,) * 3, (0.2, 0.2), 'std=.*above 0 for each of the 3'),
    ((0.5, np.nan), (0.2, 0.2), 'mean=.*finite'),
  ],
)
def test_a_normalisation_that_will_not_do(mean, std, message):
  with pytest.raises(ValueError, match=message):
    Preprocess(mean, std)


# Which activations.


class _Mixed(nn.Module):
  @nn.compact
  def __call__(self, x):
    x = nn.relu(nn.Conv(4, (3, 3))(x))
    x = nn.relu6(nn.gelu(nn.Conv(5, (3, 3), strides=2)(x)))
    return nn.Dense(3)(jnp.tanh(nn.relu6(nn.gelu(x.mean((1, 2))))))


@pytest.fixture(scope='module')
def mixed():
  variables = jax.jit(_Mixed().init)(jax.random.key(3), IMAGES)
  return Target(_Mixed().apply, variables, tap=('gelu', 'relu'))


def test_other_activations_are_neurons_where_named(mixed):
  assert mixed.activation_shapes((6, 6, 3)) == ((6, 6, 4), (3, 3, 5), (5,))
  run = jax.jit(lambda t, x, m: (t(x), t.record(x), t.masked(x, m)))
  ones = _ones(mixed)
  own, (logits, (_, gelu, dense)), masked = run(mixed, IMAGES, ones)
  for found in logits, masked:
    np.testing.assert_allclose(found, own, atol=1e-6)
  assert gelu.min() < 0  # Unlike a ReLU's.
  np.testing.assert_allclose(
    dense, nn.gelu(jnp.minimum(jnp.maximum(gelu, 0), 6).mean((1, 2))), atol=1e-6
  )
  zeros = [m & False for m in ones]
  bias = mixed.variables['params']['Dense_0']['bias']
  np.testing.assert_array_equal(
    run(mixed, IMAGES, zeros)[2], np.tile(bias, (4, 1))
  )
  # Another tap is another program, and the default is ReLUs.
  relus = mixed.replace(tap=('relu',))
  assert relus.tap == Target(mixed.apply_fn, mixed.variables).tap
  assert relus.activation_shapes((6, 6, 3)) == ((6, 6, 4),)


def test_a_description_lists_what_counts_and_what_does_not(mixed):
  assert mixed.describe((6, 6, 3)).split('\n') == [
    'index  kind  shape      neurons',
    '    0  relu  6 x 6 x 4      144',
    '    1  gelu  3 x 3 x 5       45',
    '    2  gelu  5                5',
    'total                       194',
    'not tapped: relu6 x 2, tanh x 1 (not ReLUs; name them in tap=)',
  ]
  some = mixed.replace(relus=(2, 1), tap=('gelu', 'relu6', 'relu', 'tanh'))
  assert some.describe((40, 60, 3)).split('\n') == [
    'index  kind   shape        neurons',
    '    1  gelu   20 x 30 x 5    3,000',
    '    2  relu6  20 x 30 x 5    3,000',
    'total                        6,000',
    'left out by relus=: 0, 3, 4, 5',
  ]
  images = IMAGES.astype(jnp.uint8)
  given = mixed.replace(preprocess=Preprocess((0.5,) * 3, (0.2,) * 3))
  assert given.describe((6, 6, 3)) == mixed.describe((6, 6, 3))
  assert len(given.record(images)[1]) == 3
  with pytest.raises(TargetError, match='has 3 tapped activations; choose ind'):
    mixed.replace(relus=(3,)).describe((6, 6, 3))


@pytest.mark.parametrize('tap', ['gelu', ['relu'], (), None, ('relu', 3)])
def test_a_tap_is_a_tuple_of_names(linen, tap):
  with pytest.raises(TargetError, match=r"tap=.*: name .* tap=\('relu', 'gelu"):
    linen.replace(tap=tap)


# What does not fit.


@pytest.mark.parametrize(
  'change, message',
  [
    (lambda m: m[:2], 'masks holds 2 arrays; the target has 3 activations'),
    (lambda m: (*m, m[0]), 'masks holds 4 arrays'),
    (lambda m: (m[1], m[1], m[2]), r'masks\[0\] has shape \(4, 3, 3, 5\).*'),
    (lambda m: (m[0], m[1], m[2][:2]), r'masks\[2\] has shape \(2, 7\)'),
    (lambda m: (m[0][None], *m[1:]), r'masks\[0\] has shape \(1, 4, 6, 6, 4\)'),
    (
      lambda m: (m[0], m[1], m[0]),
      r'masks\[2\].*of 4 images has shape \(4, 7\)',
    ),
  ],
)
def test_masks_that_do_not_fit(linen, change, message):
  masks = change(_ones(linen))
  with pytest.raises(TargetError, match=message):
    linen.masked(IMAGES, masks)
  with pytest.raises(TargetError, match=message.replace('masks', 'off')):
    linen.masked(IMAGES, _ones(linen), masks)


@pytest.mark.parametrize('call', ['__call__', 'record'])
def test_a_target_that_mutates_state_is_refused(call):
  module = nn.BatchNorm(use_running_average=False)
  variables = module.init(jax.random.key(0), IMAGES)
  target = Target(
    lambda v, x: module.apply(v, nn.relu(x), mutable=['batch_stats']), variables
  )
  with pytest.raises(TargetError, match='without `mutable=`'):
    getattr(target, call)(IMAGES)


# Images.


def test_preprocess_takes_uint8_and_floats_alike():
  preprocess = Preprocess((0.5, 0.4, 0.3), (0.2, 0.1, 0.25))
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (2, 4, 4, 3)).astype(np.uint8)
  expected = (images / 255.0 - preprocess.mean) / preprocess.std
  for given in (images, images / 255.0, jnp.float32(images / 255.0)):
    out = preprocess(given)
    assert out.dtype == jnp.float32
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
  with pytest.raises(TargetError, match='images are int32: pass uint8'):
    preprocess(images.astype(np.int32))
  with pytest.raises(TargetError, match=r'1 channels; the mean.*has 3'):
    preprocess(images[..., :1])


def test_a_target_with_preprocess_takes_uint8(linen):
  images = (IMAGES * 255).astype(jnp.uint8)
  normalise = Preprocess((0.5,) * 3, (0.25,) * 3)
  target = linen.replace(preprocess=normalise)
  np.testing.assert_array_equal(target(images), linen(normalise(images)))
  np.testing.assert_array_equal(target.record(images)[0], target(images))
  assert target.activation_shapes((6, 6, 3)) == linen.activation_shapes(
    (6, 6, 3)
  )
  assert target.num_classes((6, 6, 3)) == 3


@pytest.mark.parametrize(
  'images, message',
  [
    (IMAGES[0], r'got shape \(6, 6, 3\).*image\[None\]'),
    ((IMAGES * 255).astype(jnp.uint8), 'images are uint8.*preprocess=Preproc'),
    ((IMAGES * 255).astype(jnp.int32), 'images are int32'),
  ],
)
def test_images_that_do_not_fit(linen, images, message):
  for call in (linen, linen.record, lambda x: linen.masked(x, ())):
    with pytest.raises(TargetError, match=f'(?s){message}'):
      call(images)


def test_fields_that_are_lists_or_arrays_pass_through_jit():
  preprocess = Preprocess(np.array([0.1, 0.2, 0.3]), [1, 1, 1])
  assert preprocess == Preprocess((0.1, 0.2, 0.3), (1.0, 1.0, 1.0))
  for wrong in (1, '02', (0.9, 1.9), (True, False)):
    with pytest.raises(TargetError, match=r'relus=.*: give indices in a tuple'):
      Target(lambda v, x: x, (), relus=wrong)
  assert Target(lambda v, x: x, (), relus=[0, 2]).relus == (0, 2)

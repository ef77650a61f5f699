"""The nn.scan block held to a loop over maps that really shrink or grow."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import test_util

from gencnp_jax.model import kernels, normalisation
from gencnp_jax.model.recursive import RecursiveBlock
from tests.reference import recursive as reference

CHANNELS = 3

# size, smallest, kernel: both targets' passes (15, 7, 3, 1 and one padded),
# then maps that are not square, sides that stay, even and wide kernels.
TARGETS = [((s, s), (2, 2), (3, 3)) for s in (32, 16, 8, 4, 2)]
SHAPES = [
  ((8, 5), (2, 2), (3, 2)),
  ((6, 2), (2, 2), (3, 3)),
  ((2, 7), (2, 1), (2, 3)),
  ((9, 5), (1, 1), (5, 3)),
  ((3, 4), (3, 4), (5, 1)),
]


def _name(case):
  (h, w), (a, b), (k, m) = case
  return f'{h}x{w}-{a}x{b}-k{k}x{m}'


def _setup(case, decode, batch=4, **options):
  """Returns (block, random variables, input, upstream gradient)."""
  size, smallest, kernel = case
  block = RecursiveBlock(kernel, smallest, size, decode, **options)
  start, end = (smallest, size) if decode else (size, smallest)
  rng = np.random.default_rng(sum(size))

  def normal(*shape, scale=1.0, mean=0.0):
    return jnp.asarray(rng.normal(mean, scale, shape), jnp.float32)

  def uniform(*shape):
    return jnp.asarray(rng.uniform(0.5, 1.5, shape), jnp.float32)

  passes = kernels.num_passes(size, smallest, kernel), CHANNELS
  fan_in = kernel[0] * kernel[1] * CHANNELS
  variables = {
    'params': {
      'kernel': normal(*kernel, CHANNELS, CHANNELS, scale=(2 / fan_in) ** 0.5),
      'scale': uniform(*passes),
      'bias': normal(*passes, scale=0.3),
    },
    'batch_stats': {
      'mean': normal(*passes, scale=0.1),
      'var': uniform(*passes),
    },
  }
  x = normal(batch, *start, CHANNELS, mean=0.5)
  out = normal(batch, *end, CHANNELS)
  return block, variables, x, out


# Straight-line code of many passes: LLVM's optimiser is most of the time.
_jit = functools.partial(
  jax.jit, compiler_options={'xla_backend_optimization_level': 0}
)


def _apply(block, variables, x):
  return block.apply(variables, x, train=True, mutable=['batch_stats'])


@functools.partial(_jit, static_argnums=0)
def _run(apply, variables, x, upstream):
  """Returns (output, new statistics, gradients) of <upstream, output>."""

  def product(params, x):
    y, new = apply({**variables, 'params': params}, x)
    return (y * upstream).sum(), (y, new)

  grads, (y, new) = jax.grad(product, (0, 1), has_aux=True)(
    variables['params'], x
  )
  return y, new, grads


def _both(*cases):
  return [(*case, decode) for case in cases for decode in (False, True)]


@pytest.mark.parametrize(
  'case, canvases, decode',
  [
    (TARGETS[0], 3, False),
    (TARGETS[1], 2, True),
    *_both((TARGETS[2], None), (TARGETS[2], 1), (TARGETS[3], None)),
    *_both((TARGETS[4], 99), (SHAPES[0], 1)),
    *_both(*((case, None) for case in SHAPES[1:])),
  ],
  ids=str,
)
def test_training_mode_equals_the_loop(case, canvases, decode):
  """Values and running statistics against float64, gradients against JAX."""
  block, variables, x, upstream = _setup(case, decode, canvases=canvases)
  size, smallest, _ = case
  stats = variables['batch_stats']

  def unrolled(variables, x):
    params = variables['params']
    return reference.unrolled(
      params, stats, x, size, smallest, decode, train=True
    ), {}

  y, new, grads = _run(functools.partial(_apply, block), variables, x, upstream)
  expected, (mean, var) = reference.block(
    x, variables['params'], stats, size, smallest, decode, train=True
  )
  np.testing.assert_allclose(y, expected, rtol=1e-3, atol=1e-3)
  new = new['batch_stats']
  np.testing.assert_allclose(new['mean'], mean, rtol=1e-4, atol=1e-4)
  np.testing.assert_allclose(new['var'], var, rtol=1e-4, atol=1e-4)
  _, _, slopes = _run(unrolled, variables, x, upstream)
  for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(slopes), strict=True):
    scale = np.abs(b).max()
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3 * scale)
    assert scale > 0


@pytest.mark.parametrize(
  'case, canvases, decode',
  [
    (TARGETS[0], 3, True),
    (TARGETS[1], 1, False),
    *_both((TARGETS[2], None), (TARGETS[4], 1), (SHAPES[1], 1)),
  ],
  ids=str,
)
def test_evaluation_mode_equals_the_loop(case, canvases, decode):
  block, variables, x, _ = _setup(case, decode, canvases=canvases)
  y, new = _jit(functools.partial(block.apply, mutable=['batch_stats']))(
    variables, x
  )
  expected, _ = reference.block(
    x, variables['params'], variables['batch_stats'],
    case[0], case[1], decode, train=False,
  )  # fmt: skip
  np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-4)
  # An embedder ends in a ReLU, a decoder's scores are signed.
  assert (np.asarray(y).min() >= 0) == (not decode)
  jax.tree.map(
    np.testing.assert_array_equal, new['batch_stats'], variables['batch_stats']
  )


@pytest.mark.parametrize('decode', [False, True], ids=['embed', 'decode'])
def test_canvases_share_one_set_of_parameters(decode):
  shapes = set()
  for canvases in (None, 1, 2, 3):
    block, _, x, _ = _setup(TARGETS[1], decode, canvases=canvases)
    tree = jax.eval_shape(block.init, jax.random.key(0), x)
    shapes.add(str(jax.tree.map(lambda a: a.shape, tree)))
  assert len(shapes) == 1


def test_parameters_are_shared_over_passes_and_norms_are_not():
  block = RecursiveBlock((3, 3), (2, 2), (8, 8))
  variables = jax.jit(block.init)(jax.random.key(0), jnp.ones((1, 8, 8, 5)))
  shapes = jax.tree.map(lambda a: a.shape, variables)
  assert shapes['params']['kernel'] == (3, 3, 5, 5)
  assert shapes['params']['scale'] == shapes['params']['bias'] == (3, 5)
  assert shapes['batch_stats']['mean'] == shapes['batch_stats']['var'] == (3, 5)
  assert all(a.dtype == jnp.float32 for a in jax.tree.leaves(variables))


@pytest.mark.parametrize('decode', [False, True], ids=['embed', 'decode'])
def test_nn_scan_runs_the_passes(decode):
  def scans(canvases):
    block, variables, x, _ = _setup(TARGETS[1], decode, canvases=canvases)
    return [
      eqn.params['length']
      for eqn in jax.make_jaxpr(block.apply)(variables, x).eqns
      if eqn.primitive.name == 'scan'
    ]

  # The decoder's last pass has no ReLU and runs by itself.
  assert scans(1) == [7 - decode]
  assert len(scans(2)) == 2 and sum(scans(2)) == 7 - decode
  assert scans(None) == []  # On CPU every pass has a canvas of its own.


def test_three_canvases_waste_two_fifths():
  """32 -> 2, k 3: convolved positions against those of a shrinking loop."""
  sizes = [(32 - 2 * t,) * 2 for t in range(16)]
  block = RecursiveBlock((3, 3), (2, 2), (32, 32), canvases=3)
  segments = block._segments(sizes)
  assert len(segments) == 3
  assert [t for a, b in segments for t in range(a, b)] == list(range(15))
  done = sum((b - a) * (sizes[a][0] - 2) ** 2 for a, b in segments)
  needed = sum(side**2 for side, _ in sizes[1:])
  assert done < 1.41 * needed


def test_one_image_does_not_touch_another_in_evaluation():
  block, variables, x, _ = _setup(TARGETS[2], True, canvases=2)
  apply = _jit(block.apply)
  changed = apply(variables, x.at[0].set(99.0))
  np.testing.assert_array_equal(changed[1:], apply(variables, x)[1:])


@pytest.mark.parametrize('decode', [False, True], ids=['embed', 'decode'])
def test_gradients_of_evaluation_mode_by_differences(decode):
  with jax.enable_x64(True):
    block, variables, x, _ = _setup(
      ((6, 4), (2, 2), (3, 2)), decode, batch=1, canvases=1, dtype=jnp.float64
    )
    variables, x = jax.tree.map(
      lambda a: jnp.asarray(a, jnp.float64), (variables, x)
    )

    @jax.jit
    def apply(params, x):
      return block.apply({**variables, 'params': params}, x)

    test_util.check_grads(
      apply, (variables['params'], x), order=1, modes=['rev'], eps=1e-6
    )


@pytest.mark.parametrize('decode', [False, True], ids=['embed', 'decode'])
def test_bfloat16_computes_near_float32(decode):
  results = []
  for dtype in (jnp.float32, jnp.bfloat16):
    block, variables, x, upstream = _setup(
      ((6, 4), (2, 2), (3, 2)), decode, batch=64, canvases=1, dtype=dtype
    )
    y, new, grads = _run(
      functools.partial(_apply, block), variables, x, upstream
    )
    assert y.dtype == dtype
    assert {a.dtype for a in jax.tree.leaves((new, grads))} == {x.dtype}
    results.append((y, new, grads))
  for a, b in zip(*map(jax.tree.leaves, results)):
    # In norm: a ReLU that rounding switches moves single gradients further.
    off = np.linalg.norm(np.float32(a) - np.float32(b))
    assert off < 0.1 * np.linalg.norm(np.float32(a))


def test_bfloat16_survives_a_mean_far_above_the_spread():
  """x of mean 20 and spread 1: normalised in float32, not in bfloat16."""
  x = jax.random.normal(jax.random.key(0), (64, 4, 4, 2)) + 20
  x = x.astype(jnp.bfloat16)
  ones, zeros = jnp.ones(2), jnp.zeros(2)
  y, _ = normalisation.batch_norm(x, ones, zeros, zeros, ones, None, True, None)
  exact = np.float64(x)
  exact = (exact - exact.mean((0, 1, 2))) / exact.std((0, 1, 2))
  assert y.dtype == jnp.bfloat16
  np.testing.assert_allclose(np.float64(y), exact, atol=0.012)


@pytest.mark.parametrize('kind', ['embed', 'decode', 'dense'])
def test_four_devices_equal_one_big_batch(kind):
  """Outputs, running statistics and gradients, with synchronised BatchNorm."""
  assert jax.local_device_count() == 4
  if kind == 'dense':
    make = functools.partial(normalisation.DenseBlock, relu=True)
    x = jax.random.normal(jax.random.key(0), (8, CHANNELS)) + 0.5
    variables = jax.jit(make().init)(jax.random.key(1), x)
    upstream = jax.random.normal(jax.random.key(2), x.shape)
  else:
    case, decode = ((6, 4), (2, 2), (3, 2)), kind == 'decode'
    _, variables, x, upstream = _setup(case, decode, batch=8)
    make = functools.partial(
      RecursiveBlock, case[2], case[1], case[0], decode, canvases=1
    )

  def step(axis_name, variables, batch):
    x, upstream = batch
    block = make(axis_name=axis_name)

    def loss(params):
      y, new = block.apply(
        {**variables, 'params': params}, x, train=True, mutable=['batch_stats']
      )
      return (y * upstream).sum(), (y, new)

    (_, (y, new)), grads = jax.value_and_grad(loss, has_aux=True)(
      variables['params']
    )
    if axis_name is not None:
      grads = jax.lax.psum(grads, axis_name)
    return y, new, grads

  y, new, grads = _jit(functools.partial(step, None))(variables, (x, upstream))
  shards = jax.tree.map(lambda a: a.reshape(4, 2, *a.shape[1:]), (x, upstream))
  ys, news, gradients = jax.pmap(
    functools.partial(step, 'batch'), axis_name='batch', in_axes=(None, 0)
  )(variables, shards)
  np.testing.assert_allclose(ys.reshape(y.shape), y, rtol=1e-3, atol=1e-4)
  for a, b in zip(
    jax.tree.leaves((news, gradients)), jax.tree.leaves((new, grads))
  ):
    for replica in a:
      np.testing.assert_array_equal(replica, a[0])
    np.testing.assert_allclose(
      a[0], b, rtol=1e-3, atol=1e-4 * max(1, np.abs(b).max())
    )


def test_running_statistics_keep_nine_tenths():
  block = normalisation.DenseBlock(relu=False)
  x = jax.random.normal(jax.random.key(0), (16, 2)) + 3
  variables = block.init(jax.random.key(1), x)
  kernel = variables['params']['Dense_0']['kernel']
  _, new = block.apply(variables, x, train=True, mutable=['batch_stats'])
  z = np.asarray(x @ kernel)
  np.testing.assert_allclose(
    new['batch_stats']['mean'], 0.1 * z.mean(0), rtol=1e-4
  )
  np.testing.assert_allclose(
    new['batch_stats']['var'], 0.9 + 0.1 * z.var(0), rtol=1e-4
  )


def test_dense_block_is_product_norm_and_relu():
  x = jax.random.normal(jax.random.key(0), (16, 4))
  signed = normalisation.DenseBlock(relu=False)
  variables = signed.init(jax.random.key(1), x)
  y, _ = signed.apply(variables, x, train=True, mutable=['batch_stats'])
  z = np.asarray(x @ variables['params']['Dense_0']['kernel'])
  expected = (z - z.mean(0)) / np.sqrt(z.var(0) + 1e-5)
  np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
  embedder = normalisation.DenseBlock(relu=True)
  positive, _ = embedder.apply(
    variables, x, train=True, mutable=['batch_stats']
  )
  np.testing.assert_array_equal(positive, np.maximum(y, 0))

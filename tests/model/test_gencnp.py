"""GEN-CNP as a whole: shapes, masks, gradients, options, devices."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gencnp_jax.model import GenCNP
from gencnp_jax.model.daq import daq
from gencnp_jax.model.pdn import PDN
from tests.model import tiny
from tests.reference import daq as daq_reference
from tests.reference import gencnp as gencnp_reference
from tests.reference import recursive as reference

ALEXNET = ((8, 8, 64), (4, 4, 192), (2, 2, 384), (2, 2, 256), (2, 2, 256))
VGG11 = (
  (32, 32, 64), (16, 16, 128), (8, 8, 256), (8, 8, 256),
  (4, 4, 512), (4, 4, 512), (2, 2, 512), (2, 2, 512),
)  # fmt: skip
SHAPES = ((6, 6, 2), (4, 4, 3), (2, 2, 2), (5,))  # Traced alone.


@pytest.mark.parametrize(
  'shapes, neurons, embedding',
  [(ALEXNET, 10_752, 4608), (VGG11, 151_552, 11_008)],
  ids=['alexnet', 'vgg11'],
)
def test_shapes_with_both_targets(shapes, neurons, embedding):
  """The counts of the paper's targets; traced, not run."""
  activations = tuple(
    jax.ShapeDtypeStruct((3, *s), jnp.float32) for s in shapes
  )
  generated, variables = jax.eval_shape(
    GenCNP(canvases=1).init_with_output, jax.random.key(0), activations
  )
  for arrays in (generated.masks, generated.scores):
    assert [a.shape for a in arrays] == [(3, *s) for s in shapes]
    assert all(a.dtype == jnp.float32 for a in arrays)
  assert [a.shape for a in generated.importance] == [
    (3, 2, 2, s[-1]) for s in shapes
  ]
  assert sum(math.prod(s) for s in shapes) == neurons
  params = variables['params']
  assert tiny.shapes(params['pdn']['Dense_0']['kernel']) == (embedding, 1024)
  assert tiny.shapes(params['pdn']['Dense_1']['kernel']) == (1024, embedding)
  for i, (side, _, channels) in enumerate(shapes):
    passes = max(1, (side - 2) // 2)
    for name in (f'rfe_{i}', f'rpd_{i}'):
      assert params[name]['kernel'].shape == (3, 3, channels, channels)
      assert params[name]['scale'].shape == (passes, channels)


@pytest.mark.parametrize('dtype', [jnp.float32, jnp.bfloat16])
def test_masks_are_exactly_zero_or_one(dtype):
  generated, new, grads = tiny.stepped(dtype=dtype)
  module, variables = tiny.init(dtype=dtype)
  evaluated = jax.jit(module.apply)({**variables, **new}, tiny.activations())
  for masks, scores in (
    (generated.masks, generated.scores),
    (evaluated.masks, evaluated.scores),
  ):
    for mask, score in zip(masks, scores):
      assert mask.dtype == score.dtype == jnp.float32
      # l = -u, so a neuron is on where its score is positive.
      np.testing.assert_array_equal(mask, score > 0)
  assert all(a.dtype == jnp.float32 for a in jax.tree.leaves((new, grads)))


@pytest.mark.parametrize(
  'options', [{}, {'learn_bounds': True}, {'skip': True}], ids=str
)
def test_gradient_reaches_every_parameter(options):
  _, _, grads = tiny.stepped(**options)
  for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
    name = jax.tree_util.keystr(path)
    assert jnp.isfinite(leaf).all(), name
    assert jnp.abs(leaf).max() > 0, name
  assert ('bounds_0' in grads) == ('learn_bounds' in options)


def test_every_layer_reads_every_layer():
  """The PDN mixes: a change in the last activation moves the first mask."""
  module, variables = tiny.init()
  apply = jax.jit(module.apply)
  activations = tiny.activations()
  changed = (*activations[:-1], activations[-1] + 1)
  for a, b in zip(
    apply(variables, activations).importance,
    apply(variables, changed).importance,
  ):
    assert not np.allclose(a, b)


def test_without_the_class_that_it_reads():
  module = GenCNP(hidden=4, class_input=True)
  activations = (jnp.ones((2, 4, 4, 3)),)
  with pytest.raises(ValueError, match='pass classes=, one-hot'):
    module.init(jax.random.key(0), activations)


def test_the_class_is_read_by_the_pdn_alone():
  activations = (jnp.ones((2, 4, 4, 3)), jnp.ones((2, 2, 2, 5)))
  classes = jnp.eye(7)[:2]
  shapes = {}
  for class_input in (False, True):
    module = GenCNP(hidden=4, class_input=class_input)
    init = lambda module=module: module.init(  # noqa: E731
      jax.random.key(0), activations, classes=classes
    )
    tree = jax.eval_shape(init)['params']
    shapes[class_input] = jax.tree.map(lambda x: x.shape, tree)
  assert shapes[True]['pdn'].pop('Dense_0')['kernel'] == (4 * 8 + 7, 4)
  assert shapes[False]['pdn'].pop('Dense_0')['kernel'] == (4 * 8, 4)
  assert shapes[True] == shapes[False]


def test_evaluation_equals_its_parts_by_hand():
  """RFE, PDN, RPD and DAQ in NumPy (paper, section 3.1)."""
  shapes = SHAPES[:3]
  module, variables = tiny.init(shapes)
  params, stats = variables['params'], variables['batch_stats']
  activations = tiny.activations(shapes)

  def block(kind, i, x):
    return reference.block(
      x, params[f'{kind}_{i}'], stats[f'{kind}_{i}'],
      shapes[i][:2], (2, 2), kind == 'rpd', train=False,
    )[0]  # fmt: skip

  rows = [block('rfe', i, a).reshape(4, -1) for i, a in enumerate(activations)]
  x = np.concatenate(rows, axis=1)
  x = gencnp_reference.pdn(params['pdn'], x)
  cuts = np.cumsum([row.shape[1] for row in rows])[:-1]
  generated = jax.jit(module.apply)(variables, activations)
  for i, part in enumerate(np.split(x, cuts, axis=1)):
    importance = part.reshape(4, 2, 2, -1)
    np.testing.assert_allclose(
      generated.importance[i], importance, rtol=1e-4, atol=1e-5
    )
    scores = block('rpd', i, importance)
    np.testing.assert_allclose(
      generated.scores[i], scores, rtol=1e-4, atol=1e-5
    )
    clear = np.abs(scores) > 1e-4
    masks = daq_reference.quantise(scores, -1.5, 1.5, bits=1)
    np.testing.assert_array_equal(generated.masks[i][clear], masks[clear])


def test_one_image_does_not_touch_another_in_evaluation():
  module, variables = tiny.init(layer_floor=0.2)
  apply = jax.jit(module.apply)
  activations = tiny.activations()
  changed = tuple(a.at[0].set(7.0) for a in activations)
  turned = tuple(a[::-1] for a in activations)
  own = apply(variables, activations)
  for a, b in zip(
    jax.tree.leaves(own), jax.tree.leaves(apply(variables, changed))
  ):
    np.testing.assert_array_equal(a[1:], b[1:])
  for a, b in zip(own.masks, apply(variables, turned).masks):
    np.testing.assert_array_equal(a, b[::-1])


def test_a_skip_adds_the_neurons_own_activation_and_its_product_with_d():
  module, variables = tiny.init(skip=True)
  activations = tiny.activations()
  # Statistics and scales that are not those of the start.
  rng = np.random.default_rng(5)
  variables = jax.tree.map(
    lambda x: x + rng.uniform(0.1, 0.5, x.shape).astype(np.float32), variables
  )
  found = jax.jit(module.apply)(variables, activations)
  plain = jax.jit(module.clone(skip=False).apply)(variables, activations)
  params, stats = variables['params'], variables['batch_stats']
  for i, (scores, d, a) in enumerate(
    zip(found.scores, plain.scores, activations)
  ):
    expected = np.asarray(d, np.float64)
    for name, x in ('skip', a), ('product', a * d):
      norm, running = jax.device_get(
        (params[f'{name}_{i}'], stats[f'{name}_{i}'])
      )
      spread = np.sqrt(running['var'] + 1e-5)
      normal = (np.asarray(x, np.float64) - running['mean']) / spread
      expected += normal * norm['scale'] + norm['bias']
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)


# Layer floor.


@pytest.mark.parametrize('floor', [0.005, 0.3])
def test_layer_floor_adds_the_top_of_each_layer(floor):
  without, _, slopes = tiny.stepped()
  floored, _, grads = tiny.stepped(layer_floor=floor)
  for mask, plain, scores in zip(floored.masks, without.masks, floored.scores):
    assert set(np.unique(mask)) <= {0.0, 1.0}
    n = mask[0].size
    least = math.ceil(round(floor * n, 6))
    for m, p, s in zip(mask, plain, scores):
      top = np.argsort(np.asarray(s).ravel())[n - least :]
      expected = np.asarray(p).ravel().copy()
      expected[top] = 1
      np.testing.assert_array_equal(np.asarray(m).ravel(), expected)
      assert m.sum() == max(p.sum(), least)
  # The gradient is DAQ's, as if there were no floor.
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    grads,
    slopes,
  )


@pytest.mark.parametrize(
  'floor, neurons, count', [(0.07, 100, 7), (0.29, 100, 29), (1e-9, 10, 1)]
)
def test_layer_floor_counts_without_rounding_up_twice(floor, neurons, count):
  """.07 * 100 is 7.000000000000001 in floating point."""
  module = GenCNP(hidden=4, layer_floor=floor, lower=8.0, upper=9.0)
  activations = tiny.activations(((neurons,),), batch=2)
  generated, _ = jax.jit(module.init_with_output)(
    jax.random.key(0), activations
  )
  (mask,) = generated.masks
  np.testing.assert_array_equal(mask.sum(1), [count, count])


# Cut at a number of neurons.


@pytest.mark.parametrize(
  'options',
  [
    {},
    {'lower': -0.5, 'upper': 2.0},
    {'learn_bounds': True},
    {'layer_floor': 0.1},  # 5, 1 and 1 neuron: more than is kept of row 1.
  ],
  ids=str,
)
def test_kept_neurons_are_the_top_over_all_layers(options):
  """Rows with 0 keep DAQ's own cut; the others keep a number, by the scores."""
  module, variables = tiny.init(**options)
  activations = tiny.activations()
  kept = jnp.array([0, 1, 9, 0])
  apply = jax.jit(module.apply)
  own = apply(variables, activations)
  cut = apply(variables, activations, kept=kept)
  for name in 'scores', 'importance', 'order':
    jax.tree.map(
      np.testing.assert_array_equal, getattr(own, name), getattr(cut, name)
    )
  rows, plain, order = (
    np.concatenate([np.asarray(m).reshape(4, -1) for m in masks], 1)
    for masks in (cut.masks, own.masks, cut.order)
  )
  for row, count in enumerate(kept):
    if count:
      expected = np.zeros(rows.shape[1])
      expected[np.argsort(order[row])[-count:]] = 1
    else:
      expected = plain[row]
    np.testing.assert_array_equal(rows[row], expected)


def test_kept_neurons_of_soft_masks():
  module, variables = tiny.init(quantiser='sigmoid')
  kept = jnp.array([0, 1, 9, 30])
  apply = jax.jit(module.apply)
  soft = apply(variables, tiny.activations(), kept=kept)
  counts = sum(p.sum((1, 2, 3) if p.ndim == 4 else 1) for p in soft.pathways)
  np.testing.assert_array_equal(counts[1:], kept[1:])
  plain = apply(variables, tiny.activations())
  for mask, own in zip(soft.masks, plain.masks):
    assert mask.min() > 0 and mask.max() < 1
    np.testing.assert_array_equal(mask[0], own[0])


def test_the_slope_of_a_cut_is_daqs_by_the_distance_from_the_cut():
  module, variables = tiny.init(lower=-1.0, upper=2.0)
  activations = tiny.activations()
  kept = jnp.array([0, 3, 9, 30])

  def masks(params, by_hand):
    generated, _ = module.apply(
      {**variables, 'params': params},
      activations,
      train=True,
      kept=None if by_hand else kept,
      mutable=['batch_stats'],
    )
    if not by_hand:
      return generated.masks
    scores = jnp.concatenate(
      [jax.lax.stop_gradient(s).reshape(4, -1) for s in generated.scores], 1
    )
    cuts = -jnp.sort(-scores, axis=1)[np.arange(4), kept]
    cuts = cuts.at[0].set(0.5)  # Its own: the middle of the bounds.
    return [
      daq(s - cuts.reshape(4, *[1] * (s.ndim - 1)) + 0.5, -1.0, 2.0)
      for s in generated.scores
    ]

  def gradient(by_hand):
    spread = jax.grad(lambda params: tiny.spread(masks(params, by_hand)))
    return jax.jit(spread)(variables['params'])

  found = gradient(False)
  assert all(np.any(g) for g in jax.tree.leaves(found))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5),
    found,
    gradient(True),
  )


# Options.


def test_learned_bounds_start_at_the_constants_and_stay_apart():
  module, variables = tiny.init(learn_bounds=True, lower=-1.0, upper=2.0)
  params = variables['params']
  for i in range(len(tiny.SHAPES)):
    np.testing.assert_array_equal(params[f'bounds_{i}'], [-1.0, 2.0])
    assert params[f'bounds_{i}'].dtype == jnp.float32
  # The optimiser may move u below l: the masks and slopes stay finite.
  layers = range(len(tiny.SHAPES))
  crossed = params | {f'bounds_{i}': jnp.array([0.5, -0.5]) for i in layers}
  generated, _, grads = jax.jit(functools.partial(tiny.step, module))(
    {**variables, 'params': crossed}, tiny.activations()
  )
  for mask, score in zip(generated.masks, generated.scores):
    np.testing.assert_array_equal(mask, score > 0.5 + 1e-3 / 2)
  assert all(jnp.isfinite(g).all() for g in jax.tree.leaves(grads))


def test_bounds_must_be_in_order():
  with pytest.raises(
    ValueError, match=r'upper=-1.0: upper must be above lower'
  ):
    jax.eval_shape(
      GenCNP(lower=1.0, upper=-1.0).init, jax.random.key(0), tiny.activations()
    )


def test_fully_connected_activations_alone():
  shapes = ((7,), (3,))
  module, variables = tiny.init(shapes)
  generated = module.apply(variables, tiny.activations(shapes))
  assert [m.shape for m in generated.masks] == [(4, 7), (4, 3)]
  assert [e.shape for e in generated.importance] == [(4, 7), (4, 3)]


@pytest.mark.parametrize(
  'options, kernels, importance',
  [
    ({}, [(3, 3), (3, 3), (3, 3)], (2, 2)),
    ({'kernel_sizes': (5, 0, 1, 0)}, [(5, 5), (3, 3), (1, 1)], (2, 2)),
    ({'kernel_sizes': ((2, 5), 2, 3, 0), 'embedding': (2, 2)}, None, None),
    ({'embedding': (1, 1)}, [(6, 6), (4, 4), (2, 2)], (1, 1)),
    ({'embedding': (2, 1)}, [(5, 6), (3, 4), (3, 2)], (2, 1)),
  ],
)
def test_kernels_and_embedding_may_be_chosen(options, kernels, importance):
  def shapes():
    return jax.eval_shape(
      GenCNP(hidden=4, **options).init_with_output,
      jax.random.key(0),
      tiny.activations(SHAPES),
    )

  if kernels is None:
    message = r'kernel_sizes\[0\]=\(2, 5\): kernel \(2, 5\) needs \[1, 4\]'
    with pytest.raises(ValueError, match=message):
      shapes()
    return
  generated, variables = shapes()
  found = [
    variables['params'][f'rfe_{i}']['kernel'].shape[:2] for i in range(3)
  ]
  assert found == kernels
  assert {e.shape[1:3] for e in generated.importance[:3]} == {importance}
  assert [m.shape[1:] for m in generated.masks] == list(SHAPES)


@pytest.mark.parametrize(
  'options, message',
  [
    ({'kernel_sizes': (3, 3)}, 'kernel_sizes has 2 entries; .* 4 activations'),
    (
      {'kernel_sizes': (0, 4, 0, 0)},
      r'kernel_sizes\[1\]=4: kernel size 4 does not.* Legal: \(2, 3\)',
    ),
    ({'embedding': (4, 4)}, "2x2 is smaller than the embedding h' x w' = 4x4"),
    (
      {'embedding': (4, 4), 'kernel_sizes': (3, 3, 3, 0)},
      "2x2 is smaller than the embedding h' x w' = 4x4",
    ),
  ],
)
def test_options_that_do_not_fit(options, message):
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(
      GenCNP(**options).init, jax.random.key(0), tiny.activations(SHAPES)
    )


def test_activations_of_another_rank():
  with pytest.raises(ValueError, match=r'rank 4 or 2; got ranks \[4, 3\]'):
    jax.eval_shape(
      GenCNP().init,
      jax.random.key(0),
      (jnp.ones((2, 4, 4, 3)), jnp.ones((2, 5, 3))),
    )


@pytest.mark.parametrize('num_fc', [1, 2, 3])
def test_pdn_has_z_layers(num_fc):
  patterns = tiny.activations()
  scores, variables = PDN(8, num_fc).init_with_output(
    jax.random.key(0), patterns
  )
  assert tiny.shapes(scores) == tiny.shapes(patterns)
  assert len(variables['params']) == num_fc
  width = sum(math.prod(s) for s in tiny.SHAPES)
  last = variables['params'][f'Dense_{num_fc - 1}']['kernel'].shape
  assert last == (width if num_fc == 1 else 8, width)


def test_four_devices_equal_one_big_batch():
  """Scores, statistics and averaged gradients of a training step."""
  assert jax.local_device_count() == 4
  module, variables = tiny.init()
  activations = tiny.activations(batch=8)
  one, new, grads = jax.jit(functools.partial(tiny.step, module))(
    variables, activations
  )
  shards = jax.tree.map(lambda a: a.reshape(4, 2, *a.shape[1:]), activations)
  many, news, gradients = jax.pmap(
    functools.partial(
      tiny.step, module.clone(axis_name='batch'), axis_name='batch'
    ),
    axis_name='batch',
    in_axes=(None, 0),
  )(variables, shards)
  for a, b in zip(many.scores, one.scores):
    np.testing.assert_allclose(a.reshape(b.shape), b, rtol=1e-3, atol=1e-4)
  for a, b in zip(
    jax.tree.leaves((news, gradients)), jax.tree.leaves((new, grads))
  ):
    for replica in a:
      np.testing.assert_array_equal(replica, a[0])
    np.testing.assert_allclose(a[0], b, rtol=2e-3, atol=2e-5)

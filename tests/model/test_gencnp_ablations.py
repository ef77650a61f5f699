"""GEN-CNP without a part of it, the forms of the paper's Table 2."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gencnp_jax.model import GenCNP
from tests.model import tiny
from tests.reference import daq as daq_reference
from tests.reference import gencnp as reference
from tests.training.conftest import compile_once  # noqa: F401

LAYERWISE = {'shared_pdn': False}
SIGMOID = {'quantiser': 'sigmoid'}
layer_by_layer = pytest.mark.parametrize(
  'options', [LAYERWISE, tiny.BARE], ids=['layerwise', 'bare']
)


def _trained_a_little(**options):
  """Returns a module, and variables of which none is zero or one."""
  module, variables = tiny.init(**options)
  rng = np.random.default_rng(7)
  # In NumPy, here as below: JAX would compile an operation a shape.
  leaves, tree = jax.tree.flatten(jax.device_get(variables))
  moved = [a + rng.uniform(0.05, 0.3, a.shape).astype(a.dtype) for a in leaves]
  return module, jax.tree.unflatten(tree, moved)


def _close(found, expected):
  np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)


def test_the_default_is_the_full_form():
  """Checkpoints of before the ablations open: the same names and shapes."""
  _, variables = tiny.init()
  shapes = tiny.shapes(variables)
  maps = {
    f'{kind}_{i}': {'kernel': (3, 3, c, c), 'scale': (1, c), 'bias': (1, c)}
    for i, c in enumerate((3, 2))
    for kind in ('rfe', 'rpd')
  }
  flat = {
    name: {'Dense_0': {'kernel': (5, 5)}, 'scale': (5,), 'bias': (5,)}
    for name in ('rfe_2', 'rpd_2')
  }
  width = 2 * 2 * (3 + 2) + 5
  assert shapes['params'] == {
    **maps,
    **flat,
    'pdn': {
      'Dense_0': {'kernel': (width, 16), 'bias': (16,)},
      'Dense_1': {'kernel': (16, width), 'bias': (width,)},
    },
  }
  assert shapes['batch_stats'] == {
    name: {'mean': block['scale'], 'var': block['scale']}
    for name, block in (maps | flat).items()
  }
  full = GenCNP(shared_pdn=True, embedders='recursive', quantiser='daq')
  assert full == GenCNP() and hash(full) == hash(GenCNP())


def test_layerwise_pdns_equal_their_parts_by_hand():
  module, variables = _trained_a_little(**LAYERWISE)
  assert variables['params'].keys() == {
    f'{kind}_{i}' for kind in ('rfe', 'pdn', 'rpd') for i in range(3)
  }
  activations = tiny.activations()
  found = jax.device_get(jax.jit(module.apply)(variables, activations))
  expected = reference.layerwise(variables, activations, (2, 2))
  for i, (importance, scores) in enumerate(expected):
    _close(found.importance[i], importance)
    _close(found.scores[i], scores)
    clear = np.abs(scores) > 1e-3
    masks = daq_reference.quantise(scores, -1.5, 1.5, bits=1)
    np.testing.assert_array_equal(found.masks[i][clear], masks[clear])


def test_no_embedders_equal_pdns_and_batch_norms_by_hand():
  """Dense, ReLU, dense, BatchNorm: in evaluation and in training."""
  module, variables = _trained_a_little(**tiny.BARE)
  neurons = [int(np.prod(shape)) for shape in tiny.SHAPES]
  assert variables['params'].keys() == {
    f'{kind}_{i}' for kind in ('pdn', 'norm') for i in range(3)
  }
  for i, (n, shape) in enumerate(zip(neurons, tiny.SHAPES)):
    pdn = variables['params'][f'pdn_{i}']
    assert pdn['Dense_0']['kernel'].shape[0] == n
    assert pdn['Dense_1']['kernel'].shape[1] == n
    assert variables['params'][f'norm_{i}']['scale'].shape == shape[-1:]
  activations = tiny.activations()
  apply = functools.partial(module.apply, mutable=['batch_stats'])
  evaluated, kept = jax.jit(apply)(variables, activations)
  trained, new = jax.jit(functools.partial(apply, train=True))(
    variables, activations
  )
  jax.tree.map(
    np.testing.assert_array_equal, kept['batch_stats'], variables['batch_stats']
  )
  for found, train in ((evaluated, False), (trained, True)):
    found = jax.device_get(found)
    expected = reference.bare(variables, activations, train)
    for i, (importance, scores, (mean, var)) in enumerate(expected):
      assert found.importance[i].shape == activations[i].shape
      _close(found.importance[i], importance)
      _close(found.scores[i], scores)
      clear = np.abs(scores) > 1e-3
      np.testing.assert_array_equal(found.masks[i][clear], (scores > 0)[clear])
      if train:
        _close(new['batch_stats'][f'norm_{i}']['mean'], mean)
        _close(new['batch_stats'][f'norm_{i}']['var'], var)


@layer_by_layer
def test_a_layer_is_told_nothing_of_the_others(options):
  module, variables = tiny.init(**options)
  apply = jax.jit(module.apply)
  activations = tiny.activations()
  own = jax.device_get(apply(variables, activations))
  for moved in range(len(activations)):
    others = jax.device_get(list(activations))
    others[moved] = others[moved] + 1
    for i, (a, b) in enumerate(
      zip(own.scores, apply(variables, tuple(others)).scores)
    ):
      if i == moved:
        assert np.abs(a - b).max() > 1e-2
      else:
        np.testing.assert_array_equal(a, b)


def test_the_sigmoid_makes_soft_masks_in_training_and_out_of_it():
  options = tiny.BARE | SIGMOID
  module, variables = tiny.init(**options)
  trained, _, _ = tiny.stepped(**options)
  evaluated = jax.jit(module.apply)(variables, tiny.activations())
  for found in jax.device_get((trained, evaluated)):
    for mask, scores, hard in zip(found.masks, found.scores, found.pathways):
      expected = 1 / (1 + np.exp(-np.asarray(scores, np.float64)))
      np.testing.assert_allclose(mask, expected, rtol=1e-5)
      assert mask.dtype == jnp.float32 and hard.dtype == bool
      assert ((mask > 0) & (mask < 1)).all()
      np.testing.assert_array_equal(hard, scores > 0)


def test_only_the_masks_differ_without_daq():
  """The scores of equal variables are those of the full form."""
  module, variables = tiny.init()
  activations = tiny.activations()
  full = jax.jit(module.apply)(variables, activations)
  soft = jax.jit(module.clone(**SIGMOID).apply)(variables, activations)
  for a, b in zip(full.scores, soft.scores):
    np.testing.assert_array_equal(a, b)
  for a, b in zip(full.pathways, soft.pathways):
    np.testing.assert_array_equal(a, b)
  # The bounds are DAQ's: there are none to learn.
  _, learned = tiny.init(learn_bounds=True, **SIGMOID, **tiny.BARE)
  assert not any(name.startswith('bounds') for name in learned['params'])


@pytest.mark.parametrize(
  'options', [tiny.BARE, tiny.BARE | SIGMOID], ids=['daq', 'sigmoid']
)
def test_gradients_reach_every_parameter_without_embedders(options):
  _, variables = tiny.init(**options)
  _, new, grads = jax.device_get(tiny.stepped(**options))
  for path, leaf in jax.tree_util.tree_leaves_with_path(grads):
    name = jax.tree_util.keystr(path)
    assert np.isfinite(leaf).all(), name
    if name == "['pdn_2']['Dense_1']['bias']":
      # A BatchNorm over the batch alone takes away what shifts all of it.
      assert np.abs(leaf).max() < 1e-5
    else:
      assert np.abs(leaf).max() > 1e-5, name
  old = jax.tree.leaves(jax.device_get(variables['batch_stats']))
  for a, b in zip(old, jax.tree.leaves(new['batch_stats']), strict=True):
    assert np.isfinite(b).all() and (a != b).all()


def test_the_batch_norms_see_the_batch_of_all_devices():
  module, variables = tiny.init(**tiny.BARE)
  apply = functools.partial(
    module.clone(axis_name='batch').apply, train=True, mutable=['batch_stats']
  )
  activations = jax.device_get(tiny.activations())
  shards = jax.tree.map(lambda a: a.reshape(2, 2, *a.shape[1:]), activations)
  found, new = jax.jit(jax.vmap(apply, in_axes=(None, 0), axis_name='batch'))(
    variables, shards
  )
  one, expected, _ = tiny.stepped(**tiny.BARE)
  for a, b in zip(found.scores, one.scores):
    _close(a.reshape(b.shape), b)
  for a, b in zip(jax.tree.leaves(new), jax.tree.leaves(expected)):
    _close(a[0], b)


def test_half_precision_leaves_parameters_and_scores_in_single():
  module = GenCNP(hidden=8, dtype=jnp.bfloat16, **tiny.BARE)
  generated, variables = jax.eval_shape(
    module.init_with_output, jax.random.key(0), tiny.activations()
  )
  assert {a.dtype for a in jax.tree.leaves(variables)} == {jnp.dtype('float32')}
  for arrays in (generated.masks, generated.scores):
    assert all(a.dtype == jnp.float32 for a in arrays)
  assert all(a.dtype == jnp.bfloat16 for a in generated.importance)


@pytest.mark.parametrize(
  'options, message',
  [
    ({'embedders': 'cnn'}, "embedders='cnn': choose one of recursive, none"),
    ({'quantiser': 'ste'}, "quantiser='ste': choose one of daq, sigmoid"),
    ({'embedders': 'none'}, "embedders='none' .* shared_pdn=False"),
    (SIGMOID | {'layer_floor': 0.1}, "layer_floor=0.1: quantiser='sigmoid'"),
  ],
)
def test_fields_that_are_unknown_or_do_not_go_together(options, message):
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(
      GenCNP(**options).init, jax.random.key(0), tiny.activations()
    )


def test_no_embedders_ask_for_a_rank_and_not_for_kernels():
  module = GenCNP(hidden=4, kernel_sizes=(9,), embedding=(7, 7), **tiny.BARE)
  generated, _ = jax.eval_shape(
    module.init_with_output, jax.random.key(0), tiny.activations()
  )
  assert [m.shape[1:] for m in generated.masks] == list(tiny.SHAPES)
  with pytest.raises(ValueError, match=r'rank 4 or 2; got ranks \[3\]'):
    jax.eval_shape(module.init, jax.random.key(0), (jnp.ones((2, 5, 3)),))

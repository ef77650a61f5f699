"""The size of a GEN-CNP, before it is made, against one that is made."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gencnp_jax.model import GenCNP, size

TINY = ((8, 8, 4), (4, 4, 8))
ALEXNET = ((8, 8, 64), (4, 4, 192), (2, 2, 384), (2, 2, 256), (2, 2, 256))
# Rectangles, one that is higher than wide, and a fully connected layer.
MIXED = ((12, 8, 4), (6, 4, 8), (6, 2, 3), (5,))


def resnet50():
  """Its 49 activations behind ReLUs at 224x224."""
  shapes = [(112, 112, 64)]
  for blocks, channels, side in (
    (3, 64, 56),
    (4, 128, 28),
    (6, 256, 14),
    (3, 512, 7),
  ):
    block = [(side, side, c) for c in (channels, channels, 4 * channels)]
    shapes += block * blocks
  return shapes


@pytest.mark.parametrize(
  'model, shapes',
  [
    (GenCNP(), ALEXNET),
    (GenCNP(hidden=16, num_fc=3), MIXED),
    (GenCNP(hidden=16, num_fc=1, embedding=(1, 1)), TINY),
    (GenCNP(hidden=16, kernel_sizes=(5, 0)), TINY),
    (GenCNP(hidden=16, shared_pdn=False), MIXED),
    (GenCNP(hidden=8, shared_pdn=False, embedders='none'), TINY),
    (GenCNP(hidden=8), ((7,), (5,))),
    (GenCNP(hidden=8, class_input=True, skip=True), MIXED),
    (GenCNP(hidden=8, num_fc=1, class_input=True, shared_pdn=False), TINY),
  ],
)
def test_parameters_are_those_of_the_module(model, shapes):
  activations = tuple(jnp.zeros((1, *shape)) for shape in shapes)
  told = jnp.zeros((1, 3))
  made = jax.eval_shape(
    lambda: model.init(jax.random.key(0), activations, classes=told)
  )['params']
  count = lambda tree: sum(  # noqa: E731
    int(np.prod(x.shape)) for x in jax.tree.leaves(tree)
  )
  found = size.measure(model, shapes, batch_size=4, classes=3)
  assert found.parameters == count(made)
  pdn = {k: v for k, v in made.items() if k.startswith('pdn')}
  assert found.pdn == count(pdn)
  # Float32: the parameter, its gradient, two moments.
  assert found.state == 16 * count(made)


def test_the_paper_s_pdn_is_quadratic_in_what_it_reads():
  found = size.measure(GenCNP(), resnet50(), batch_size=8)
  assert found.features == 49 * 22_720
  assert found.pdn > 2e9


def test_batches_cost_in_proportion_and_other_optimisers_less():
  one, four = (size.measure(GenCNP(), ALEXNET, n) for n in (1, 4))
  assert four.batch == 4 * one.batch
  assert four.state == one.state
  assert size.measure(GenCNP(), ALEXNET, 1, moments=0).state == one.state // 2


def test_smaller_ones_fit_and_change_as_little_as_possible():
  limit = 2e8
  before = size.measure(GenCNP(), ALEXNET, 128)
  assert before.training > limit
  found = dict(
    (tuple(changes.items()), fits)
    for changes, fits in size.smaller(GenCNP(), ALEXNET, 128, 2, limit)
  )
  assert set(found) == {(('embedding', (1, 1)),), (('hidden', 256),)}
  for fits in found.values():
    assert fits.training <= limit


def test_several_at_once_where_one_is_not_enough():
  small = GenCNP(hidden=256, embedding=(1, 1))
  limit = size.measure(small, TINY, 64).training
  ((changes, fits),) = size.smaller(GenCNP(), TINY, 128, 2, limit)
  assert len(changes) > 1
  assert fits.training <= limit
  fields = {k: v for k, v in changes.items() if k != 'batch_size'}
  batch = changes.get('batch_size', 128)
  assert fits == size.measure(GenCNP(**fields), TINY, batch)


def test_nothing_is_small_enough():
  assert size.smaller(GenCNP(), ALEXNET, 128, 2, 1e6) == []


def test_a_user_s_kernels_that_do_not_reach_a_smaller_embedding_are_no_help():
  model = GenCNP(kernel_sizes=(3, 3))
  found = size.smaller(model, TINY, 128, 2, 3e6)
  assert 'embedding' not in {k for changes, _ in found for k in changes}


def test_what_does_not_fit_is_said_by_the_plan():
  with pytest.raises(ValueError, match=r'kernel_sizes\[0\]=4'):
    size.measure(GenCNP(kernel_sizes=(4, 0)), TINY, 1)
  with pytest.raises(ValueError, match='rank 4 or 2; got ranks'):
    size.measure(GenCNP(), ((5, 3), (4,)), 1)
  with pytest.raises(ValueError, match='smaller embedding'):
    size.measure(GenCNP(embedding=(8, 8)), TINY, 1)


def test_shapes_of_rectangles_choose_a_kernel_a_side():
  plan = GenCNP().plan(MIXED)
  smallest = (6, 2)
  assert plan[3] is None
  assert [how[1] for how in plan[:3]] == [smallest] * 3
  assert plan[0] == ((3, 3), smallest) or plan[0][0] != plan[0][0][::-1]

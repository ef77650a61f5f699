"""GEN-CNP as an explainer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gencnp_jax import load_explainer, load_target, pathway, selection
from gencnp_jax.explainers import Generative, activation_means
from tests import tiny
from tests.reference import explainers as reference
from tests.training.conftest import compile_once  # noqa: F401

IMAGES = tiny.images(5)


@pytest.mark.parametrize('bounds', [(-1.5, 1.5), (-0.5, 0.3)])
def test_masks_are_the_scores_above_the_middle_of_the_bounds(bounds):
  explainer = tiny.generative(lower=bounds[0], upper=bounds[1])
  found = explainer(IMAGES)
  middle = sum(bounds) / 2
  for mask, scores in zip(found.masks, found.importance):
    clear = np.abs(scores - middle) > 1e-5
    np.testing.assert_array_equal(mask[clear], (scores > middle)[clear])
    assert 0 < mask.mean() < 1
  np.testing.assert_array_equal(found.tied, 0.0)


def test_each_image_has_its_own_pathway_and_sparsity():
  found = tiny.generative()(IMAGES)
  assert len(set(found.firing_sparsity.tolist())) > 1
  rows = pathway.pack(found.masks)
  assert len({row.tobytes() for row in rows}) == len(IMAGES)
  assert found.method == 'GEN-CNP'


def test_classes_play_no_part():
  explainer = tiny.generative()
  one, other = explainer(IMAGES), explainer(IMAGES, np.zeros(5, int))
  for a, b in zip(one.masks, other.masks):
    np.testing.assert_array_equal(a, b)


def test_a_pathway_of_a_chosen_class_where_the_class_is_read():
  explainer = tiny.generative(class_input=True)
  own = explainer(IMAGES)
  chosen = own.logits.argmax(-1)
  same = explainer(IMAGES, chosen)
  other = explainer(IMAGES, (chosen + 1) % own.logits.shape[1])
  for a, b, c in zip(own.importance, same.importance, other.importance):
    np.testing.assert_array_equal(a, b)
    assert (np.abs(a - c).max((1, 2, 3)) > 1e-4).all()


def test_the_layer_floor_is_in_the_pathways():
  """Bounds that let nothing fire: what is left is the floor."""
  explainer = tiny.generative(lower=50.0, upper=60.0, layer_floor=0.02)
  found = explainer(IMAGES)
  counts = np.asarray(pathway.layer_counts(found.masks))
  expected = [np.ceil(0.02 * np.prod(shape)) for shape in tiny.SHAPES]
  np.testing.assert_array_equal(counts, [expected] * 5)
  none = tiny.generative(lower=50.0, upper=60.0)(IMAGES)
  np.testing.assert_array_equal(none.firing_sparsity, 1.0)
  assert none.empty_layer.all()


def test_mean_ablation_is_part_of_the_explainer():
  off = activation_means(tiny.target(), IMAGES)
  plain = tiny.generative()
  explainer = plain.replace(off=off)
  found = explainer(IMAGES)
  np.testing.assert_allclose(
    found.pathway_logits,
    tiny.target().masked(jnp.asarray(IMAGES), found.masks, off),
    atol=1e-5,
  )
  assert (
    np.abs(found.pathway_logits - plain(IMAGES).pathway_logits).max() > 0.01
  )


def test_agreement_is_counted_image_by_image():
  found = tiny.generative()(tiny.images(40))
  expected = reference.agreement(found.logits, found.pathway_logits)
  np.testing.assert_array_equal(found.agreement, expected)
  assert 0 < expected.mean() < 1


# One sparsity for all images.


_SOFT = {'quantiser': 'sigmoid', 'embedders': 'none', 'shared_pdn': False}


@pytest.mark.parametrize(
  'fields, sparsity, count',
  [({}, 0.8, 77), (_SOFT, 0.75, 96)],
  ids=['default', 'soft'],
)
def test_a_sparsity_keeps_exactly_the_top_over_all_layers(
  fields, sparsity, count
):
  own = tiny.generative(**fields)
  found = own.replace(sparsity=sparsity, seed=3)(IMAGES)
  assert count == round((1 - sparsity) * tiny.NEURONS)
  reference.check_top(found.masks, found.importance, count)
  counts = np.asarray(pathway.layer_counts(found.masks))
  # Over all layers at once: images spread their neurons differently.
  assert len({tuple(row) for row in counts}) > 1
  np.testing.assert_array_equal(found.tied, 0.0)
  assert found.method == 'GEN-CNP'
  # Without one, the same scores decide, each image for itself.
  free = own(IMAGES)
  for mask, scores, same in zip(free.masks, free.importance, found.importance):
    np.testing.assert_allclose(scores, same, atol=1e-5)
    clear = np.abs(scores) > 1e-5
    np.testing.assert_array_equal(mask[clear], (scores > 0)[clear])
  assert len(set(free.firing_sparsity.tolist())) > 1


def test_equal_scores_are_drawn_by_seed_and_image():
  explainer = tiny.generative(**_SOFT)
  params = jax.device_get(explainer.variables['params'])
  for name in ('norm_0', 'norm_1'):
    flat = {k: params[name][k] * 0 for k in ('scale', 'bias')}
    params[name] = params[name] | flat
  explainer = explainer.replace(
    variables=explainer.variables | {'params': params}, sparsity=0.75, seed=3
  )
  found = explainer(IMAGES, first_index=7)
  np.testing.assert_array_equal(found.tied, 1.0)
  zeros = tuple(jnp.zeros((5, *shape)) for shape in tiny.SHAPES)
  keep = jax.jit(selection.keep_top, static_argnums=1)
  drawn, _ = keep(zeros, 96, jnp.int32(3), np.arange(7, 12, dtype=np.int32))
  for mask, expected in zip(found.masks, drawn):
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize('sparsity', [0.0, 1.0])
def test_a_sparsity_out_of_range(sparsity):
  with pytest.raises(ValueError, match=f'sparsity={sparsity:g}.*: the share'):
    tiny.generative().replace(sparsity=sparsity)(IMAGES)


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  path = tmp_path_factory.mktemp('trained')
  tiny.run(path, **{'stages': 'target,gencnp', 'gencnp.learn_bounds': True})
  return path


def test_load_explainer_opens_a_workdir(workdir):
  with tiny.in_the_zoo():
    explainer, target = load_explainer(workdir), load_target(workdir)
  assert isinstance(explainer, Generative)
  found = explainer(IMAGES)
  np.testing.assert_allclose(found.logits, target(IMAGES), atol=1e-5)
  assert explainer.model.hidden == 8 and explainer.off is None
  # What was learned is what is loaded: bounds have moved, masks follow them.
  for i, (mask, scores) in enumerate(zip(found.masks, found.importance)):
    lower, upper = explainer.variables['params'][f'bounds_{i}']
    assert (lower, upper) != (-1.5, 1.5)
    middle = (lower + upper) / 2
    clear = np.abs(scores - middle) > 1e-5
    np.testing.assert_array_equal(mask[clear], (scores > middle)[clear])


def test_a_loaded_explainer_works_on_one_device(workdir, monkeypatch):
  with tiny.in_the_zoo():
    explainer = load_explainer(workdir)
  four = explainer(IMAGES[:4])
  devices = jax.local_devices()
  monkeypatch.setattr(jax, 'local_devices', lambda *a, **k: devices[:1])
  monkeypatch.setattr(jax, 'local_device_count', lambda *a, **k: 1)
  monkeypatch.setattr(jax, 'device_count', lambda *a, **k: 1)
  one = explainer(IMAGES[:4], batch_size=1)
  for a, b in zip(four.masks, one.masks):
    np.testing.assert_array_equal(a, b)


def test_load_explainer_of_no_workdir(tmp_path):
  with pytest.raises(ValueError, match='there is no checkpoint here'):
    load_explainer(tmp_path / 'nowhere')
  with pytest.raises(ValueError, match='is empty'):
    load_target(tmp_path)

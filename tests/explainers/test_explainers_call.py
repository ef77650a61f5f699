"""The call shape that all explainers share, and what a caller may get wrong."""

import jax
import numpy as np
import pytest

from gencnp_jax import Explanation, evaluate, fit
from gencnp_jax.explainers import (
  Greedy,
  NeuronIntGrad,
  NeuronMCT,
  OriginalActivation,
  Random,
  activation_means,
)
from gencnp_jax.explainers.inputs import batch_size_that_fits
from tests import tiny
from tests.reference import explainers as reference
from tests.training.conftest import compile_once  # noqa: F401

IMAGES = tiny.images(6)


def _explainers():
  target = tiny.target()
  return [
    Random(target, 0.9),
    OriginalActivation(target, 0.9),
    NeuronMCT(target, 0.9),
    tiny.generative(),
  ]


@pytest.mark.parametrize('i', range(4))
def test_an_explanation_holds_what_it_says(i):
  explainer = _explainers()[i]
  found = explainer(IMAGES)
  assert len(found) == 6
  assert tuple(m.shape for m in found.masks) == tuple(
    (6, *shape) for shape in tiny.SHAPES
  )
  assert all(m.dtype == np.bool_ for m in found.masks)
  assert found.logits.shape == found.pathway_logits.shape == (6, tiny.CLASSES)
  assert found.logits.dtype == found.pathway_logits.dtype == np.float32
  assert found.firing_sparsity.shape == found.tied.shape == (6,)
  assert found.method == explainer.name
  np.testing.assert_allclose(found.logits, tiny.target()(IMAGES), atol=1e-5)
  np.testing.assert_allclose(
    found.pathway_logits, tiny.target().masked(IMAGES, found.masks), atol=1e-5
  )
  np.testing.assert_array_equal(
    found.agreement, reference.agreement(found.logits, found.pathway_logits)
  )
  layers = [m.reshape(6, -1).sum(1) for m in found.masks]
  np.testing.assert_array_equal(found.empty_layer, np.min(layers, axis=0) == 0)


@pytest.mark.parametrize('i', range(4))
def test_importance_is_kept_only_where_wanted(i):
  explainer = _explainers()[i]
  with_scores, without = explainer(IMAGES), explainer(IMAGES, importance=False)
  assert without.importance is None
  assert tuple(s.shape for s in with_scores.importance) == tuple(
    m.shape for m in with_scores.masks
  )
  assert all(s.dtype == np.float32 for s in with_scores.importance)
  for a, b in zip(with_scores.masks, without.masks):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('i', range(4))
@pytest.mark.parametrize('importance', [True, False])
def test_save_and_load_through_an_explainer(i, importance, tmp_path):
  found = _explainers()[i](IMAGES[:3], importance=importance)
  found.save(tmp_path / 'explanation.npz')
  again = Explanation.load(tmp_path / 'explanation.npz')
  for a, b in zip(found.masks, again.masks):
    np.testing.assert_array_equal(a, b)
  for a, b in zip(found.importance or (), again.importance or ()):
    np.testing.assert_array_equal(a, b)
  assert (again.importance is None) == (not importance)
  for name in ('logits', 'pathway_logits', 'tied', 'method', 'firing_sparsity'):
    np.testing.assert_array_equal(getattr(found, name), getattr(again, name))
  assert [p.name for p in tmp_path.iterdir()] == ['explanation.npz']


@pytest.mark.parametrize('count', [1, 3, 4, 6])
@pytest.mark.parametrize('batch_size', [None, 1, 4, 5])
def test_ragged_batches_count_every_image_once(count, batch_size):
  explainer = Random(tiny.target(), 0.9)
  found = explainer(IMAGES[:count], batch_size=batch_size, importance=False)
  expected = explainer(IMAGES, importance=False)
  assert len(found) == count
  for a, b in zip(found.masks, expected.masks):
    np.testing.assert_array_equal(a, b[:count])


def test_classes_are_the_arg_max_by_default():
  explainer = NeuronMCT(tiny.target(), 0.9)
  default = explainer(IMAGES)
  said = default.logits.argmax(1)
  for classes in (said, said.tolist(), said.astype(np.uint8)):
    given = explainer(IMAGES, classes)
    for a, b in zip(default.masks, given.masks):
      np.testing.assert_array_equal(a, b)
  other = explainer(IMAGES, (said + 1) % tiny.CLASSES)
  assert any((a != b).any() for a, b in zip(default.masks, other.masks))


@pytest.mark.parametrize(
  'classes, message',
  [
    (np.zeros(5, int), r'shape \(5,\).*6 images'),
    (np.zeros((6, 1), int), r'shape \(6, 1\)'),
    (np.full(6, 10), r'classes\[0\]=10.*10 classes, 0 to 9'),
    (np.array([0, 0, -1, 0, 0, 0]), r'classes\[2\]=-1'),
    (np.full(6, 1.5), r'integers'),
  ],
)
def test_wrong_classes(classes, message):
  with pytest.raises(ValueError, match=message):
    NeuronMCT(tiny.target(), 0.9)(IMAGES, classes)


@pytest.mark.parametrize('i', range(4))
@pytest.mark.parametrize(
  'images, message',
  [
    (IMAGES[0], r'shape \(8, 8, 3\).*image\[None\]'),
    (IMAGES[:0], 'empty'),
    (np.zeros((2, 8, 8, 4), np.uint8), '4 channels'),
    (np.zeros((2, 8, 8, 3), np.int32), 'int32.*uint8'),
    (np.full((2, 8, 8, 3), np.nan, np.float32), r'images\[0\].*2 of 2'),
  ],
)
def test_wrong_images(i, images, message):
  with pytest.raises(ValueError, match=message):
    _explainers()[i](images)


def test_one_bad_image_of_many_is_named():
  images = IMAGES / np.float32(255)
  images[4, 2, 2, 1] = np.inf
  for call in (NeuronMCT(tiny.target(), 0.9), _means):
    with pytest.raises(ValueError, match=r'images\[4\].*1 of 6'):
      call(images)


def _means(images):
  return activation_means(tiny.target(), images)


def test_uint8_into_a_target_without_preprocess():
  with pytest.raises(ValueError, match=r'uint8.*no preprocess.*Preprocess'):
    NeuronMCT(tiny.target(preprocess=False), 0.9)(IMAGES)
  with pytest.raises(ValueError, match=r'uint8.*no preprocess'):
    activation_means(tiny.target(preprocess=False), IMAGES)


def test_logits_that_are_not_finite():
  target = tiny.target()
  bad = target.replace(
    variables=jax.tree.map(lambda x: x * np.nan, target.variables)
  )
  for call in (Random(bad, 0.9), lambda x: evaluate([Random(bad, 0.9)], x)):
    with pytest.raises(ValueError, match='NaN or infinite logits for 6 of 6'):
      call(IMAGES)


def test_one_logit_is_no_choice():
  said, net = tiny.target(), tiny.TinyNet()
  one = said.replace(apply_fn=lambda v, x: net.apply(v, x)[:, :1])
  for call in (
    Random(one, 0.5),
    lambda x: evaluate([Random(one, 0.5)], x),
    lambda x: fit(one, x),
  ):
    with pytest.raises(ValueError, match=r'one logit.*zeros_like\(z\)'):
      call(IMAGES)


def test_probabilities_in_the_place_of_logits(caplog):
  said, net = tiny.target(), tiny.TinyNet()
  sure = said.replace(apply_fn=lambda v, x: jax.nn.softmax(net.apply(v, x)))
  Random(sure, 0.5)(IMAGES)
  assert 'seems to return probabilities' in caplog.text
  caplog.clear()
  Random(said, 0.5)(IMAGES)
  assert 'probabilities' not in caplog.text


@pytest.mark.parametrize(
  'method', [Random, OriginalActivation, NeuronMCT, NeuronIntGrad, Greedy]
)
def test_with_64_bit_enabled(method):
  explain = method(tiny.target(), 0.9)
  expected = explain(IMAGES)
  with jax.enable_x64(True):
    found = explain(IMAGES)
  kept = [sum(m[i].sum() for m in found.masks) for i in range(len(IMAGES))]
  assert kept == [round(0.1 * tiny.NEURONS)] * len(IMAGES)
  for a, b in zip(found.masks, expected.masks):
    assert np.mean(a == b) > 0.99  # Gradients may round otherwise.


def test_none_of_the_images():
  found = Random(tiny.target(), 0.9)(IMAGES)[np.zeros(len(IMAGES), bool)]
  assert len(found) == 0 == len(found.firing_sparsity) == len(found.agreement)
  assert len(found.empty_layer) == 0


@pytest.mark.parametrize('method', [Random, OriginalActivation, NeuronMCT])
@pytest.mark.parametrize('sparsity', [0.0, 1.0, -0.1, 1.5, float('nan'), 90])
def test_sparsity_outside_its_range(method, sparsity):
  with pytest.raises(ValueError, match=f'sparsity={sparsity}.*between 0 and 1'):
    method(tiny.target(), sparsity)(IMAGES)


def test_sparsity_that_keeps_every_neuron():
  with pytest.raises(ValueError, match=r'keeps all 384 neurons.*at least'):
    Random(tiny.target(), 1e-6)(IMAGES)
  # The other end keeps one neuron, as design.md says.
  found = Random(tiny.target(), 1 - 1e-9)(IMAGES)
  assert sum(m[0].sum() for m in found.masks) == 1


@pytest.mark.parametrize('batch_size', [-1, -4])
def test_wrong_batch_size(batch_size):
  with pytest.raises(ValueError, match=f'batch_size={batch_size}'):
    Random(tiny.target(), 0.9)(IMAGES, batch_size=batch_size)


def test_off_that_does_not_fit():
  off = activation_means(tiny.target(), IMAGES)
  with pytest.raises(ValueError, match=r'off holds 1 arrays.*2 activations'):
    NeuronMCT(tiny.target(), 0.9, off=off[:1])(IMAGES)
  with pytest.raises(ValueError, match=r'off\[0\] has shape'):
    NeuronMCT(tiny.target(), 0.9, off=off[::-1])(IMAGES)


def test_the_picked_batch_size_bounds_the_memory():
  picked = batch_size_that_fits(tiny.target(), IMAGES)
  assert picked % 4 == 0 and picked >= 4
  # The tiny net at 512 x 512: 4096 times the neurons, and fewer images.
  large = np.zeros((1, 512, 512, 3), np.uint8)
  assert batch_size_that_fits(tiny.target(), large) < picked

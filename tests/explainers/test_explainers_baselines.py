"""The baselines against slow references, and what draws may depend on."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gencnp_jax import pathway, selection
from gencnp_jax.explainers import (
  NeuronMCT,
  OriginalActivation,
  Random,
  activation_means,
)
from gencnp_jax.target import Preprocess, Target
from tests import tiny
from tests.reference import explainers as reference
from tests.training.conftest import compile_once  # noqa: F401

IMAGES = tiny.images(7)
METHODS = (Random, OriginalActivation, NeuronMCT)


def _normalised(images):
  p = tiny.target().preprocess
  return reference.normalise(images, p.mean, p.std)


def _params():
  return tiny.target().variables['params']


def _equal(one, other):
  for a, b in zip(one.masks, other.masks):
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize('sparsity', [0.5, 0.95])
def test_original_activation_keeps_the_largest(sparsity):
  found = OriginalActivation(tiny.target(), sparsity)(IMAGES)
  scores = reference.original_activation(_params(), _normalised(IMAGES))
  for a, b in zip(found.importance, scores):
    np.testing.assert_allclose(a, b, atol=1e-5)
  count = round((1 - sparsity) * tiny.NEURONS)
  reference.check_top(found.masks, scores, count)


@pytest.mark.parametrize('own', [True, False])
def test_neuron_mct_equals_a_difference_a_neuron(own):
  images = IMAGES[:3]
  classes = None if own else np.array([0, 5, 9])
  found = NeuronMCT(tiny.target(), 0.9)(images, classes)
  scores = reference.neuron_mct(_params(), _normalised(images), classes)
  for a, b in zip(found.importance, scores):
    np.testing.assert_allclose(a, b, atol=2e-5)
  reference.check_top(found.masks, scores, round(0.1 * tiny.NEURONS))


def test_mean_ablation_scores_the_way_from_a_to_off():
  images = IMAGES[:2]
  off = activation_means(tiny.target(), IMAGES)
  found = NeuronMCT(tiny.target(), 0.9, off=off)(images)
  scores = reference.neuron_mct(_params(), _normalised(images), off=off)
  for a, b in zip(found.importance, scores):
    np.testing.assert_allclose(a, b, atol=2e-5)
  masked = tiny.target().masked(images, found.masks, off)
  np.testing.assert_allclose(found.pathway_logits, masked, atol=1e-5)


def _linear(variables, images):
  """A net that is linear where inputs and `first` are positive."""
  hidden = jax.nn.relu(images.reshape(images.shape[0], -1) @ variables['first'])
  return hidden @ variables['last']


@pytest.fixture
def linear():
  rng = np.random.default_rng(0)
  draw = lambda f, *shape: jnp.asarray(f(size=shape), jnp.float32)  # noqa: E731
  return Target(
    _linear,
    {'first': draw(rng.uniform, 12, 20), 'last': draw(rng.normal, 20, 3)},
  )


@pytest.mark.parametrize('mean', [False, True])
def test_neuron_mct_on_a_linear_net_is_its_closed_form(linear, mean):
  images = np.random.default_rng(1).uniform(size=(5, 2, 2, 3))
  images = images.astype(np.float32)
  hidden = images.reshape(5, 12) @ np.asarray(linear.variables['first'])
  off = activation_means(linear, images) if mean else None
  away = hidden - (hidden.mean(0, keepdims=True) if mean else 0)
  last = np.asarray(linear.variables['last'])
  for c in range(3):
    found = NeuronMCT(linear, 0.5, off=off)(images, np.full(5, c))
    expected = np.abs(away * last[None, :, c])
    np.testing.assert_allclose(found.importance[0], expected, atol=1e-5)
    # Taylor's first order is the whole effect here.
    order = np.argsort(-expected, axis=1)[:, :10]
    top = np.zeros((5, 20), bool)
    np.put_along_axis(top, order, True, axis=1)
    np.testing.assert_array_equal(found.masks[0], top)


def test_random_is_uniform_over_neurons_and_images():
  """Over 400 images: each neuron's share, and no two images alike."""
  images = np.repeat(IMAGES[:1], 400, axis=0)
  found = Random(tiny.target(), 0.75)(images, importance=False)
  on = np.concatenate([m.reshape(400, -1) for m in found.masks], axis=1)
  assert (on.sum(1) == tiny.NEURONS // 4).all()
  share = on.mean(0)
  # Six standard errors of a share of 1/4 in 400 draws.
  assert np.abs(share - 0.25).max() < 6 * np.sqrt(0.25 * 0.75 / 400)
  # Not a few fixed patterns either: images overlap like independent draws.
  shared = (on[:-1] & on[1:]).sum(1).mean() / tiny.NEURONS
  assert shared == pytest.approx(1 / 16, abs=0.004)
  np.testing.assert_array_equal(found.tied, 1.0)


@pytest.mark.parametrize(
  'method, sparsity',
  [(Random, s) for s in (0.01, 0.7, 0.997, 0.9999)]
  + [(OriginalActivation, 0.01), (NeuronMCT, 0.9999)],
)
def test_kept_count_is_exact(method, sparsity):
  found = method(tiny.target(), sparsity)(IMAGES[:2], importance=False)
  count = max(1, round((1 - sparsity) * tiny.NEURONS))
  on = sum(m.reshape(2, -1).sum(1) for m in found.masks)
  np.testing.assert_array_equal(on, count)
  np.testing.assert_allclose(
    found.firing_sparsity, 1 - count / tiny.NEURONS, atol=1e-6
  )
  assert selection.kept_count(sparsity, tiny.NEURONS) == count


def test_ties_are_drawn_and_reported():
  """A blank second half: far more zeros than room, so lots decide."""
  found = NeuronMCT(tiny.target(), 0.05)(IMAGES)
  flat = np.asarray(pathway.flat(found.importance))
  zeros = (flat == 0).sum(1)
  count = round(0.95 * tiny.NEURONS)
  expected = np.maximum(0, count - (tiny.NEURONS - zeros)) / count
  np.testing.assert_allclose(found.tied, expected, rtol=1e-6)
  assert found.tied.min() > 0
  other = NeuronMCT(tiny.target(), 0.05, seed=1)(IMAGES)
  assert any((a != b).any() for a, b in zip(found.masks, other.masks))


@pytest.mark.parametrize('method', METHODS)
def test_same_seed_and_batch_size_is_bitwise_the_same(method):
  one, other = (
    method(tiny.target(), 0.6, seed=5)(IMAGES, batch_size=4) for _ in range(2)
  )
  _equal(one, other)
  np.testing.assert_array_equal(one.pathway_logits, other.pathway_logits)


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('batch_size', [1, 5, 100])
def test_batch_size_moves_only_neurons_within_rounding(method, batch_size):
  one = method(tiny.target(), 0.6)(IMAGES)
  other = method(tiny.target(), 0.6)(IMAGES, batch_size=batch_size)
  if method is Random:
    _equal(one, other)
  scores = [s.astype(np.float64) for s in one.importance]
  count = round(0.4 * tiny.NEURONS)
  reference.check_top(other.masks, scores, count)
  np.testing.assert_allclose(one.logits, other.logits, atol=1e-5)


def test_draws_depend_on_seed_and_image_number_only():
  """Not on the pixels, on the rows around, nor on the batch size."""
  explainer = Random(tiny.target(), 0.8, seed=3)
  whole = explainer(IMAGES)
  _equal(whole, explainer(tiny.images(7, seed=9)))
  first = explainer(IMAGES[:3], batch_size=2)
  for a, b in zip(whole.masks, first.masks):
    np.testing.assert_array_equal(a[:3], b)
    assert (a[0] != a[1]).any()
  other = dataclasses.replace(explainer, seed=4)(IMAGES)
  assert any((a != b).any() for a, b in zip(whole.masks, other.masks))


@pytest.mark.parametrize('method', METHODS)
def test_one_device_says_what_four_say(method, monkeypatch):
  explainer = method(tiny.target(), 0.6)
  four = explainer(IMAGES, batch_size=4)
  devices = jax.local_devices()
  assert len(devices) == 4
  monkeypatch.setattr(jax, 'local_devices', lambda *a, **k: devices[:1])
  monkeypatch.setattr(jax, 'local_device_count', lambda *a, **k: 1)
  monkeypatch.setattr(jax, 'device_count', lambda *a, **k: 1)
  one = explainer(IMAGES, batch_size=1)  # One row a device, as above.
  _equal(four, one)
  np.testing.assert_allclose(four.pathway_logits, one.pathway_logits, atol=1e-5)


def test_activation_means_equal_numpy():
  expected = reference.mean_activations(_params(), _normalised(IMAGES))
  for batch_size in (None, 1, 3, 50):
    means = activation_means(tiny.target(), IMAGES, batch_size)
    for a, b in zip(means, expected):
      assert a.dtype == np.float32
      np.testing.assert_allclose(a, b, atol=1e-6)


def test_mean_ablation_reaches_the_logits():
  """With the means in place of all but one neuron, not the blank net."""
  target = tiny.target()
  off = activation_means(target, IMAGES)
  for method in (Random, NeuronMCT):
    found = method(target, 0.99, off=off)(IMAGES)
    np.testing.assert_allclose(
      found.pathway_logits,
      target.masked(jnp.asarray(IMAGES), found.masks, off),
      atol=1e-5,
    )
    plain = method(target, 0.99)(IMAGES)
    assert np.abs(plain.pathway_logits - found.pathway_logits).max() > 1e-3


def test_an_explainer_is_a_pytree_that_jit_takes():
  explainer = NeuronMCT(tiny.target(), 0.9)

  @jax.jit
  def find(explainer, images):
    classes = jnp.zeros(images.shape[0], jnp.int32)
    return explainer.pathways(jnp.arange(images.shape[0]), images, classes)

  found = find(explainer, jnp.asarray(IMAGES))
  expected = explainer(IMAGES, np.zeros(7, int))
  reference.check_top(
    [np.asarray(m) for m in found.masks],
    [np.float64(s) for s in expected.importance],
    round(0.1 * tiny.NEURONS),
  )


def test_floats_and_uint8_are_the_same_images():
  explainer = OriginalActivation(tiny.target(), 0.9)
  _equal(explainer(IMAGES), explainer(IMAGES / np.float32(255)))
  assert isinstance(tiny.target().preprocess, Preprocess)

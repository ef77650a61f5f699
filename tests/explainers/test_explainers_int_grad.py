"""NeuronIntGrad against a loop over layers and alphas, and closed forms."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gencnp_jax.explainers import (
  NeuronIntGrad,
  NeuronMCT,
  activation_means,
)
from gencnp_jax.target import Target
from tests import tiny
from tests.reference import explainers as reference
from tests.reference import int_grad, slopes
from tests.training.conftest import compile_once  # noqa: F401

IMAGES = tiny.images(5)
COUNT = round(0.1 * tiny.NEURONS)


def _normalised(images):
  p = tiny.target().preprocess
  return reference.normalise(images, p.mean, p.std)


def _params():
  return tiny.target().variables['params']


def _close(found, expected, atol=2e-5):
  for a, b in zip(found, expected, strict=True):
    np.testing.assert_allclose(a, b, atol=atol)


def test_the_reference_s_slopes_are_differences_of_its_forward_pass():
  rng = np.random.default_rng(0)
  image = _normalised(IMAGES)[0]
  off = tuple(rng.uniform(0, 1, shape) for shape in tiny.SHAPES)
  gates = [rng.uniform(0.2, 1, shape) for shape in tiny.SHAPES]
  pull = rng.normal(size=tiny.CLASSES)
  _, by_hand = slopes.slopes(_params(), image, gates, lambda _: pull, off)
  for layer, shape in enumerate(tiny.SHAPES):
    for place in [tuple(rng.integers(0, shape)) for _ in range(40)]:
      values = []
      for step in (1e-6, -1e-6):
        moved = [g.copy() for g in gates]
        moved[layer][place] += step
        logits, _ = reference.forward(_params(), image, moved, off)
        values.append(logits @ pull)
      difference = (values[0] - values[1]) / 2e-6
      assert by_hand[layer][place] == pytest.approx(difference, abs=1e-7)


@pytest.mark.parametrize('own, mean', [(True, False), (False, True)])
def test_int_grad_equals_the_loop(own, mean):
  classes = None if own else np.array([0, 5, 9, 2, 2])
  off = activation_means(tiny.target(), tiny.images(7)) if mean else None
  found = NeuronIntGrad(tiny.target(), 0.9, off=off)(IMAGES, classes)
  expected = int_grad.scores(
    _params(), _normalised(IMAGES), classes, (0.0, 0.0) if off is None else off
  )
  _close(found.importance, expected)
  reference.check_top(found.masks, expected, COUNT)
  masked = tiny.target().masked(jnp.asarray(IMAGES), found.masks, off)
  np.testing.assert_allclose(found.pathway_logits, masked, atol=1e-5)
  # The ramp counts: the first layer is not linear in its gates.
  plain = NeuronMCT(tiny.target(), 0.9, off=off)(IMAGES, classes)
  assert np.abs(plain.importance[0] - found.importance[0]).max() > 1e-3


@pytest.mark.parametrize('steps, chunk', [(11, 1), (5, 2), (1, 5)])
def test_chunks_change_nothing(steps, chunk):
  """Even ones, ragged ones, and more than there are alphas."""
  explainer = NeuronIntGrad(tiny.target(), 0.9, steps=steps, chunk=chunk)
  found = explainer(IMAGES)
  _close(
    found.importance,
    int_grad.scores(_params(), _normalised(IMAGES), steps=steps),
  )


def test_large_batches_take_one_alpha_at_a_time(monkeypatch):
  monkeypatch.setattr('gencnp_jax.explainers.neuron_int_grad._SMALL_BATCH', 0)
  explainer = NeuronIntGrad(tiny.target(), 0.9, steps=7)
  found = explainer(IMAGES)
  expected = int_grad.scores(_params(), _normalised(IMAGES), steps=7)
  _close(found.importance, expected)
  # That is what `copies` counts on, since small batches need not count.
  assert explainer.copies == dataclasses.replace(explainer, chunk=1).copies


def test_the_last_layer_is_linear_so_it_equals_neuron_mct():
  found = NeuronIntGrad(tiny.target(), 0.9)(IMAGES)
  taylor = NeuronMCT(tiny.target(), 0.9)(IMAGES)
  np.testing.assert_allclose(
    found.importance[1], taylor.importance[1], atol=1e-5
  )


@pytest.mark.parametrize('mean', [False, True])
def test_a_linear_net_has_neuron_mct_s_scores(mean):
  rng = np.random.default_rng(0)
  first, last = rng.uniform(size=(12, 20)), rng.normal(size=(20, 3))

  def net(variables, images):
    flat = images.reshape(images.shape[0], -1)
    return jax.nn.relu(flat @ variables[0]) @ variables[1]

  linear = Target(net, (np.float32(first), np.float32(last)))
  images = rng.uniform(size=(5, 2, 2, 3)).astype(np.float32)
  off = activation_means(linear, images) if mean else None
  found = NeuronIntGrad(linear, 0.5, off=off)(images)
  taylor = NeuronMCT(linear, 0.5, off=off)(images)
  _close(found.importance, taylor.importance)
  reference.check_top(found.masks, taylor.importance, 10)


def test_the_ramp_of_a_lone_neuron_is_all_that_the_logit_changes():
  """z_0 = relu(2 a - 1): the first third of the way adds nothing."""

  def net(variables, images):
    hidden = jax.nn.relu(variables * images.mean((1, 2, 3))[:, None])
    return jnp.concatenate([jax.nn.relu(hidden * 2 - 1.0), -hidden], axis=1)

  target = Target(net, jnp.float32(3.0))
  images = np.full((1, 2, 2, 1), 0.5, np.float32)  # a = 1.5, z_0 = 2.
  explainer = NeuronIntGrad(target, 0.4, steps=601, chunk=100)
  first, second = explainer(images, np.array([0])).importance
  np.testing.assert_allclose(first, [[2.0]], atol=5e-3)
  np.testing.assert_allclose(second, [[2.0]], atol=1e-5)
  # The gradient alone says 3.
  taylor = NeuronMCT(target, 0.4)(images, np.array([0])).importance[0]
  np.testing.assert_allclose(taylor, [[3.0]], atol=1e-5)


def test_batch_size_moves_only_neurons_within_rounding():
  one = NeuronIntGrad(tiny.target(), 0.6)(IMAGES)
  other = NeuronIntGrad(tiny.target(), 0.6)(IMAGES, batch_size=1)
  scores = [s.astype(np.float64) for s in one.importance]
  reference.check_top(other.masks, scores, round(0.4 * tiny.NEURONS))


def test_same_seed_is_bitwise_the_same_and_another_draws_other_ties():
  one, other, third = (
    NeuronIntGrad(tiny.target(), 0.05, seed=seed)(IMAGES) for seed in (5, 5, 6)
  )
  for a, b in zip(one.masks, other.masks):
    np.testing.assert_array_equal(a, b)
  assert any((a != b).any() for a, b in zip(one.masks, third.masks))


@pytest.mark.parametrize(
  'fields, message',
  [({'steps': 0}, 'steps=0: .* at least 1'), ({'chunk': -1}, 'chunk=-1: .* 0')],
)
def test_illegal_fields(fields, message):
  with pytest.raises(ValueError, match=message):
    NeuronIntGrad(tiny.target(), 0.9, **fields)

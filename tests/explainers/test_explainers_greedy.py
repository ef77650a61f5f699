"""Greedy against a loop over images and steps."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gencnp_jax import selection
from gencnp_jax.explainers import Greedy, activation_means
from tests import tiny
from tests.reference import explainers as reference
from tests.reference import greedy, slopes
from tests.training.conftest import compile_once  # noqa: F401

N = tiny.NEURONS
IMAGES = tiny.images(6)


def _normalised(images):
  p = tiny.target().preprocess
  return reference.normalise(images, p.mean, p.std)


def _params():
  return tiny.target().variables['params']


def _kept(sparsity):
  return selection.kept_count(sparsity, N)


def _flat(layers):
  return np.concatenate([a.reshape(len(a), -1) for a in layers], axis=1)


@functools.cache
def _lots(seed=0):
  """Per image the order in which equal neurons go, by cutting equal scores."""
  index = jnp.arange(len(IMAGES))
  scores = (jnp.zeros((len(IMAGES), N)),)

  @jax.jit
  def cut(count):
    return selection.keep_top(scores, count, jnp.int32(seed), index)[0][0]

  # A neuron that many cuts keep has a high lot.
  return np.asarray(jax.lax.map(cut, jnp.arange(1, N + 1))).sum(0)


@functools.cache
def _removals(kind='own'):
  """Per image (masks, scores, class) of the reference."""
  classes, off = _setting(kind)
  stand_in = (0.0, 0.0) if off is None else off
  found = []
  for n, image in enumerate(_normalised(IMAGES)):
    c = slopes.class_of(_params(), image, classes, n)
    masks, scores = greedy.removal(_params(), image, _lots()[n], c, stand_in)
    found.append((masks, scores, c))
  return found


@functools.cache
def _setting(kind):
  """(classes, off) of a kind of test."""
  if kind == 'own':
    return None, None
  return np.array([0, 5, 9, 2, 2, 1]), activation_means(tiny.target(), IMAGES)


@pytest.mark.parametrize('kind', ['own', 'classes and means'])
def test_every_step_equals_the_loop(kind):
  classes, off = _setting(kind)
  found = Greedy(tiny.target(), 0.9, off=off)(IMAGES, classes)
  order = _flat(found.importance)
  on = _flat(found.masks)
  for n, (masks, scores, _) in enumerate(_removals(kind)):
    np.testing.assert_array_equal(on[n], masks[90])
    greedy.check_order(order[n], masks, scores)
  target = tiny.target().masked(jnp.asarray(IMAGES), found.masks, off)
  np.testing.assert_allclose(found.pathway_logits, target, atol=1e-5)
  assert (found.tied == 0).all()


def test_the_importance_holds_the_pathway_at_every_sparsity():
  """One run's order, cut anywhere, equals the loop, and runs of their own."""
  explainer = Greedy(tiny.target(), 0.9)
  assert explainer.is_cut_from_importance
  order = explainer(IMAGES).importance
  index = jnp.arange(len(IMAGES))
  cut = jax.jit(selection.keep_top)
  before = None
  for percent in (1, 20, 50, 77, 93, 99):
    masks, _ = cut(order, _kept(percent / 100), jnp.int32(0), index)
    on = _flat([np.asarray(m) for m in masks])
    for n, (expected, _, _) in enumerate(_removals()):
      np.testing.assert_array_equal(on[n], expected[percent])
    assert before is None or (on <= before).all()
    before = on
  # Between the steps of a percent, and past the last.
  for sparsity in (0.655, 0.997):
    own = _flat(Greedy(tiny.target(), sparsity)(IMAGES).masks)
    masks, _ = cut(order, _kept(sparsity), jnp.int32(0), index)
    np.testing.assert_array_equal(_flat([np.asarray(m) for m in masks]), own)
    np.testing.assert_array_equal(own.sum(1), _kept(sparsity))


def test_removed_neurons_never_come_back_though_scores_change():
  masks, scores, _ = _removals()[0]
  found = _flat(Greedy(tiny.target(), 0.9)(IMAGES).masks)[0]
  off = ~masks[50]
  assert not found[off].any()
  # Had it scored but once, as NeuronMCT does, others would be left.
  once = np.argsort(-scores[0])[: _kept(0.9)]
  assert not found[once].all()


def test_ties_are_drawn_and_reported():
  sparsity = 0.12
  found = Greedy(tiny.target(), sparsity)(IMAGES)
  other = Greedy(tiny.target(), sparsity, seed=1)(IMAGES)
  assert (_flat(found.masks) != _flat(other.masks)).any()
  assert found.tied.max() > 0
  for n, (masks, scores, _) in enumerate(_removals()):
    before = np.where(masks[11], scores[11], -1.0)
    lowest = before[masks[12]].min()
    gone = masks[11] & ~masks[12]
    equal = (before == lowest)[masks[12]].sum()
    drawn = equal if (before[gone] == lowest).any() else 0
    assert found.tied[n] == pytest.approx(drawn / _kept(sparsity), rel=1e-6)


@pytest.mark.parametrize('kind', ['own', 'classes and means'])
@pytest.mark.parametrize('sparsity', [0.995, 0.5])
def test_pruning_stops_before_the_class_flips(kind, sparsity):
  classes, off = _setting(kind)
  stand_in = (0.0, 0.0) if off is None else off
  explainer = Greedy(tiny.target(), sparsity, off=off, stop_when_flipped=True)
  assert not explainer.is_cut_from_importance
  found = explainer(IMAGES, classes)
  on, order = _flat(found.masks), _flat(found.importance)
  steps = []
  for n, (masks, scores, c) in enumerate(_removals(kind)):
    image = _normalised(IMAGES)[n]
    counts = [_kept(p / 100) for p in range(1, 100) if p / 100 < sparsity]
    masks, scores = greedy.removal(
      _params(), image, _lots()[n], c, stand_in, [*counts, _kept(sparsity)]
    )
    keeps = [greedy.says(_params(), image, m, stand_in) == c for m in masks]
    # The last mask before the first flip; all neurons if that is the first.
    stop = (keeps + [False]).index(False)
    stood = max(stop - 1, 0)
    np.testing.assert_array_equal(on[n], masks[stood])
    greedy.check_order(order[n], masks[: stood + 1], scores)
    if keeps[0]:
      assert found.pathway_logits[n].argmax() == c
    steps.append((stop, len(masks)))
  # Some images stop early (one class at once), some go all the way.
  stops = [stop for stop, _ in steps]
  if kind == 'own':
    assert found.agreement.all()
    if sparsity == 0.995:
      assert any(1 < stop < length for stop, length in steps)
    else:
      assert any(stop == length for stop, length in steps)
  else:
    assert 0 in stops
    np.testing.assert_array_equal(on[stops.index(0)], True)
    assert found.tied[stops.index(0)] == 0


@pytest.mark.parametrize('sparsity', [0.3, 0.98])
def test_the_published_code(sparsity):
  explainer = Greedy(tiny.target(), sparsity, quirk=True)
  assert not explainer.is_cut_from_importance
  found = explainer(IMAGES)
  percents = range(round(100 * sparsity) + 1)
  on = _flat(found.masks)
  for n, image in enumerate(_normalised(IMAGES)):
    c = _removals()[n][2]
    expected = greedy.as_published(_params(), image, percents, c)
    np.testing.assert_array_equal(on[n], expected)
  # Dead neurons are on, so the sparsity is another than was asked for.
  zero = np.concatenate(
    [s.reshape(len(IMAGES), -1) == 0 for s in found.importance], axis=1
  )
  assert on[zero].all() and zero.any()
  assert found.firing_sparsity.max() < sparsity


def test_published_code_or_stop_not_both():
  with pytest.raises(ValueError, match='stop_when_flipped=True, quirk=True'):
    Greedy(tiny.target(), 0.9, stop_when_flipped=True, quirk=True)


@pytest.mark.parametrize('quirk', [False, True])
@pytest.mark.parametrize('sparsity', [0.0, 1.0])
def test_sparsity_is_checked(sparsity, quirk):
  explainer = Greedy(tiny.target(), sparsity, quirk=quirk)
  with pytest.raises(ValueError, match=f'sparsity={sparsity:g}.* between 0'):
    explainer(IMAGES)


@pytest.mark.parametrize(
  'sparsity, fields', [(0.9, {}), (0.5, {'stop_when_flipped': True})]
)
def test_images_do_not_depend_on_the_batch(sparsity, fields):
  """Bitwise at equal batch size; the draws by the image's number alone."""
  explainer = Greedy(tiny.target(), sparsity, **fields)
  whole = explainer(IMAGES)
  again = explainer(IMAGES)
  for a, b in zip(whole.masks, again.masks):
    np.testing.assert_array_equal(a, b)
  np.testing.assert_array_equal(whole.pathway_logits, again.pathway_logits)
  other = explainer(IMAGES[:3])  # One image a device, not two.
  np.testing.assert_array_equal(_flat(whole.masks)[:3], _flat(other.masks))

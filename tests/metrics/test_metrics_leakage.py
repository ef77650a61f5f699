"""Leakage against a loop over images, and the draw of partners."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gencnp_jax import metrics
from gencnp_jax.target import Preprocess, Target
from tests.reference import metrics as reference

OFF = (np.full(5, 0.3, np.float32), np.full((1, 6), 0.7, np.float32))


def _net(n, seed=0, share=0.5):
  rng = np.random.default_rng(seed)
  net = reference.TinyNet()
  colour = rng.normal(size=(n, 1, 1, 3)) * 2
  images = (colour + rng.normal(size=(n, 4, 4, 3))).astype(np.float32)
  masks = (rng.random((n, 4, 4, 5)) < share, rng.random((n, 6)) < share)
  return net, Target(net.apply_fn, net.variables), images, masks


def _partners(net, images, seed=0):
  classes = np.array([np.argmax(net.logits(x)) for x in images])
  return metrics.partners(classes, seed)


def _compare(result, expected):
  for name, value in expected.items():
    np.testing.assert_allclose(
      getattr(result, name), value, atol=1e-9, err_msg=name
    )


@pytest.mark.parametrize('off', [None, OFF], ids=['zero', 'mean'])
@pytest.mark.parametrize('batch_size', [4, 7, 256])
def test_equals_the_loop(off, batch_size):
  net, target, images, masks = _net(21)
  masks[1][:4] = False
  masks[0][4:6] = False
  expected = reference.leakage(
    net,
    images,
    masks,
    _partners(net, images, 3),
    images.mean(axis=0),
    off or (0.0, 0.0),
  )
  assert 0 < expected['swap'] < 1 and 0 < expected['own'] < 1
  assert 6 / 21 <= expected['disconnected'] < 1
  result = metrics.leakage(
    target, images, masks, off, seed=3, batch_size=batch_size
  )
  _compare(result, expected)
  assert result.left_out == 0
  for value in dataclasses.astuple(result):
    assert type(value) in (float, int)


def test_full_masks_leak_nothing_and_a_cut_layer_says_all():
  _, target, images, masks = _net(30)
  full = tuple(np.ones_like(m) for m in masks)
  result = metrics.leakage(target, images, full)
  # H(X'; 1) = H(X'): always the class of X', never that of X.
  assert (result.swap, result.own) == (0, 1)
  assert (result.disconnected, result.empty_layer) == (0, 0)
  cut = (full[0], np.zeros_like(masks[1]))
  result = metrics.leakage(target, images, cut)
  assert (result.disconnected, result.empty_layer) == (1, 1)
  assert result.influence == 0


def test_a_given_blank_and_uint8_images():
  net, _, images, masks = _net(12, 2)
  images = np.clip(images * 40 + 120, 0, 255).astype(np.uint8)
  preprocess = Preprocess((0.5,) * 3, (0.2,) * 3)
  target = Target(net.apply_fn, net.variables, preprocess)
  seen = np.asarray(preprocess(images))
  partners = _partners(net, seen)

  def expected(blank):
    blank = np.asarray(preprocess(blank[None]))[0]
    return reference.leakage(net, seen, masks, partners, blank)

  mean = np.rint(images.mean(axis=0)).astype(np.uint8)
  _compare(metrics.leakage(target, images, masks), expected(mean))
  dark = np.zeros_like(mean)
  result = metrics.leakage(target, images, masks, blank=dark)
  _compare(result, expected(dark))


@pytest.mark.parametrize('dtype', [np.float32, np.uint8])
def test_the_blank_of_one_image_is_its_mean_colour(dtype):
  image = np.random.default_rng(0).integers(0, 256, (1, 4, 6, 3)).astype(dtype)
  colour = np.round(image.mean((0, 1, 2)), 0 if dtype == np.uint8 else 12)
  blank = metrics.mean_image(image)
  assert blank.shape == (4, 6, 3) and blank.dtype == dtype
  np.testing.assert_allclose(blank, np.broadcast_to(colour, blank.shape))


def test_one_image_reaches_the_output():
  _, target, images, masks = _net(1)
  everything = tuple(np.ones_like(m) for m in masks)
  assert metrics.leakage(target, images, everything).disconnected == 0


def test_one_predicted_class_has_no_pairs():
  net, target, images, masks = _net(40)
  classes = np.array([np.argmax(net.logits(x)) for x in images])
  rows = classes == np.bincount(classes).argmax()
  part = tuple(m[rows] for m in masks)
  result = metrics.leakage(target, images[rows], part)
  assert math.isnan(result.swap) and math.isnan(result.own)
  assert math.isnan(result.influence)
  assert result.left_out == rows.sum() > 1
  none = np.full(rows.sum(), -1)
  mean = images[rows].mean(axis=0)
  _compare(result, reference.leakage(net, images[rows], part, none, mean))


@settings(max_examples=60, deadline=None)
@given(
  classes=st.lists(st.integers(0, 4), min_size=1, max_size=30),
  seed=st.integers(0, 100),
)
def test_partners_have_another_class(classes, seed):
  classes = np.array(classes)
  partner = metrics.partners(classes, seed)
  assert partner.shape == classes.shape
  if len(set(classes.tolist())) == 1:
    assert (partner == -1).all()
  else:
    assert (classes[partner] != classes).all() and (partner >= 0).all()
  np.testing.assert_array_equal(partner, metrics.partners(classes, seed))


def test_partners_are_drawn_evenly():
  classes = np.array([0, 1, 1, 2, 0, 2, 2])
  draws = np.stack([metrics.partners(classes, seed) for seed in range(3000)])
  for i, c in enumerate(classes):
    share = np.bincount(draws[:, i], minlength=7) / 3000
    others = classes != c
    np.testing.assert_allclose(share[others], 1 / others.sum(), atol=0.04)
    assert not share[~others].any()


def _vectors(n, seed=0):
  rng = np.random.default_rng(seed)
  classes = rng.integers(0, 3, n)
  return {
    'classes': classes,
    'partner_classes': (classes + rng.integers(1, 3, n)) % 3,
    'pathway_logits': rng.normal(size=(n, 3)),
    'swap_logits': rng.normal(size=(n, 3)),
    'blank_logits': rng.normal(size=(n, 3)),
    'empty_layer': rng.random(n) < 0.5,
  }


def test_any_batches_give_the_same_bits():
  vectors = _vectors(29)
  vectors['partner_classes'][20:] = -1
  whole = metrics.leakage_sums(**vectors)
  for size in (1, 4, 28):
    total = metrics.LeakageSums()
    for start in range(0, 29, size):
      part = {k: v[start : start + size] for k, v in vectors.items()}
      total += metrics.leakage_sums(**part)
    assert total == whole
  assert whole.result().left_out == 9


def test_disconnected_is_equal_to_rounding_only():
  vectors = _vectors(4)
  logits = np.array([[1.0, 2.0, -8.0]] * 4)
  moved = logits.copy()
  # Of the largest, 8: 5e-7 and 2e-6.
  moved[1, 0] += 4e-6
  moved[2, 0] += 1.6e-5
  still = {k: logits for k in ('pathway_logits', 'swap_logits', 'blank_logits')}
  for moving in ('swap_logits', 'blank_logits'):
    batch = {**vectors, **still, moving: moved}
    assert metrics.leakage_sums(**batch).disconnected.value == 3 / 4
  dead = {k: np.zeros((4, 3)) for k in still}
  assert metrics.leakage_sums(**{**vectors, **dead}).disconnected.value == 1


def test_influence_is_no_matter_of_scale_or_offset():
  vectors = _vectors(9)
  vectors['partner_classes'][7:] = -1
  value = metrics.leakage_sums(**vectors).influence
  assert value.count == 7 and 0 < value.value < 1
  moved = {k: 40 * vectors[k] + 7 for k in ('pathway_logits', 'swap_logits')}
  other = metrics.leakage_sums(**{**vectors, **moved}).influence
  np.testing.assert_allclose(other.value, value.value, rtol=1e-9)


@pytest.mark.parametrize(
  'own, swap, expected',
  [
    ([1.0, -1.0, 0.0], [1.0, -1.0, 0.0], 0),
    ([1.0, -1.0, 0.0], [-1.0, 1.0, 0.0], 1),
    # One in four of the largest: .25 / (1 + .75).
    ([1.0, -1.0, 0.0], [0.75, -0.75, 0.0], 1 / 7),
    # Equal for a softmax; and nothing at all.
    ([1.0, -1.0, 0.0], [4.0, 2.0, 3.0], 0),
    ([2.0, 2.0, 2.0], [0.0, 0.0, 0.0], 0),
  ],
)
def test_influence(own, swap, expected):
  batch = {
    **_vectors(1),
    'pathway_logits': np.array([own]),
    'swap_logits': np.array([swap]),
  }
  value = metrics.leakage_sums(**batch).influence.value
  np.testing.assert_allclose(value, expected, atol=1e-9)


def test_bad_input():
  _, target, images, masks = _net(5)
  with pytest.raises(ValueError, match='an empty batch'):
    metrics.leakage(target, images[:0], tuple(m[:0] for m in masks))
  with pytest.raises(ValueError, match=r'masks\[0\] has shape \(4, 4, 4, 5\)'):
    metrics.leakage(target, images, (masks[0][:4], masks[1]))
  with pytest.raises(ValueError, match=r'blank has shape \(1, 4, 4, 3\); one'):
    metrics.leakage(target, images, masks, blank=images[:1])
  with pytest.raises(ValueError, match='blank is float64 and images are fl'):
    metrics.leakage(target, images, masks, blank=np.zeros((4, 4, 3)))
  with pytest.raises(ValueError, match='predictions is empty'):
    metrics.partners(np.zeros(0, int), 0)
  vectors = _vectors(4)
  with pytest.raises(ValueError, match='the class of the image itself'):
    metrics.leakage_sums(**{**vectors, 'partner_classes': vectors['classes']})
  with pytest.raises(ValueError, match=r'empty_layer has shape \(2,\)'):
    metrics.leakage_sums(**{**vectors, 'empty_layer': np.zeros(2, bool)})
  with pytest.raises(ValueError, match=r'swap_logits has shape \(4, 2\) and'):
    metrics.leakage_sums(**{**vectors, 'swap_logits': np.zeros((4, 2))})
  with pytest.raises(ValueError, match='leakage of no image'):
    metrics.LeakageSums().result()

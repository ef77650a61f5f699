"""Faithfulness and its sums against a loop over images."""

import dataclasses
import functools
import itertools
import math
import operator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gencnp_jax import metrics
from gencnp_jax.target import Preprocess, Target
from tests.reference import metrics as reference

SIZES = (6, 4)


def _batch(n, seed=0, classes=5, scale=2.0):
  rng = np.random.default_rng(seed)
  logits = rng.normal(size=(n, classes)) * scale
  moved = logits + rng.normal(size=(n, classes))
  counts = np.stack([rng.integers(0, s + 1, n) for s in SIZES], axis=1)
  return {
    'logits': logits.astype(np.float32),
    'pathway_logits': moved.astype(np.float32),
    'labels': rng.integers(0, classes, n),
    'firing_sparsity': 1 - counts.sum(axis=1) / sum(SIZES),
    'firing_counts': counts,
  }


def _sums(batch, rows=slice(None)):
  part = {k: None if v is None else v[rows] for k, v in batch.items()}
  return metrics.faithfulness_sums(**part, layer_sizes=SIZES)


def _compare(result, expected, **tolerance):
  for name, value in expected.items():
    if value is None:
      assert getattr(result, name) is None
    else:
      np.testing.assert_allclose(
        getattr(result, name), value, err_msg=name, **tolerance
      )


@pytest.mark.parametrize('seed', range(5))
@pytest.mark.parametrize('labelled', [True, False])
def test_sums_equal_the_loop(seed, labelled):
  batch = _batch(40, seed)
  if not labelled:
    batch['labels'] = None
  expected = reference.faithfulness(
    batch['logits'],
    batch['pathway_logits'],
    batch['labels'],
    batch['firing_sparsity'],
  )
  assert 0 < expected['increase_rate'] < expected['agreement'] < 1
  _compare(_sums(batch).result(), expected, rtol=0, atol=1e-8)


@settings(max_examples=40, deadline=None)
@given(
  n=st.integers(1, 30),
  seed=st.integers(0, 1000),
  cuts=st.lists(st.integers(0, 30), max_size=6),
)
def test_any_batches_in_any_order_give_the_same_bits(n, seed, cuts):
  batch = _batch(n, seed)
  whole = _sums(batch).result()
  edges = sorted({0, n, *[c for c in cuts if c < n]})
  order = np.random.default_rng(seed).permutation(n)
  parts = [_sums(batch, order[a:b]) for a, b in itertools.pairwise(edges)]
  merged = functools.reduce(operator.add, parts, metrics.FaithfulnessSums())
  # repr, because nan is not equal to itself.
  assert repr(merged.result()) == repr(whole)


@settings(max_examples=60, deadline=None)
@given(
  n=st.integers(1, 20), seed=st.integers(0, 10**6), scale=st.floats(0, 300)
)
def test_ranges(n, seed, scale):
  r = _sums(_batch(n, seed, scale=scale)).result()
  assert 0 <= r.mean_increase <= r.increase_rate <= r.agreement <= 1
  assert 0 <= r.mean_decrease <= r.agreement - r.increase_rate + 1e-9
  if not math.isnan(r.mean_increase_of_risers):
    assert r.mean_increase <= r.mean_increase_of_risers <= 1
  assert r.firing.min <= r.firing_sparsity + 1e-9
  assert r.firing_sparsity <= r.firing.max + 1e-9


def test_the_same_logits_neither_rise_nor_fall():
  batch = _batch(10)
  batch['pathway_logits'] = batch['logits'] + np.float32(3.0)
  r = _sums(batch).result()
  assert r.agreement == 1 and r.accuracy == r.target_accuracy
  assert r.increase_rate == r.mean_increase == r.mean_decrease == 0
  assert math.isnan(r.mean_increase_of_risers)
  assert math.isnan(r.mean_decrease_of_fallers)


def test_a_fall_from_saturated_confidence_is_seen():
  # In float32, softmax says 1.0 for both.
  logits, weaker = np.array([[30.0, 0.0]]), np.array([[12.0, 0.0]])
  down = metrics.faithfulness_sums(logits, weaker, None, [0.5]).result()
  assert down.mean_decrease_of_fallers == pytest.approx(6.1e-6, rel=0.01)
  within_margin = np.array([[14.0, 0.0]])
  flat = metrics.faithfulness_sums(logits, within_margin, None, [0.5]).result()
  assert math.isnan(flat.mean_decrease_of_fallers)


def test_a_flipped_class_is_no_decrease():
  flip = metrics.faithfulness_sums(
    np.array([[5.0, 0.0]]), np.array([[0.0, 5.0]]), None, [0.5]
  ).result()
  assert flip.agreement == flip.mean_decrease == 0
  assert math.isnan(flip.mean_decrease_of_fallers)


def test_firing_spread_and_layers():
  batch = _batch(33, 3)
  firing = _sums(batch).result().firing
  sparsity = batch['firing_sparsity']
  np.testing.assert_allclose(firing.mean, sparsity.mean(), atol=1e-9)
  np.testing.assert_allclose(firing.std, sparsity.std(), atol=2e-6)
  assert (firing.min, firing.max) == (sparsity.min(), sparsity.max())
  off = 1 - batch['firing_counts'] / np.array(SIZES)
  np.testing.assert_allclose(firing.per_layer, off.mean(axis=0), atol=1e-9)


def test_equal_sparsity_has_no_spread_and_layers_are_optional():
  n = 7
  r = metrics.firing_sums(np.full(n, 0.947, np.float32)).result()
  assert r.std == 0 and r.min == r.max and r.per_layer is None
  with pytest.raises(ValueError, match='0 layers in some batches and 2'):
    metrics.firing_sums([0.5]) + metrics.firing_sums([0.5], [[3, 2]], SIZES)


def test_accuracy_counts_labelled_images_only():
  batch = _batch(12, 1)
  unlabelled = {**batch, 'labels': None}
  both = (_sums(batch) + _sums(unlabelled)).result()
  assert both.accuracy == _sums(batch).result().accuracy
  assert both.images == 24


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'logits': np.zeros((0, 5))}, r'logits has shape \(0, 5\): an empty'),
    ({'logits': np.zeros(5)}, r'logits has shape \(5,\); pass \[images'),
    (
      {'pathway_logits': np.zeros((3, 4))},
      r'pathway_logits has shape \(3, 4\)',
    ),
    ({'logits': np.full((3, 5), np.nan)}, 'not finite for 3 of 3 images'),
    ({'pathway_logits': np.full((3, 5), np.inf)}, 'pathway_logits is not fin'),
    ({'labels': np.zeros(2, int)}, r'labels has shape \(2,\); there are 3'),
    ({'labels': np.zeros(3)}, 'labels are float64; pass class numbers'),
    (
      {'labels': np.array([0, 5, 1])},
      'labels hold 5; the target has 5 classes',
    ),
    ({'labels': np.array([0, -1, 1])}, 'labels hold -1; .* pass labels=None'),
    ({'firing_sparsity': np.full(3, 95.0)}, 'not percent'),
    ({'firing_sparsity': np.full(3, np.nan)}, 'firing_sparsity goes from nan'),
    (
      {'firing_sparsity': np.zeros((3, 1))},
      r'firing_sparsity has shape \(3, 1',
    ),
    ({'firing_sparsity': np.zeros(1)}, r'for 1 images they are \[1, layers'),
    ({'firing_counts': np.zeros((3, 3))}, r'firing_counts has shape \(3, 3\)'),
    ({'firing_counts': np.full((3, 2), 5)}, 'it counts the neurons on'),
    ({'firing_counts': None}, 'go together'),
  ],
)
def test_bad_vectors(change, message):
  with pytest.raises(ValueError, match=message):
    _sums({**_batch(3), **change})


def test_one_firing_sparsity_an_image():
  logits = np.zeros((3, 2))
  with pytest.raises(ValueError, match='firing_sparsity has 2 rows; logits'):
    metrics.faithfulness_sums(logits, logits, None, [0.5, 0.5])


def test_results_of_nothing():
  with pytest.raises(ValueError, match='faithfulness of no image'):
    metrics.FaithfulnessSums().result()
  with pytest.raises(ValueError, match='firing sparsity of no image'):
    metrics.FiringSums().result()


def _net(n, seed=0):
  rng = np.random.default_rng(seed)
  net = reference.TinyNet()
  images = rng.normal(size=(n, 4, 4, 3)).astype(np.float32) * 2
  masks = (rng.random((n, 4, 4, 5)) < 0.6, rng.random((n, 6)) < 0.8)
  labels = rng.integers(0, 4, n)
  off = (np.full(5, 0.3, np.float32), np.full((1, 6), 0.7, np.float32))
  return net, Target(net.apply_fn, net.variables), images, masks, labels, off


@pytest.mark.parametrize('with_off', [False, True])
@pytest.mark.parametrize('batch_size', [3, 8, 256])
def test_through_a_target(with_off, batch_size):
  net, target, images, masks, labels, off = _net(11)
  off = off if with_off else None
  result = metrics.faithfulness(
    target, images, masks, labels, off=off, batch_size=batch_size
  )
  own = np.stack([net.logits(x) for x in images])
  under = np.stack(
    [
      net.logits(x, [m[i] for m in masks], off or (0.0, 0.0))
      for i, x in enumerate(images)
    ]
  )
  on = np.stack([m.reshape(11, -1).sum(axis=1) for m in masks], axis=1)
  sparsity = 1 - on.sum(axis=1) / 86
  expected = reference.faithfulness(own, under, labels, sparsity)
  _compare(result, expected, rtol=0, atol=1e-5)
  assert result.images == 11
  np.testing.assert_allclose(
    result.firing.per_layer, (1 - on / [[80, 6]]).mean(axis=0), atol=1e-9
  )


def test_one_image_uint8_float_masks_and_no_labels():
  net, _, images, masks, _, _ = _net(1)
  target = Target(
    net.apply_fn, net.variables, Preprocess((0.5,) * 3, (0.2,) * 3)
  )
  images = np.clip(images * 60 + 120, 0, 255).astype(np.uint8)
  result = metrics.faithfulness(target, images, masks, None)
  assert result.accuracy is None and result.target_accuracy is None
  as_float = tuple(m.astype(np.float32) for m in masks)
  again = metrics.faithfulness(target, images, as_float, None)
  assert again.firing == result.firing
  assert again.mean_decrease == pytest.approx(result.mean_decrease, abs=1e-6)


def test_roap_removes_the_pathway():
  net, target, images, masks, labels, off = _net(13, 2)
  for stand_in in (None, off):
    expected = reference.roap(
      net, images, masks, labels, stand_in or (0.0, 0.0)
    )
    for form in (masks, tuple(m.astype(np.float32) for m in masks)):
      value = metrics.roap(target, images, form, labels, stand_in, batch_size=5)
      assert value == pytest.approx(expected, abs=1e-9)
  assert metrics.roap(target, images, masks, None) is None


@pytest.mark.parametrize('metric', [metrics.faithfulness, metrics.roap])
def test_bad_images(metric):
  _, target, images, masks, labels, _ = _net(6)
  nothing = tuple(m[:0] for m in masks)
  with pytest.raises(ValueError, match='an empty batch'):
    metric(target, images[:0], nothing, labels[:0])
  with pytest.raises(ValueError, match='masks is empty'):
    metric(target, images, (), labels)
  with pytest.raises(ValueError, match=r'masks\[1\] has shape \(5, 6\)'):
    metric(target, images, (masks[0], masks[1][:5]), labels)
  with pytest.raises(ValueError, match=r'labels has shape \(2,\)'):
    metric(target, images, masks, labels[:2])
  with pytest.raises(ValueError, match='labels hold 9'):
    metric(target, images, masks, np.full(6, 9))
  with pytest.raises(ValueError, match='masks holds 1 arrays'):
    metric(target, images, masks[:1], labels)


def test_results_are_plain_floats():
  fields = dataclasses.asdict(_sums(_batch(4)).result())
  fields |= fields.pop('firing')
  for name, value in fields.items():
    assert type(value) in (float, int, tuple), name

"""Class IoU against sets of neurons, and its floors against chance."""

import math

import numpy as np
import pytest
from absl import logging
from hypothesis import given, settings
from hypothesis import strategies as st

from gencnp_jax import metrics, pathway
from gencnp_jax.metrics import packed
from tests.reference import metrics as reference

SHAPES = ((2, 3, 2), (3,), (1, 1, 7))
KINDS = {
  'pairwise': reference.pairwise_iou,
  'consensus': reference.consensus_iou,
}


def _masks(n, seed=0, share=0.4):
  rng = np.random.default_rng(seed)
  shares = [share, share / 2, share * 2]
  return tuple(rng.random((n, *s)) < q for s, q in zip(SHAPES, shares))


def _compare(result, expected):
  for name, value in expected.items():
    got = getattr(result, name)
    if name == 'per_class':
      assert got == pytest.approx(value, abs=1e-9)
    else:
      np.testing.assert_allclose(got, value, atol=1e-9, err_msg=name)


@pytest.mark.parametrize('kind', KINDS)
@settings(max_examples=60, deadline=None)
@given(
  n=st.integers(1, 12),
  classes=st.integers(1, 5),
  seed=st.integers(0, 10**6),
  share=st.sampled_from([0.0, 0.1, 0.5]),
)
def test_equals_sets_of_neurons(kind, n, classes, seed, share):
  masks = _masks(n, seed, share)
  labels = np.random.default_rng(seed).integers(0, classes, n) * 3 - 3
  result = metrics.class_iou(masks, labels, kind)
  _compare(result, KINDS[kind](masks, labels))
  for mask, value in zip(masks, result.per_layer):
    expected = KINDS[kind]((mask,), labels)['within']
    np.testing.assert_allclose(value, expected, atol=1e-9)
  sizes = np.unique(labels, return_counts=True)[1]
  assert result.left_out == (sizes == 1).sum()


@pytest.mark.parametrize('rows', [1, 3, 5])
@pytest.mark.parametrize('columns', [4, 7, 64])
def test_blocks_do_not_matter(monkeypatch, rows, columns):
  masks, labels = _masks(17, 5), np.arange(17) % 4
  whole = metrics.class_iou(masks, labels)
  monkeypatch.setattr(packed, '_BLOCK_ROWS', rows)
  monkeypatch.setattr(packed, '_BLOCK_COLUMNS', columns)
  parts = metrics.class_iou(masks, labels)
  _compare(parts, {**vars(whole), 'per_class': whole.per_class})


@pytest.mark.parametrize('kind', KINDS)
def test_images_in_any_order(kind):
  masks, labels = _masks(20, 1), np.arange(20) % 3
  order = np.random.default_rng(0).permutation(20)
  one = metrics.class_iou(masks, labels, kind)
  other = metrics.class_iou([m[order] for m in masks], labels[order], kind)
  _compare(other, vars(one))


@pytest.mark.parametrize('kind', KINDS)
def test_identical_and_disjoint_masks(kind):
  labels = np.array([0, 0, 1, 1, 1])
  same = [np.repeat(m[:1], 5, axis=0) for m in _masks(1, 3)]
  same[1][:, 0] = True
  result = metrics.class_iou(same, labels, kind)
  assert result.within == result.between == 1
  assert result.per_layer == (1.0, 1.0, 1.0)
  apart = [np.eye(5, dtype=bool)]
  result = metrics.class_iou(apart, labels, kind)
  assert result.within == result.between == 0
  by_class = [np.eye(2, dtype=bool)[labels]]
  result = metrics.class_iou(by_class, labels, kind)
  assert (result.within, result.between) == (1, 0)


def test_packed_masks_are_the_same_masks():
  masks, labels = _masks(9, 2), np.arange(9) % 2
  sizes = tuple(int(np.prod(s)) for s in SHAPES)
  streamed = np.concatenate(
    [pathway.pack([m[a : a + 4] for m in masks]) for a in (0, 4, 8)]
  )
  whole = metrics.PackedMasks(streamed, sizes)
  assert metrics.class_iou(whole, labels) == metrics.class_iou(masks, labels)
  counts = [m.reshape(9, -1).sum(axis=1) for m in masks]
  np.testing.assert_array_equal(whole.layer_counts(), np.stack(counts, axis=1))
  as_float = [m.astype(np.float32) for m in masks]
  assert metrics.class_iou(as_float, labels) == metrics.class_iou(masks, labels)


def _random_with_counts(rng, counts, sizes):
  """Masks of exactly `counts` neurons on, drawn within each layer."""
  return tuple(
    np.stack([rng.permutation(size) < k for k in column])
    for column, size in zip(counts.T, sizes)
  )


def test_floors_are_what_chance_scores():
  # The profile of a pathway at .935: deep layers keep a larger share. One
  # number for all layers would expect .034 here, and chance scores .09.
  rng = np.random.default_rng(0)
  sizes = np.array([4096, 3072, 1536, 1024, 1024])
  mean = sizes * np.array([0.01, 0.02, 0.12, 0.2, 0.25])
  counts = rng.poisson(mean, (60, 5))
  masks = _random_with_counts(rng, counts, sizes)
  result = metrics.class_iou(masks, np.arange(60) % 2)
  assert result.uniform_floor == pytest.approx(0.036, abs=0.001)
  assert result.profile_floor == pytest.approx(0.094, abs=0.002)
  assert result.within == pytest.approx(result.profile_floor, abs=0.001)
  assert result.between == pytest.approx(result.profile_floor, abs=0.001)

  uniform = (rng.random((60, 10752)) < 0.065,)
  result = metrics.class_iou(uniform, np.arange(60) % 2)
  assert result.within == pytest.approx(result.uniform_floor, abs=0.001)
  assert result.profile_floor == pytest.approx(result.uniform_floor, abs=1e-4)


def test_consensus_floors_are_what_chance_scores():
  rng = np.random.default_rng(1)
  sizes = np.array([3000, 2000])
  counts = np.tile([[600, 1400]], (12, 1))
  masks = _random_with_counts(rng, counts, sizes)
  labels = np.arange(12) // 3
  result = metrics.class_iou(masks, labels, 'consensus')
  assert result.within == pytest.approx(result.profile_floor, abs=0.01)
  assert result.uniform_floor == pytest.approx(0.4**3 / (1 - 0.6**3))
  pairs = np.arange(12) // 2
  one, two = (metrics.class_iou(masks, pairs, kind) for kind in KINDS)
  for name in ('within', 'uniform_floor', 'profile_floor'):
    assert getattr(one, name) == pytest.approx(getattr(two, name)), name


def test_a_class_of_one_image_is_left_out_and_said(monkeypatch):
  said = []
  monkeypatch.setattr(
    logging, 'warning', lambda text, *args: said.append(text % args)
  )
  masks, labels = _masks(6, 4), np.array([7, 0, 0, 0, 9, 0])
  result = metrics.class_iou(masks, labels)
  assert said == [
    'class_iou: 2 of 6 images are alone in their class (7, 9): no pair, so '
    'they are left out of `within`.'
  ]
  rest = [1, 2, 3, 5]
  alone = metrics.class_iou([m[rest] for m in masks], labels[rest])
  assert result.within == pytest.approx(alone.within)
  assert result.per_class == pytest.approx(alone.per_class)
  assert metrics.class_iou(masks, labels) == result  # And said once.
  assert result.left_out == 2 and alone.left_out == 0
  assert math.isnan(alone.between) and not math.isnan(result.between)
  assert len(said) == 1


def test_pathways_without_a_neuron_share_nothing():
  masks = [np.zeros((4, 10), bool)]
  result = metrics.class_iou(masks, np.array([0, 0, 1, 1]))
  assert (result.within, result.between, result.profile_floor) == (0, 0, 0)


def test_bad_masks_and_labels():
  masks, labels = _masks(4), np.zeros(4, int)
  with pytest.raises(ValueError, match="kind='mean': choose 'pairwise' or"):
    metrics.class_iou(masks, labels, 'mean')
  with pytest.raises(ValueError, match='masks hold no image'):
    metrics.class_iou([m[:0] for m in masks], labels[:0])
  with pytest.raises(ValueError, match='masks is empty'):
    metrics.class_iou((), labels)
  with pytest.raises(ValueError, match=r'labels has shape \(3,\); there are 4'):
    metrics.class_iou(masks, labels[:3])
  with pytest.raises(ValueError, match="pass the target's predictions"):
    metrics.class_iou(masks, None)
  with pytest.raises(ValueError, match=r'masks\[1\] has shape \(3, 3\)'):
    metrics.class_iou((masks[0], masks[1][:3], masks[2]), labels)
  with pytest.raises(ValueError, match=r'masks\[0\] holds values other than'):
    metrics.class_iou((masks[0] * 0.3,), labels)
  with pytest.raises(ValueError, match=r'pack to uint8 \[images, 2\]'):
    metrics.PackedMasks(np.zeros((4, 3), np.uint8), (4, 9))


@pytest.mark.parametrize('seed', range(3))
def test_class_variance_equals_the_loop(seed):
  rng = np.random.default_rng(seed)
  labels = rng.integers(0, 3, 20)
  embeddings = rng.normal(size=(20, 2, 3)) + labels[:, None, None]
  result = metrics.class_variance(embeddings.astype(np.float32), labels)
  expected = reference.class_variance(embeddings, labels)
  got = (result.within, result.between, result.total)
  np.testing.assert_allclose(got, expected, rtol=1e-5)
  assert result.within + result.between == pytest.approx(1)
  scaled = metrics.class_variance(embeddings * 1000, labels)
  assert scaled.within == pytest.approx(result.within, rel=1e-5)


def test_class_variance_of_points_and_bad_input():
  flat = metrics.class_variance(np.ones((4, 3)), np.array([0, 0, 1, 1]))
  assert math.isnan(flat.within) and flat.total == 0
  apart = metrics.class_variance(np.eye(2)[[0, 0, 1]], np.array([0, 0, 1]))
  assert (apart.within, apart.between) == (0, 1)
  with pytest.raises(ValueError, match=r'embeddings has shape \(0, 3\)'):
    metrics.class_variance(np.ones((0, 3)), np.zeros(0, int))
  with pytest.raises(ValueError, match=r'labels has shape \(2,\)'):
    metrics.class_variance(np.ones((4, 3)), np.zeros(2, int))
  with pytest.raises(ValueError, match='not finite'):
    metrics.class_variance(np.full((4, 3), np.nan), np.zeros(4, int))

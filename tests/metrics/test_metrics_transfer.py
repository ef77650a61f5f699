"""Class pathways on other images: against loops, and who builds them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gencnp_jax import metrics, pathway
from gencnp_jax.target import Target
from tests.reference import metrics as reference

OFF = (np.full(5, 0.3, np.float32), np.full((1, 6), 0.7, np.float32))
SAMPLES = (0.4, 0.7, 0.9)


def _net(n=40, classes=3, seed=0):
  rng = np.random.default_rng(seed)
  net = reference.TinyNet()
  colour = rng.normal(size=(n, 1, 1, 3)) * 2
  images = (colour + rng.normal(size=(n, 4, 4, 3))).astype(np.float32)
  groups = rng.integers(0, classes, n)
  # Masks that have something in common within a class.
  often = rng.random((classes, 86))
  rows = rng.random((n, 86)) < often[groups]
  masks = pathway.split(rows, [(4, 4, 5), (6,)])
  return net, Target(net.apply_fn, net.variables), images, masks, groups


@pytest.mark.parametrize('off', [None, OFF], ids=['zero', 'mean'])
@pytest.mark.parametrize('sample, threshold', [(0.4, 0.5), (0.9, 0.3)])
def test_equals_the_loop(off, sample, threshold):
  net, target, images, masks, groups = _net()
  labels = np.where(np.arange(40) % 5 == 0, (groups + 1) % 3, groups)
  split = metrics.transfer_split(groups, SAMPLES, seed=1)
  wearing = metrics.Wearing(
    target, images, labels, groups, split, off=off, seed=2, batch_size=8
  )
  packed = metrics.PackedMasks.pack(masks)
  frequencies = metrics.neuron_frequencies(packed, split, sample)
  found = wearing(frequencies > threshold)
  whole, under, sparsity, said = reference.transfer(
    net, images, masks, groups, split, sample, threshold, off or (0.0, 0.0)
  )
  held_out = split.held_out
  expected = reference.faithfulness(whole, under, labels[held_out], sparsity)
  for name, value in expected.items():
    np.testing.assert_allclose(
      getattr(found.faithfulness, name), value, atol=1e-6, err_msg=name
    )
  assert 0 < expected['agreement'] < 1
  partner = metrics.partners(groups[held_out], 2)
  pairs = [
    (held_out[partner[i]], int(groups[held_out[i]]))
    for i in range(len(held_out))
    if whole[partner[i]].argmax() != groups[held_out[i]]
  ]
  leaks = [said(other, group) == group for other, group in pairs]
  assert 0 < len(leaks) < len(held_out)
  assert found.swap == pytest.approx(np.mean(leaks))


def test_frequencies_are_those_of_class_pathways():
  """The paper's P_c, on all images that were drawn."""
  _, _, _, masks, groups = _net()
  split = metrics.transfer_split(groups, SAMPLES, seed=0)
  packed = metrics.PackedMasks.pack(masks)
  frequencies = metrics.neuron_frequencies(packed, split, 0.4)
  drawn = np.concatenate([split.drawn(c, 0.4) for c in split.builders])
  for threshold in (0.0, 0.25, 0.5, 0.8):
    expected = pathway.class_pathways(
      [m[drawn] for m in masks], groups[drawn], threshold
    )
    for row, c in zip(frequencies > threshold, split.builders):
      np.testing.assert_array_equal(
        row, np.concatenate([m.ravel() for m in expected[c]])
      )


@given(
  st.lists(st.integers(0, 4), min_size=2, max_size=60),
  st.sets(st.sampled_from((0.1, 0.4, 0.5, 0.6, 0.9, 0.99)), min_size=1),
  st.integers(0, 3),
)
@settings(max_examples=60, deadline=None)
def test_nobody_wears_a_pathway_that_it_built(groups, samples, seed):
  groups = np.array(groups)
  sizes = np.bincount(groups)
  if sizes.max() == 1:
    with pytest.raises(ValueError, match='leave none'):
      metrics.transfer_split(groups, tuple(samples), seed)
    return
  split = metrics.transfer_split(groups, tuple(samples), seed)
  before = None
  for sample in sorted(samples):
    for c in split.builders:
      drawn = split.drawn(c, sample)
      share = max(1, round((1 - sample) * sizes[c]))
      assert len(drawn) == min(share, sizes[c] - 1)
      assert (groups[drawn] == c).all()
      assert len(set(drawn.tolist())) == len(drawn)
      assert not set(drawn.tolist()) & set(split.held_out.tolist())
    drawn = {c: set(split.drawn(c, sample).tolist()) for c in split.builders}
    # Nested, so that a curve over eps_ss is not one over draws.
    assert before is None or all(drawn[c] <= before[c] for c in drawn)
    before = drawn
  assert set(groups[split.held_out]) == set(split.builders)
  again = metrics.transfer_split(groups, tuple(samples), seed)
  np.testing.assert_array_equal(again.held_out, split.held_out)


def test_a_class_of_one_image_is_left_out():
  groups = np.array([0, 0, 0, 0, 3])
  split = metrics.transfer_split(groups, (0.5,), 0)
  assert list(split.builders) == [0] and len(split.held_out) == 2


def test_without_labels_there_is_no_accuracy_and_one_class_has_no_swap():
  _, target, images, masks, _ = _net()
  groups = np.zeros(40, int)
  split = metrics.transfer_split(groups, (0.5,), 0)
  wearing = metrics.Wearing(target, images, None, groups, split)
  packed = metrics.PackedMasks.pack(masks)
  found = wearing(metrics.neuron_frequencies(packed, split, 0.5) > 0.2)
  assert found.faithfulness.accuracy is None and math.isnan(found.swap)

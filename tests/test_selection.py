"""Cutting scores to pathways: exact counts, fair ties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gencnp_jax import selection
from tests.reference import pathway as reference

SHAPES = ((3, 2, 2), (5,))
N = 17


@jax.jit
def _keep(rows, count, seed=3, index=None):
  index = jnp.arange(len(rows)) if index is None else index
  scores = (rows[:, :12].reshape(-1, 3, 2, 2), rows[:, 12:])
  masks, tied = selection.keep_top(scores, count, jnp.int32(seed), index)
  return jnp.concatenate([m.reshape(len(rows), -1) for m in masks], 1), tied


def _check(rows, count):
  rows = np.asarray(rows, np.float32)
  on, tied = map(np.asarray, _keep(rows, jnp.int32(count)))
  sets = reference.top_sets((rows,), count)
  for mask, draws, (above, equal) in zip(on, tied, sets):
    chosen = set(np.flatnonzero(mask))
    assert len(chosen) == count
    assert above <= chosen <= above | equal
    drawn = count - len(above)
    assert draws == (drawn if drawn < len(equal) else 0)


@pytest.mark.parametrize('count', [1, 2, 8, 16, 17])
@pytest.mark.parametrize('levels', [1, 2, 3, 1000])
def test_counts_are_exact_for_any_ties(count, levels):
  rng = np.random.default_rng(levels)
  _check(rng.integers(0, levels, (6, N)) - levels // 2, count)


SPECIAL = [0.0, -0.0, np.inf, -np.inf, 1e-45, -1e-45, 1e-38, 3e38, -3e38, 1.0]


@settings(max_examples=60, deadline=None)
@given(
  st.lists(st.sampled_from(SPECIAL), min_size=N, max_size=N),
  st.integers(1, N),
)
def test_every_float_has_its_place(row, count):
  """Infinities, both zeros, and the subnormals that XLA takes for zero."""
  _check([row], count)


@settings(max_examples=60, deadline=None)
@given(
  st.lists(st.floats(width=32, allow_nan=False), min_size=N, max_size=N),
  st.integers(1, N),
)
def test_any_floats(row, count):
  _check([row], count)


def test_zeros_of_both_signs_tie():
  _, tied = _keep(jnp.array([[0.0, -0.0] * 8 + [1.0]]), 3)
  np.testing.assert_array_equal(tied, [2])


def test_the_cut_is_one_over_all_layers():
  layers = jnp.ones((1, 3, 2, 2)), jnp.arange(2, 7.0)[None]
  (first, second), tied = selection.keep_top(
    layers, 4, jnp.int32(0), jnp.arange(1)
  )
  assert first.shape == (1, 3, 2, 2) and first.dtype == bool
  assert not first.any() and tied[0] == 0
  np.testing.assert_array_equal(second[0], [False, True, True, True, True])


def test_a_tie_is_drawn_uniformly_over_positions():
  """Chi-squared over positions, and over pairs of neighbours."""
  images, count = 20_000, 5
  on, tied = _keep(jnp.zeros((images, N)), count)
  on = np.asarray(on)
  assert (np.asarray(tied) == count).all()
  p = count / N
  counts = on.sum(0)
  chi = ((counts - images * p) ** 2 / (images * p * (1 - p))).sum()
  chi *= (N - 1) / N  # The counts sum to a constant.
  assert chi < 39.25, counts  # 16 degrees of freedom, p = .001.
  pairs = p * (count - 1) / (N - 1)
  for distance in (1, 2, 4, 8):
    both = (on & np.roll(on, distance, axis=1)).mean(0)
    spread = np.sqrt(pairs * (1 - pairs) / images)
    assert np.abs(both - pairs).max() < 4.5 * spread


def test_large_ties_favour_no_position():
  """As in NeuronMCT: three quarters of the scores are exactly zero."""
  neurons, kept = 10_752, 3000
  scores = (jnp.zeros((200, neurons)).at[:, ::4].set(1.0),)
  (on,), tied = jax.jit(selection.keep_top, static_argnums=1)(
    scores, kept, jnp.int32(0), jnp.arange(200)
  )
  assert (np.asarray(on).sum(1) == kept).all()
  assert (np.asarray(tied) == kept - neurons // 4).all()
  drawn = np.asarray(on)[:, np.arange(neurons) % 4 > 0]
  share = (kept - neurons // 4) / drawn.shape[1]
  blocks = drawn.reshape(200, 64, -1).mean((0, 2))
  spread = np.sqrt(share * (1 - share) / (200 * 126))
  assert np.abs(blocks - share).max() < 4.5 * spread


def test_draws_depend_on_seed_and_image_index_alone():
  rows = jnp.zeros((6, N))
  index = jnp.array([4, 0, 9, 9, 2, 7])
  on = np.asarray(_keep(rows, 5, 3, index)[0])
  np.testing.assert_array_equal(on[2], on[3])
  for part in (slice(0, 1), slice(2, 5)):
    alone = _keep(rows[part], 5, 3, index[part])[0]
    np.testing.assert_array_equal(alone, on[part])
  # A score elsewhere in the batch changes nothing.
  other = _keep(rows.at[0].set(jnp.arange(N)), 5, 3, index)[0]
  np.testing.assert_array_equal(other[1:], on[1:])
  assert (on[0] != on[1]).any()
  assert (np.asarray(_keep(rows, 5, 4, index)[0]) != on).any()


@pytest.mark.parametrize('k', [1, 5, 17])
def test_kth_score_is_that_of_the_sorted_row(k):
  rng = np.random.default_rng(k)
  rows = rng.normal(size=(6, N)).astype(np.float32)
  rows[:, :4] = [0.0, -0.0, 1e-38, -np.inf]
  scores = (rows[:, :12].reshape(-1, 3, 2, 2), rows[:, 12:])
  expected = -np.sort(-rows, axis=1)
  np.testing.assert_array_equal(
    selection.kth_score(scores, k), expected[:, k - 1]
  )
  # Each image at its own place.
  each = np.array([1, 2, 3, 9, 16, 17], np.int32)
  np.testing.assert_array_equal(
    selection.kth_score(scores, each), expected[range(6), each - 1]
  )


@pytest.mark.parametrize('dtype', ['bfloat16', 'float16'])
def test_scores_of_half_precision(dtype):
  rows = jax.random.normal(jax.random.key(0), (2, N)).astype(dtype)
  (on,), _ = selection.keep_top((rows,), 6, jnp.int32(0), jnp.arange(2))
  for row, mask in zip(np.float32(rows), np.asarray(on)):
    assert row[mask].min() >= row[~mask].max() and mask.sum() == 6


@pytest.mark.parametrize(
  'sparsity, neurons, kept',
  [
    (0.5, 10, 5),
    (0.95, 10_752, 538),
    (0.999, 10, 1),
    (0.9999999, 10_752, 1),
    (0.06, 10, 9),
    (0.97, 151_552, 4547),
  ],
)
def test_kept_count(sparsity, neurons, kept):
  assert selection.kept_count(sparsity, neurons) == kept


@pytest.mark.parametrize('sparsity', [0, 1, -0.1, 1.5, float('nan')])
def test_sparsity_outside_the_open_interval(sparsity):
  with pytest.raises(
    ValueError, match=f'sparsity={sparsity}: .* between 0 and'
  ):
    selection.kept_count(sparsity, 100)


def test_a_sparsity_that_would_keep_all_names_the_least():
  with pytest.raises(ValueError, match='keeps all 10 neurons; raise it to'):
    selection.kept_count(0.04, 10)

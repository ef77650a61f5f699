"""Batches: pure, independent of the devices, and equal to a slow reference."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gencnp_jax.data import augment, draws, indices, mix, order


def images(count=16, height=10, width=7, channels=3, seed=0):
  shape = (count, height, width, channels)
  return np.random.default_rng(seed).integers(1, 256, shape, np.uint8)


fast = jax.jit(augment, static_argnames=('pad', 'flip'))
fast_draws = jax.jit(draws, static_argnums=(3, 4))


def slow_augment(batch, down, right, mirrored, pad):
  """Pads, cuts the window out, and mirrors it, image by image."""
  out = []
  for image, dy, dx, mirror in zip(batch, down, right, mirrored):
    height, width, _ = image.shape
    padded = np.pad(image, ((pad, pad), (pad, pad), (0, 0)))
    top, left = pad + dy, pad + dx
    window = padded[top : top + height, left : left + width]
    out.append(window[:, ::-1] if mirror else window)
  return np.stack(out)


def test_order_is_a_permutation():
  for epoch in (0, 1, 7):
    assert sorted(order(3, epoch, 101)) == list(range(101))
  assert order(3, 0, 101).dtype == np.int32


def test_order_depends_on_seed_and_epoch_alone():
  first = order(3, 0, 50).copy()
  assert not np.array_equal(first, order(3, 1, 50))
  assert not np.array_equal(first, order(4, 0, 50))
  order.cache_clear()
  np.testing.assert_array_equal(first, order(3, 0, 50))


def test_order_cannot_be_written_to():
  with pytest.raises(ValueError, match='read-only'):
    order(0, 0, 10)[0] = 1


def test_an_epoch_visits_each_example_once_and_drops_the_remainder():
  n, batch_size = 23, 5
  first = np.concatenate([indices(1, s, batch_size, n) for s in range(4)])
  second = np.concatenate([indices(1, s, batch_size, n) for s in range(4, 8)])
  assert len(set(first.tolist())) == len(set(second.tolist())) == 20
  np.testing.assert_array_equal(first, order(1, 0, n)[:20])
  np.testing.assert_array_equal(second, order(1, 1, n)[:20])


@pytest.mark.parametrize('batch_size', [0, 11])
def test_a_batch_that_does_not_fit_is_refused(batch_size):
  with pytest.raises(ValueError, match=rf'batch_size is {batch_size}.*1\.\.10'):
    indices(0, 0, batch_size, 10)


def test_a_batch_may_be_the_whole_data_set():
  assert sorted(indices(0, 3, 10, 10)) == list(range(10))


@pytest.mark.parametrize('shape', [(10, 7), (8, 8)])
@pytest.mark.parametrize('pad', [0, 3])
@pytest.mark.parametrize('flip', [False, True])
def test_augment_equals_the_slow_reference(shape, pad, flip):
  batch = images(32, *shape)
  rows = jnp.arange(32)
  drawn = [np.asarray(part) for part in fast_draws(5, 9, rows, pad, flip)]
  got = fast(jnp.asarray(batch), 5, 9, rows, pad=pad, flip=flip)
  assert got.dtype == jnp.uint8
  np.testing.assert_array_equal(got, slow_augment(batch, *drawn, pad))


def test_draws_cover_their_range_evenly():
  down, right, mirrored = fast_draws(0, 0, jnp.arange(9000), 4, True)
  for shift in (down, right):
    values, counts = np.unique(shift, return_counts=True)
    np.testing.assert_array_equal(values, np.arange(-4, 5))
    # 1000 expected each, standard deviation 30.
    assert counts.min() > 850 and counts.max() < 1150
  assert abs(float(mirrored.mean()) - 0.5) < 0.025
  # Independent of each other: 5 standard deviations of a correlation.
  matrix = np.corrcoef(np.stack([down, right, mirrored]))
  assert np.abs(matrix - np.eye(3)).max() < 5 / np.sqrt(9000)


def test_nothing_to_do_is_the_identity_and_costs_nothing():
  batch = jnp.asarray(images())
  rows = jnp.arange(16)
  assert augment(batch, 0, 0, rows, pad=0, flip=False) is batch


def test_augment_does_not_depend_on_how_rows_are_spread():
  batch, rows = jnp.asarray(images()), jnp.arange(16)
  whole = fast(batch, 2, 3, rows)
  parts = [fast(batch[s], 2, 3, rows[s]) for s in np.s_[:8, 8:]]
  np.testing.assert_array_equal(whole, np.concatenate(parts))

  spread = jax.pmap(
    augment, in_axes=(0, None, None, 0), devices=jax.devices()[:4]
  )(batch.reshape(4, 4, *batch.shape[1:]), 2, 3, rows.reshape(4, 4))
  np.testing.assert_array_equal(whole, spread.reshape(whole.shape))


def test_augment_may_be_traced_and_is_pure():
  batch, rows = jnp.asarray(images()), jnp.arange(16)
  first = fast(batch, 2, 3, rows)
  np.testing.assert_array_equal(first, fast(batch, 2, 3, rows))
  # Nor does it matter whether the step is known when it is compiled.
  known = jax.jit(lambda batch: augment(batch, 2, 3, jnp.arange(16)))
  np.testing.assert_array_equal(first, known(batch))
  for other in ((3, 3, rows), (2, 4, rows), (2, 3, rows + 16)):
    assert not np.array_equal(first, fast(batch, *other))


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_a_share_of_the_images_is_mixed_with_others(dtype):
  """Between the two at one weight an image; the others stay as they are."""
  batch = images(400, 4, 4).astype(dtype)
  others = images(400, 4, 4, seed=1).astype(dtype)
  rows = jnp.arange(400)
  mixed = np.asarray(mix(batch, others, 0, 5, rows, 0.3))
  assert mixed.dtype == dtype
  same = (mixed == batch).all((1, 2, 3))
  assert 0.6 < same.mean() < 0.8
  gap = others.astype(float) - batch
  for i in np.flatnonzero(~same):
    moved = mixed[i] - batch[i].astype(float)
    weight = (moved * gap[i]).sum() / (gap[i] ** 2).sum()
    assert 0 <= weight <= 1
    off = mixed[i] - (batch[i] + weight * gap[i])
    # The weight is of rounded values itself.
    assert np.abs(off).max() < (1.0 if dtype == np.uint8 else 1e-3)
  for share, unchanged in (0.0, 1.0), (1.0, 0.0):
    found = np.asarray(mix(batch, others, 0, 5, rows, share))
    assert (found == batch).all((1, 2, 3)).mean() == pytest.approx(
      unchanged, abs=0.02
    )


def test_mixing_does_not_depend_on_how_rows_are_spread():
  batch, others = images(6), images(6, seed=1)
  rows = jnp.arange(6)
  whole = np.asarray(mix(batch, others, 2, 9, rows, 0.7))
  for part in (slice(0, 2), slice(2, 6)):
    found = mix(batch[part], others[part], 2, 9, rows[part], 0.7)
    np.testing.assert_array_equal(found, whole[part])
  other_step = np.asarray(mix(batch, others, 2, 10, rows, 0.7))
  assert (other_step != whole).any()


def test_no_global_generator_setting_changes_the_draws():
  rows = jnp.arange(16)
  expected = order(11, 0, 30).copy(), draws(11, 0, rows, 4, True)
  order.cache_clear()
  with jax.default_prng_impl('rbg'):
    np.testing.assert_array_equal(order(11, 0, 30), expected[0])
    for got, want in zip(draws(11, 0, rows, 4, True), expected[1]):
      np.testing.assert_array_equal(got, want)

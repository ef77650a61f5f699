"""Host batches: the same rows as on the device, ahead of time."""

import threading

import numpy as np
import pytest

from gencnp_jax.data import Dataset, host_batches, indices


def dataset(n=20, labelled=True):
  images = np.arange(n, dtype=np.uint8)[:, None, None, None]
  return Dataset(
    images=np.broadcast_to(images, (n, 4, 4, 3)).copy(),
    labels=np.arange(n, dtype=np.int32) % 10 if labelled else None,
    class_names=tuple('0123456789'),
    name='fake',
    mean=(0.5,) * 3,
    std=(0.5,) * 3,
  )


def test_batches_are_those_that_indices_names():
  data = dataset()
  batches = list(host_batches(data, 1, range(3, 12), 6))
  assert len(batches) == 9
  for step, (images, labels) in zip(range(3, 12), batches):
    chosen = indices(1, step, 6, 20)
    np.testing.assert_array_equal(images, data.images[chosen])
    np.testing.assert_array_equal(labels, data.labels[chosen])


def test_processes_share_a_batch_by_rows():
  data = dataset()
  whole = list(host_batches(data, 1, range(4), 6))
  parts = [
    list(host_batches(data, 1, range(4), 6, rows=rows))
    for rows in np.s_[:3, 3:]
  ]
  for (images, _), (low, _), (high, _) in zip(whole, *parts):
    np.testing.assert_array_equal(images, np.concatenate([low, high]))


def test_unlabelled_images_have_no_labels():
  (batch,) = host_batches(dataset(labelled=False), 0, [0], 4)
  assert batch[1] is None


def test_an_error_reaches_the_caller():
  with pytest.raises(ValueError, match='batch_size is 21'):
    next(host_batches(dataset(), 0, range(3), 21))


def test_a_generator_that_is_left_leaves_no_thread():
  others = set(threading.enumerate())  # Of tests before this one, perhaps.

  def threads():
    new = set(threading.enumerate()) - others
    return sum(thread.name.startswith('prefetch') for thread in new)

  batches = host_batches(dataset(), 0, range(1000), 4)
  next(batches)
  assert threads() == 1
  batches.close()
  assert threads() == 0

"""`load`: validation share, limit, statistics, and what it refuses."""

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest

from gencnp_jax.data import Dataset, images, load
from gencnp_jax.data.dataset import channel_statistics

SHARED = Path(__file__).resolve().parents[2].parent / 'shared' / 'data'


def ids(dataset):
  return [image.tobytes() for image in dataset.images]


@pytest.fixture
def numbered(tmp_path):
  """100 images that are all different, 20 of them for testing."""
  values = np.arange(100, dtype=np.uint8)[:, None, None, None]
  stored = np.broadcast_to(values, (100, 2, 2, 3))
  labels = np.arange(100) % 10
  path = tmp_path / 'numbered.npz'
  np.savez(
    path,
    train_images=stored[:80],
    train_labels=labels[:80],
    test_images=stored[80:],
    test_labels=labels[80:],
  )
  return {'name': 'npz', 'path': str(path)}


def test_digits_are_real_stratified_and_always_the_same(config):
  splits = load(config(name='digits'))
  assert splits.train.images.shape == (1437, 32, 32, 3)
  assert splits.test.images.shape == (360, 32, 32, 3)
  assert splits.train.class_names == tuple('0123456789')
  assert splits.train.images.max() == 255 and splits.train.images.min() == 0
  counts = np.bincount(splits.test.labels)
  assert counts.min() >= 34 and counts.max() <= 38
  # 4x4 blocks of one value: the 8x8 pixels, and nothing made up.
  blocks = splits.test.images.reshape(360, 8, 4, 8, 4, 3)
  assert np.all(blocks == blocks[:, :, :1, :, :1, :1])
  digest = hashlib.sha256(splits.test.images[:, ::4, ::4, 0].tobytes())
  assert digest.hexdigest()[:16] == 'ac6ada28192bd51a'


def test_the_validation_share_is_carved_out_of_train(numbered, config):
  whole = load(config(**numbered))
  splits = load(config(**numbered, validation_share=0.1), seed=1)
  assert len(splits.validation.images) == 8
  assert sorted(ids(splits.train) + ids(splits.validation)) == sorted(
    ids(whole.train)
  )
  assert ids(splits.test) == ids(whole.test)
  for split in splits:
    values = split.images[:, 0, 0, 0]
    np.testing.assert_array_equal(split.labels, values % 10)
  again = load(config(**numbered, validation_share=0.1), seed=1)
  assert ids(again.validation) == ids(splits.validation)
  other = load(config(**numbered, validation_share=0.1), seed=2)
  assert ids(other.validation) != ids(splits.validation)


def test_a_share_is_carved_out_block_by_block(tmp_path, config):
  values = np.arange(5000, dtype=np.uint16).view(np.uint8).reshape(-1, 2)
  stored = np.zeros((5000, 1, 1, 3), np.uint8)
  stored[:, 0, 0, :2] = values
  np.savez(tmp_path / 'a.npz', train_images=stored, test_images=stored[:2])
  given = {'name': 'npz', 'path': str(tmp_path / 'a.npz')}
  splits = load(config(**given, validation_share=0.3), seed=3)
  first, second = (
    split.images[:, 0, 0, 0] + 256 * split.images[:, 0, 0, 1].astype(int)
    for split in (splits.train, splits.validation)
  )
  # Each split in stored order, and every image in one of them.
  assert np.all(np.diff(first) > 0) and np.all(np.diff(second) > 0)
  assert len(second) == 1500
  assert sorted([*first, *second]) == list(range(5000))


def test_training_on_the_test_images_is_said_and_holds_nothing_out(
  numbered, config, caplog
):
  honest = load(config(**numbered))
  with caplog.at_level('INFO', logger='absl'):
    splits = load(config(**numbered, train_on='test', validation_share=0.1))
  assert ids(splits.train) == ids(splits.test) == ids(honest.test)
  np.testing.assert_array_equal(splits.train.labels, honest.test.labels)
  assert splits.train.images is splits.test.images
  assert splits.validation is None
  assert 'data.validation_share=0.1 is ignored' in caplog.text
  # What checkpoints, tables and reports call the data.
  for split in (splits.train, splits.test):
    assert split.name == 'numbered, trained on its test images'
  assert honest.test.name == 'numbered'
  assert splits.train.class_names == honest.train.class_names
  mean, std = channel_statistics(honest.test.images)
  assert (splits.train.mean, splits.train.std) == (mean, std)
  assert mean != honest.train.mean
  caplog.clear()
  with caplog.at_level('INFO', logger='absl'):
    small = load(config(**numbered, train_on='test', limit=5))
  assert 'ignored' not in caplog.text
  assert (
    ids(small.train)
    == ids(small.test)
    == ids(load(config(**numbered, limit=5)).test)
  )


def test_any_source_can_be_trained_on_its_test_images(tmp_path, config):
  digits = load(config(name='digits', train_on='test'))
  assert len(digits.train.images) == len(digits.test.images) == 360
  # One split gives its fixed fifth away, and that is trained on.
  stored = np.arange(20, dtype=np.uint8)[:, None, None, None]
  np.savez(tmp_path / 'one.npz', images=stored.repeat(3, axis=3))
  given = {'name': 'npz', 'path': str(tmp_path / 'one.npz')}
  honest, splits = load(config(**given)), load(config(**given, train_on='test'))
  assert ids(splits.train) == ids(honest.test)


def test_a_limit_keeps_the_first_of_a_shuffle(numbered, config):
  small = load(config(**numbered, limit=5))
  large = load(config(**numbered, limit=15))
  assert [len(split.images) for split in (small.train, small.test)] == [5, 5]
  assert ids(large.train)[:5] == ids(small.train)
  assert ids(large.test)[:5] == ids(small.test)
  assert small.train.labels.tolist() != list(range(5))
  assert len(load(config(**numbered, limit=1000)).train.images) == 80


def test_a_limit_moves_nothing_from_one_split_to_another(numbered, config):
  whole = load(config(**numbered, validation_share=0.25))
  small = load(config(**numbered, validation_share=0.25, limit=10))
  for some, every in zip(small, whole):
    assert len(some.images) == 10
    assert set(ids(some)) <= set(ids(every))


def test_statistics_are_those_of_the_training_split(tmp_path, config):
  rng = np.random.default_rng(0)
  train = rng.integers(0, 256, (1500, 4, 5, 3), np.uint8)
  train[..., 1] = 90
  test = np.zeros((2, 4, 5, 3), np.uint8)
  np.savez(tmp_path / 'a.npz', train_images=train, test_images=test)
  splits = load(config(name='npz', path=str(tmp_path / 'a.npz')))
  reference = train.astype(np.float64) / 255
  np.testing.assert_allclose(splits.train.mean, reference.mean((0, 1, 2)))
  wanted = reference.std((0, 1, 2))
  wanted[1] = 1 / 255  # A constant channel must not divide by zero.
  np.testing.assert_allclose(splits.train.std, wanted)
  assert splits.test.mean == splits.train.mean
  assert channel_statistics(train) == (splits.train.mean, splits.train.std)


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'name': 'cifar'}, r"data\.name is 'cifar'.*did you mean 'cifar10'"),
    ({'name': 'zzz'}, 'cifar10, digits, downsampled_imagenet, folder, npz, t'),
    ({'name': 'npz'}, r"data\.path is empty.*'npz'"),
    ({'name': 'tfds'}, r'data\.path is empty'),
    (
      {'name': 'downsampled_imagenet'},
      r"path is empty.*'downsampled_imagenet'",
    ),
    ({'train_on': 'val'}, r"data\.train_on is 'val'.*one of train, test$"),
    ({'validation_share': 1.0}, r'data\.validation_share is 1\.0'),
    ({'validation_share': -0.1}, r'data\.validation_share is -0\.1'),
    ({'validation_share': 1e-6}, 'validation_share: .* leaves one side empty'),
    ({'limit': -1}, r'data\.limit is -1'),
    ({'image_size': -8}, r'data\.image_size is -8'),
  ],
)
def test_a_value_that_means_nothing_is_named(config, fields, message):
  with pytest.raises(ValueError, match=message):
    load(config(**fields))


def test_a_dataset_made_by_hand_is_checked():
  pixels = np.zeros((2, 4, 4, 3), np.uint8)
  with pytest.raises(ValueError, match=r'mine: labels are int64'):
    Dataset(pixels, np.array([0, 1]), ('a', 'b'), 'mine', (0,) * 3, (1,) * 3)


def test_a_terminal_gets_a_bar_and_a_log_gets_lines(monkeypatch, caplog):
  class Terminal(io.StringIO):
    def isatty(self):
      return True

  terminal = Terminal()
  monkeypatch.setattr(images.sys, 'stderr', terminal)
  assert list(images.progress([2, 3], 5, 'Decoding')) == [2, 3]
  assert 'Decoding' in terminal.getvalue()

  log = io.StringIO()
  clock = iter(range(0, 1000, 6))
  monkeypatch.setattr(images.sys, 'stderr', log)
  monkeypatch.setattr(images.time, 'monotonic', lambda: next(clock))
  with caplog.at_level('INFO', logger='absl'):
    assert list(images.progress([2] * 4, 8, 'Decoding')) == [2] * 4
  assert 'Decoding: 4 of 8' in caplog.text and log.getvalue() == ''


@pytest.mark.parametrize(
  ('path', 'side', 'classes', 'train', 'test'),
  [
    ('imagenette-32', 32, 10, 9469, 3925),
    # JPEG bytes. One split alone, since decoding both takes ten seconds.
    ('tiny-imagenet-200/val.npz', 64, 200, 8000, 2000),
    pytest.param(
      'tiny-imagenet-200', 64, 200, 40000, 10000, marks=pytest.mark.long
    ),
  ],
)
def test_real_photos(config, path, side, classes, train, test):
  if not (SHARED / path).exists():
    pytest.skip(f'{path} is not beside this checkout (../shared/data)')
  splits = load(config(name='npz', path=str(SHARED / path)))
  assert splits.train.images.shape == (train, side, side, 3)
  assert splits.test.images.shape == (test, side, side, 3)
  assert len(splits.train.class_names) == classes
  assert set(splits.train.labels.tolist()) == set(range(classes))
  # Photos, not noise: neighbouring pixels look alike.
  sample = splits.test.images[:500].astype(np.float32)
  assert np.abs(np.diff(sample, axis=2)).mean() < 0.6 * sample.std()

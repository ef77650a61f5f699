"""Arrays on disk, in all forms, and what is wrong with others."""

import io

import numpy as np
import pytest
from PIL import Image

from gencnp_jax.data import load


def images(count, side=6, channels=3, seed=0):
  shape = (count, side, side, channels)
  return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def save_jpeg(path, modes, **extra):
  """One 8x8 JPEG file a mode; -> what they decode to, as RGB."""
  files, pixels = [], []
  for seed, mode in enumerate(modes):
    image = Image.fromarray(images(1, 8, seed=seed)[0]).convert(mode)
    buffer = io.BytesIO()
    image.save(buffer, 'jpeg')
    files.append(buffer.getvalue())
    pixels.append(np.asarray(Image.open(buffer).convert('RGB')))
  lengths = [len(file) for file in files]
  fields = {
    'jpeg': np.frombuffer(b''.join(files), np.uint8),
    'offsets': np.cumsum([0, *lengths]),
    'labels': np.arange(len(modes), dtype=np.int16) % 2,
    'names': np.array([f'{row}.JPEG' for row in range(len(modes))]),
  }
  np.savez(path, **{**fields, **extra})
  return np.stack(pixels)


def test_one_file_with_both_splits(tmp_path, config):
  train, test = images(8), images(4, seed=1)
  path = tmp_path / 'mine.npz'
  np.savez(
    path,
    train_images=train,
    train_labels=np.arange(8) % 4,
    test_images=test,
    test_labels=np.arange(4),
  )
  splits = load(config(name='npz', path=str(path)))
  np.testing.assert_array_equal(splits.train.images, train)
  np.testing.assert_array_equal(splits.test.images, test)
  assert splits.test.labels.dtype == np.int32
  assert splits.train.class_names == ('0', '1', '2', '3')
  assert splits.train.name == 'mine' and splits.validation is None


def test_one_split_gives_a_fixed_fifth_away(tmp_path, config):
  path = tmp_path / 'one.npz'
  stored = images(20)
  np.savez(path, images=stored, labels=np.arange(20) % 3)
  splits = load(config(name='npz', path=str(path)))
  assert len(splits.train.images) == 16 and len(splits.test.images) == 4
  together = np.concatenate([splits.train.images, splits.test.images])
  assert {row.tobytes() for row in together} == {
    row.tobytes() for row in stored
  }
  other = load(config(name='npz', path=str(path)), seed=5)
  np.testing.assert_array_equal(other.test.images, splits.test.images)


def test_unlabelled_images_are_legal(tmp_path, config):
  path = tmp_path / 'one.npz'
  np.savez(path, images=images(20))
  splits = load(config(name='npz', path=str(path), validation_share=0.25))
  for split in splits:
    assert split.labels is None and split.class_names == ()
  assert len(splits.validation.images) == 4


def test_grey_images_become_rgb(tmp_path, config):
  grey = images(5, channels=1)
  for name, stored in (('with', grey), ('without', grey[..., 0])):
    np.savez(tmp_path / f'{name}.npz', images=stored)
    read = load(config(name='npz', path=str(tmp_path / f'{name}.npz')))
    assert read.train.images.shape == (4, 6, 6, 3)
    assert np.ptp(read.train.images, axis=-1).max() == 0


def test_a_folder_with_jpeg_bytes(tmp_path, config):
  train = save_jpeg(tmp_path / 'train.npz', ['RGB', 'L', 'RGB'])
  test = save_jpeg(tmp_path / 'val.npz', ['L', 'RGB'])
  (tmp_path / 'classes.txt').write_text('0\tn01\ta fish\n1\tn02\ta dog\n')
  splits = load(config(name='npz', path=str(tmp_path)))
  np.testing.assert_array_equal(splits.train.images, train)
  np.testing.assert_array_equal(splits.test.images, test)
  assert splits.train.labels.tolist() == [0, 1, 0]
  assert splits.train.class_names == ('a fish', 'a dog')
  assert splits.train.name == tmp_path.name


def test_trained_on_the_test_images_no_other_is_decoded(tmp_path, config):
  # Five training classes, two of them tested; what is no JPEG stays unread.
  broken = np.zeros(9, np.uint8)
  np.savez(
    tmp_path / 'train.npz', jpeg=broken, offsets=[0, 9], labels=np.array([4])
  )
  test = save_jpeg(tmp_path / 'val.npz', ['L', 'RGB'])
  splits = load(config(name='npz', path=str(tmp_path), train_on='test'))
  np.testing.assert_array_equal(splits.train.images, test)
  assert splits.train.class_names == ('0', '1', '2', '3', '4')


def test_images_are_resized_by_area(tmp_path, config, halved):
  stored = images(10, side=8)
  np.savez(tmp_path / 'a.npz', images=stored)
  path = str(tmp_path / 'a.npz')
  full = load(config(name='npz', path=path)).test.images
  half = load(config(name='npz', path=path, image_size=4)).test.images
  np.testing.assert_array_equal(half, halved(full))


@pytest.mark.parametrize(
  ('fields', 'message'),
  [
    ({'pictures': images(4)}, 'it needs images and labels'),
    ({'images': images(4).astype(np.float32)}, r'float32.*must be uint8'),
    ({'images': images(4)[..., :2]}, r'\[4, 6, 6, 2\].*\[n, h, w, 3\]'),
    ({'images': images(0)}, 'there are no images'),
    ({'images': images(4), 'labels': np.arange(3)}, r'labels.*int32 \[4\]'),
    ({'images': images(4), 'labels': np.ones(4)}, 'labels are float64'),
    ({'images': images(4), 'labels': np.arange(4) - 1}, 'from -1 to 2'),
    ({'train_images': images(4)}, 'no test_images'),
    (
      {
        'images': images(4),
        'labels': np.arange(4),
        'class_names': np.array(['a', 'b']),
      },
      r'from 0 to 3.*0\.\.1',
    ),
  ],
)
def test_arrays_that_are_no_data_set_are_refused(
  tmp_path, config, fields, message
):
  np.savez(tmp_path / 'a.npz', **fields)
  with pytest.raises(ValueError, match=message):
    load(config(name='npz', path=str(tmp_path / 'a.npz')))


@pytest.mark.parametrize('offsets', [[0, 5, 9], [1, 400, 900], [0, 900, 400]])
def test_wrong_offsets_are_refused(tmp_path, config, offsets):
  save_jpeg(tmp_path / 'train.npz', ['RGB', 'RGB'], offsets=np.array(offsets))
  with pytest.raises(ValueError, match='offsets do not cut'):
    load(config(name='npz', path=str(tmp_path)))


def test_a_broken_jpeg_is_named(tmp_path, config):
  save_jpeg(tmp_path / 'train.npz', ['RGB', 'RGB'])
  with np.load(tmp_path / 'train.npz') as file:
    fields = dict(file)
  fields['jpeg'] = fields['jpeg'].copy()
  fields['jpeg'][fields['offsets'][1] :] = 0
  np.savez(tmp_path / 'train.npz', **fields)
  with pytest.raises(ValueError, match='image 1 cannot be decoded'):
    load(config(name='npz', path=str(tmp_path)))


def test_a_truncated_file_is_named_with_its_remedy(tmp_path, config):
  path = tmp_path / 'cut.npz'
  np.savez(path, images=images(50))
  path.write_bytes(path.read_bytes()[:3000])
  with pytest.raises(ValueError, match=r'cut\.npz is damaged.*download'):
    load(config(name='npz', path=str(path)))


def test_what_is_missing_is_named(tmp_path, config):
  with pytest.raises(ValueError, match=r'data\.path .* does not exist'):
    load(config(name='npz', path=str(tmp_path / 'none.npz')))
  with pytest.raises(ValueError, match=r"no train\*\.npz.*'folder'"):
    load(config(name='npz', path=str(tmp_path)))
  for name in ('train_a', 'train_b'):
    np.savez(tmp_path / f'{name}.npz', images=images(2))
  with pytest.raises(ValueError, match=r'several.*train_a\.npz, train_b\.npz'):
    load(config(name='npz', path=str(tmp_path)))

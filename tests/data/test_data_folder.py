"""Class folders of images."""

import numpy as np
import pytest
from PIL import Image

from gencnp_jax.data import load


def put(root, path, size=(6, 6), value=0, mode='RGB'):
  (root / path).parent.mkdir(parents=True, exist_ok=True)
  Image.new('RGB', size, (value, 10, 20)).convert(mode).save(root / path)


@pytest.fixture
def root(tmp_path):
  put(tmp_path, 'train/dog/a.png', value=1)
  put(tmp_path, 'train/dog/deeper/b.PNG', value=2)
  put(tmp_path, 'train/cat/c.png', value=3)
  put(tmp_path, 'val/dog/d.png', value=4)
  (tmp_path / 'train' / 'cat' / 'notes.txt').write_text('no image')
  return tmp_path


def test_classes_are_the_sorted_folders(root, config):
  splits = load(config(name='folder', path=str(root)))
  assert splits.train.class_names == ('cat', 'dog')
  assert splits.train.labels.tolist() == [0, 1, 1]
  assert splits.train.images[:, 0, 0, 0].tolist() == [3, 1, 2]
  assert splits.test.labels.tolist() == [1]
  assert splits.test.images.shape == (1, 6, 6, 3)


def test_test_goes_before_val(root, config):
  put(root, 'test/cat/e.png', value=9)
  splits = load(config(name='folder', path=str(root)))
  assert splits.test.images[0, 0, 0].tolist() == [9, 10, 20]


def test_any_mode_becomes_rgb(root, config):
  for mode in ('L', 'RGBA', 'P'):
    put(root, f'train/cat/{mode}.png', mode=mode)
  splits = load(config(name='folder', path=str(root)))
  assert splits.train.images.shape == (6, 6, 6, 3)


def test_sizes_that_differ_need_an_image_size(root, config):
  put(root, 'train/cat/wide.png', size=(12, 6))
  with pytest.raises(ValueError, match=r'6x12 pixels.*set data\.image_size'):
    load(config(name='folder', path=str(root)))
  splits = load(config(name='folder', path=str(root), image_size=3))
  assert splits.train.images.shape == (4, 3, 3, 3)


def test_the_centred_square_is_kept(root, config):
  pixels = np.zeros((6, 10, 3), np.uint8)
  pixels[:, 2:8] = 200
  Image.fromarray(pixels).save(root / 'val' / 'dog' / 'd.png')
  splits = load(config(name='folder', path=str(root), image_size=6))
  assert np.all(splits.test.images == 200)


def test_a_broken_image_is_named(root, config):
  broken = root / 'train' / 'dog' / 'a.png'
  broken.write_bytes(broken.read_bytes()[:40])
  with pytest.raises(ValueError, match=r'a\.png cannot be decoded'):
    load(config(name='folder', path=str(root)))


def test_a_class_that_train_lacks_is_named(root, config):
  put(root, 'val/horse/f.png')
  with pytest.raises(ValueError, match='train does not have: horse'):
    load(config(name='folder', path=str(root)))


def test_folders_that_are_missing_or_empty_are_named(tmp_path, config):
  with pytest.raises(ValueError, match='no folder named train'):
    load(config(name='folder', path=str(tmp_path)))
  (tmp_path / 'train' / 'dog').mkdir(parents=True)
  with pytest.raises(ValueError, match='holds no images'):
    load(config(name='folder', path=str(tmp_path)))

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


SYNSETS = ('n01', 'n02', 'n03')
WORDS = """n00	entity
n01	goldfish, Carassius auratus
n03	bullfrog, Rana catesbeiana
"""


@pytest.fixture
def tiny_imagenet(tmp_path):
  """The official layout, as it is unzipped."""
  for row, synset in enumerate(SYNSETS):
    put(tmp_path, f'train/{synset}/images/{synset}_0.JPEG', value=row)
    (tmp_path / 'train' / synset / f'{synset}_boxes.txt').write_text('0\t1')
  lines = []
  # The files are not in the order of their classes, nor the lines in theirs.
  for row, synset in ((3, 'n02'), (0, 'n03'), (2, 'n01'), (1, 'n02')):
    put(tmp_path, f'val/images/val_{row}.JPEG', value=10 * row)
    lines.append(f'val_{row}.JPEG\t{synset}\t0\t0\t62\t62\n')
  (tmp_path / 'val' / 'val_annotations.txt').write_text(''.join(lines))
  put(tmp_path, 'test/images/test_0.JPEG', value=200)
  (tmp_path / 'words.txt').write_text(WORDS)
  (tmp_path / 'wnids.txt').write_text('n02\nn01\nn03\n')
  return tmp_path


def test_tiny_imagenet_is_read_as_it_is_unzipped(tiny_imagenet, config, caplog):
  with caplog.at_level('INFO', logger='absl'):
    splits = load(config(name='folder', path=str(tiny_imagenet)))
  assert splits.train.labels.tolist() == [0, 1, 2]
  # As the lines have them; JPEG is off by a little.
  assert splits.test.labels.tolist() == [1, 2, 0, 1]
  red = splits.test.images[:, 0, 0, 0].astype(int)
  np.testing.assert_allclose(red, [30, 0, 20, 10], atol=4)
  # The first of the names; the synset where there is none.
  assert splits.train.class_names == ('goldfish', 'n02', 'bullfrog')
  assert 'val is the test split' in caplog.text


def test_a_labelled_test_folder_still_goes_first(tiny_imagenet, config):
  put(tiny_imagenet, 'test/n03/e.png', value=90)
  (tiny_imagenet / 'test' / 'images' / 'test_0.JPEG').unlink()
  (tiny_imagenet / 'test' / 'images').rmdir()
  splits = load(config(name='folder', path=str(tiny_imagenet)))
  assert splits.test.labels.tolist() == [2]


def test_unlabelled_images_alone_are_refused(tiny_imagenet, config):
  (tiny_imagenet / 'val').rename(tiny_imagenet / 'validation')
  with pytest.raises(ValueError, match=r'test has classes.*not have: images'):
    load(config(name='folder', path=str(tiny_imagenet)))


def test_annotations_left_beside_class_folders_do_no_harm(root, config):
  (root / 'val' / 'val_annotations.txt').write_text('gone.JPEG\tdog\n')
  splits = load(config(name='folder', path=str(root)))
  assert splits.test.labels.tolist() == [1]


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    (lambda text: text[: len(text) // 2], r'has no line for val_[12]\.JPEG'),
    (lambda text: text + 'x.JPEG\tn01\t0\n', r'files that are not there: x\.J'),
    (lambda text: text + 'x.JPEG\tn09\t0\n', r"line 5: 'n09' is no class of"),
    (lambda text: text.replace('\t', ' '), r"line 1: '' is no class of"),
    (lambda text: '', r'has no line for val_0\.JPEG, val_1'),
  ],
)
def test_damaged_annotations_are_named(tiny_imagenet, config, change, message):
  path = tiny_imagenet / 'val' / 'val_annotations.txt'
  # Whole lines alone, so that the text itself is legal.
  text = change(path.read_text())
  path.write_text(text[: text.rfind('\n') + 1])
  with pytest.raises(ValueError, match=rf'val_annotations\.txt.* {message}'):
    load(config(name='folder', path=str(tiny_imagenet)))


def test_damaged_words_are_named(tiny_imagenet, config):
  (tiny_imagenet / 'words.txt').write_text(WORDS + 'n02 spaces\n')
  with pytest.raises(ValueError, match=r"words\.txt, line 4: 'n02 spaces' is"):
    load(config(name='folder', path=str(tiny_imagenet)))


def test_trained_on_the_test_images_no_other_is_decoded(root, config):
  broken = root / 'train' / 'dog' / 'a.png'
  broken.write_bytes(broken.read_bytes()[:40])
  splits = load(config(name='folder', path=str(root), train_on='test'))
  assert splits.train.images[:, 0, 0, 0].tolist() == [4]
  assert splits.train.class_names == ('cat', 'dog')

"""Image files of every form: damaged, foreign, larger than memory."""

import io
import pathlib
import struct
import zlib

import ml_collections
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image

from gencnp_jax.data import load, photos
from tests.fuzz import cases

# Pillow warns of what it reads all the same.
pytestmark = pytest.mark.filterwarnings('ignore')
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 10, 3)).astype(np.uint8)
RGB = Image.fromarray(PIXELS)
DEEP = Image.fromarray(RNG.integers(0, 65536, (9, 9)).astype(np.uint16))
TURNED = Image.Exif()
TURNED[274] = 6


def _encoded(image, form, **options):
  file = io.BytesIO()
  image.save(file, form, **options)
  return file.getvalue()


FILES = {
  'png': _encoded(RGB, 'PNG'),
  'png exif': _encoded(RGB, 'PNG', exif=TURNED),
  'png palette': _encoded(RGB.quantize(16), 'PNG', transparency=3),
  'png 16 bits': _encoded(DEEP, 'PNG'),
  'png alpha': _encoded(RGB.convert('RGBA'), 'PNG'),
  'png grey alpha': _encoded(RGB.convert('LA'), 'PNG'),
  'png bits': _encoded(RGB.convert('1'), 'PNG'),
  'png animated': _encoded(
    RGB, 'PNG', save_all=True, append_images=[RGB.rotate(90)]
  ),
  'jpeg': _encoded(RGB, 'JPEG'),
  'jpeg exif': _encoded(RGB, 'JPEG', exif=TURNED),
  'jpeg cmyk': _encoded(RGB.convert('CMYK'), 'JPEG'),
  'jpeg grey': _encoded(RGB.convert('L'), 'JPEG', progressive=True),
  'gif': _encoded(RGB, 'GIF'),
  'gif animated': _encoded(
    RGB, 'GIF', save_all=True, append_images=[RGB.rotate(90), RGB]
  ),
  'bmp': _encoded(RGB, 'BMP'),
  'bmp palette': _encoded(RGB.quantize(16), 'BMP'),
  'webp': _encoded(RGB, 'WEBP'),
  'webp lossless': _encoded(RGB, 'WEBP', lossless=True),
  'tiff': _encoded(RGB, 'TIFF'),
  'tiff lzw': _encoded(RGB, 'TIFF', compression='tiff_lzw'),
  'tiff deflate': _encoded(RGB, 'TIFF', compression='tiff_adobe_deflate'),
  'tiff 16 bits': _encoded(DEEP, 'TIFF'),
  'tiff cmyk': _encoded(RGB.convert('CMYK'), 'TIFF'),
  'tiff pages': _encoded(RGB, 'TIFF', save_all=True, append_images=[RGB]),
  'ppm': _encoded(RGB, 'PPM'),
  'pgm': _encoded(RGB.convert('L'), 'PPM'),
  # What Pillow knows besides, whatever the name says.
  'dds': _encoded(RGB, 'DDS'),
  'spider': _encoded(RGB.convert('F'), 'SPIDER'),
}


@pytest.fixture(autouse=True)
def _small_bombs(monkeypatch):
  """Lets no damaged size take seconds; twice as many pixels are a bomb."""
  monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 1 << 18)


@cases.several(
  15,
  1200,
  content=st.sampled_from(sorted(FILES)).flatmap(
    lambda name: cases.damaged(FILES[name])
  ),
  suffix=st.sampled_from(('.png', '.jpg', '.tif')),
)
def test_it_is_an_image_or_named(tmp_path, content, suffix):
  path = tmp_path / f'mine{suffix}'
  path.write_bytes(content)
  try:
    photo = photos.read(path, 8)
  except ValueError as error:
    assert str(error).startswith(f'{path}: not an image that Pillow reads')
    return
  assert photo.pixels.shape == (8, 8, 3) and photo.pixels.dtype == np.uint8
  assert min(photo.stored) > 0


@cases.several(
  15,
  500,
  name=st.sampled_from([name for name in FILES if name.startswith('png')]),
  data=st.data(),
)
def test_damage_to_a_file_with_checksums_changes_no_pixel(tmp_path, name, data):
  path = tmp_path / 'mine.png'
  path.write_bytes(FILES[name])
  before = photos.read(path, (12, 10))
  path.write_bytes(data.draw(cases.damaged(FILES[name], kinds=('flip', 'set'))))
  try:
    after = photos.read(path, (12, 10))
  except ValueError as error:
    assert str(path) in str(error)
    return
  # Pillow reads a PNG with a damaged signature as nothing else.
  np.testing.assert_array_equal(after.pixels, before.pixels)


def _folder(path, **fields):
  defaults = {
    'name': 'folder',
    'path': str(path),
    'dir': '',
    'train_on': 'train',
    'image_size': 8,
    'validation_share': 0.0,
    'limit': 0,
  }
  return load(ml_collections.ConfigDict(defaults | fields))


@cases.several(
  5,
  200,
  content=st.sampled_from(sorted(FILES)).flatmap(
    lambda name: cases.damaged(FILES[name])
  ),
)
def test_a_folder_names_the_damaged_one(tmp_path, content):
  for split in ('train', 'test'):
    for name in ('cat', 'dog'):
      (tmp_path / split / name).mkdir(parents=True, exist_ok=True)
      (tmp_path / split / name / 'whole.png').write_bytes(FILES['png'])
  path = tmp_path / 'train' / 'dog' / 'damaged.png'
  path.write_bytes(content)
  try:
    splits = _folder(tmp_path)
  except ValueError as error:
    assert str(error).startswith(f'{path} cannot be decoded (')
    assert 'repair or remove it' in str(error)
    return
  assert splits.train.images.shape == (3, 8, 8, 3)
  assert splits.train.labels.tolist() == [0, 1, 1]


@cases.several(
  10,
  300,
  name=st.sampled_from(('words.txt', 'val/val_annotations.txt')),
  data=st.data(),
)
def test_damaged_texts_of_a_folder_are_named(tmp_path, name, data):
  """Of Tiny-ImageNet: what cannot be noticed is a letter of a name."""
  texts = {
    'words.txt': b'n01\tcat, a pet\nn02\tdog\n',
    'val/val_annotations.txt': b'a.png\tn01\t0\t0\t9\t9\nb.png\tn02\t0\t0\t9\t9\n',
  }
  for folder in ('train/n01', 'train/n02', 'val/images'):
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    for file in ('a.png', 'b.png'):
      (tmp_path / folder / file).write_bytes(FILES['png'])
  for text, content in texts.items():
    (tmp_path / text).write_bytes(content)
  (tmp_path / name).write_bytes(data.draw(cases.damaged(texts[name])))
  try:
    splits = _folder(tmp_path)
  except ValueError as error:
    assert str(tmp_path / name) in str(error), error
    return
  assert len(splits.test.class_names) == 2
  if name == 'words.txt':
    assert splits.test.labels.tolist() == [0, 1]


def _png(width, height, kind=2):
  def chunk(name, content):
    body = name + content
    sums = struct.pack('>I', zlib.crc32(body))
    return struct.pack('>I', len(content)) + body + sums

  header = struct.pack('>IIBBBBB', width, height, 8, kind, 0, 0, 0)
  return (
    b'\x89PNG\r\n\x1a\n'
    + chunk(b'IHDR', header)
    + chunk(b'IDAT', zlib.compress(bytes(100)))
    + chunk(b'IEND', b'')
  )


@pytest.mark.parametrize(
  'content',
  [
    b'',
    b'\0',
    b'GIF89a',
    b'P6 0 0 255\n',
    b'P6 99999999999999999999 1 255\n',
    _png(0, 0),
    _png(2**31 - 1, 2**31 - 1),
    _png(60_000, 60_000),
    b'BM' + bytes(60),
    b'II*\0' + b'\xff' * 4,
    b'RIFF\xff\xff\xff\xffWEBPVP8 ',
  ],
)
def test_an_image_of_nothing_or_of_all_memory_is_named(tmp_path, content):
  path = tmp_path / 'mine.png'
  path.write_bytes(content)
  with pytest.raises(ValueError, match=r'mine\.png: not an image') as raised:
    photos.read(path, 8)
  assert '()' not in str(raised.value) and '\n' not in str(raised.value)


def test_postscript_is_not_run(tmp_path, monkeypatch):
  """Pillow knows it whatever its name, and would start Ghostscript."""
  path = tmp_path / 'mine.png'
  RGB.save(path, 'EPS')
  monkeypatch.setattr('PIL.EpsImagePlugin.Ghostscript', pytest.fail)
  with pytest.raises(ValueError, match='PostScript is a program'):
    photos.read(path, 8)


@pytest.mark.parametrize('shape', [(1, 3000), (3000, 1), (7, 2999)])
@pytest.mark.parametrize('size', [1, 8, (5, 3)])
def test_the_thinnest_image_has_a_middle(tmp_path, shape, size):
  path = tmp_path / 'mine.png'
  Image.fromarray(np.full(shape, 7, np.uint8)).save(path)
  photo = photos.read(path, size)
  assert (photo.pixels == 7).all()


@cases.several(
  10,
  200,
  name=st.text(max_size=6)
  | st.sampled_from(('~nobody/*', 'a' * 5000, '[', '**', '\0.png', '\ud800')),
)
def test_names_of_no_file_are_said(tmp_path, name):
  path = str(pathlib.Path(tmp_path, 'none', name)) if name[:1] != '~' else name
  with pytest.raises(ValueError, match=r'^image '):
    photos.find([path])

"""A person's own files: every form of image, and what is none."""

import numpy as np
import pytest
from PIL import Image

from gencnp_jax.data import images as images_lib
from gencnp_jax.data import photos

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (8, 8, 3)).astype(np.uint8)


def _write(path, image, **options):
  image.save(path, **options)
  return path


def test_an_image_of_the_right_size_is_read_as_it_is(tmp_path):
  photo = photos.read(_write(tmp_path / 'a.png', Image.fromarray(PIXELS)), 8)
  np.testing.assert_array_equal(photo.pixels, PIXELS)
  assert photo.pixels.dtype == np.uint8
  assert photo.stored == (8, 8)
  assert photo.notes == ()


def test_another_size_is_said(tmp_path, caplog):
  wide = Image.fromarray(np.zeros((20, 30, 3), np.uint8))
  photo = photos.read(_write(tmp_path / 'wide.png', wide), 8)
  assert photo.pixels.shape == (8, 8, 3)
  assert photo.stored == (30, 20)
  assert photo.notes == ('the central square of 30x20 resized to 8x8',)
  square = Image.fromarray(np.zeros((4, 4, 3), np.uint8))
  photo = photos.read(_write(tmp_path / 'small.png', square), 8)
  assert photo.notes == ('4x4 resized to 8x8',)


def test_the_central_square_is_averaged(tmp_path):
  """Columns 2 and 3 of six, in blocks of two by two."""
  pixels = np.zeros((4, 8, 3), np.uint8)
  pixels[:, 2:6] = 200
  pixels[0, 2] = 0
  photo = photos.read(_write(tmp_path / 'a.png', Image.fromarray(pixels)), 2)
  np.testing.assert_array_equal(photo.pixels[..., 0], [[150, 200], [200, 200]])


@pytest.mark.parametrize('mode', ['L', '1'])
def test_grey(tmp_path, mode):
  grey = Image.fromarray(PIXELS).convert(mode)
  photo = photos.read(_write(tmp_path / 'grey.png', grey), 8)
  for channel in range(3):
    np.testing.assert_array_equal(
      photo.pixels[..., channel], np.asarray(grey.convert('L'))
    )
  assert photo.notes == ('grey',)


def test_sixteen_bits_keep_their_scale(tmp_path):
  """Pillow's own conversion would make all but the darkest white."""
  values = np.linspace(0, 65535, 64).reshape(8, 8).astype(np.uint16)
  photo = photos.read(_write(tmp_path / 'deep.png', Image.fromarray(values)), 8)
  np.testing.assert_array_equal(photo.pixels[..., 0], values // 257)
  assert photo.pixels.max() == 255 and np.unique(photo.pixels).size == 64
  assert photo.notes == ('16-bit grey',)


def test_transparency_is_shown_on_white(tmp_path):
  rgba = np.dstack([PIXELS, np.full((8, 8), 255, np.uint8)])
  rgba[0, 0, 3] = 0
  rgba[0, 1] = (0, 0, 0, 128)
  photo = photos.read(_write(tmp_path / 'a.png', Image.fromarray(rgba)), 8)
  np.testing.assert_array_equal(photo.pixels[0, 0], 255)
  np.testing.assert_allclose(photo.pixels[0, 1], 127, atol=1)
  np.testing.assert_array_equal(photo.pixels[1:], PIXELS[1:])
  assert photo.notes == ('transparent, shown on white',)


def test_a_palette_with_a_transparent_colour(tmp_path):
  image = Image.new('P', (8, 8), 1)
  image.putpalette([0, 0, 0, 10, 20, 30])
  image.putpixel((0, 0), 0)
  path = _write(tmp_path / 'p.png', image, transparency=0)
  photo = photos.read(path, 8)
  np.testing.assert_array_equal(photo.pixels[0, 0], 255)
  np.testing.assert_array_equal(photo.pixels[3, 3], (10, 20, 30))


def test_it_is_turned_as_the_camera_noted(tmp_path):
  exif = Image.Exif()
  exif[0x0112] = 6  # Turn by 90 degrees to the right.
  path = _write(tmp_path / 'a.png', Image.fromarray(PIXELS), exif=exif)
  photo = photos.read(path, 8)
  np.testing.assert_array_equal(photo.pixels, np.rot90(PIXELS, -1))
  assert photo.notes == ('turned as its camera noted',)


def test_the_first_frame_of_several(tmp_path):
  frames = [Image.new('RGB', (8, 8), colour) for colour in ('red', 'blue')]
  path = tmp_path / 'a.gif'
  frames[0].save(path, save_all=True, append_images=frames[1:])
  photo = photos.read(path, 8)
  assert photo.notes[0] == 'the first of 2 frames'
  np.testing.assert_array_equal(photo.pixels[0, 0], (255, 0, 0))


@pytest.mark.parametrize(
  'content', [b'', b'no image', b'\x89PNG\r\n\x1a\n' + b'x' * 40]
)
def test_no_image_is_named(tmp_path, content):
  path = tmp_path / 'cat.png'
  path.write_bytes(content)
  with pytest.raises(ValueError, match=r'cat\.png: not an image'):
    photos.read(path, 8)


def test_a_truncated_image_is_named(tmp_path):
  noise = RNG.integers(0, 256, (64, 64, 3)).astype(np.uint8)
  path = _write(tmp_path / 'cat.jpg', Image.fromarray(noise))
  path.write_bytes(path.read_bytes()[:600])
  with pytest.raises(ValueError, match=r'cat\.jpg: not an image'):
    photos.read(path, 8)


def test_floats_have_no_scale(tmp_path):
  path = _write(tmp_path / 'a.tiff', Image.new('F', (8, 8), 0.5))
  with pytest.raises(ValueError, match='pixels are floats'):
    photos.read(path, 8)


def test_a_bomb_of_pixels_is_an_error_of_ours(tmp_path, monkeypatch):
  path = _write(tmp_path / 'a.png', Image.fromarray(PIXELS))
  monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 10)
  with pytest.raises(ValueError, match='exceeds limit'):
    photos.read(path, 8)


def test_a_transparent_colour_of_rgb(tmp_path):
  image = Image.new('RGB', (8, 8), (10, 20, 30))
  image.putpixel((0, 0), (1, 2, 3))
  path = _write(tmp_path / 'a.png', image, transparency=(1, 2, 3))
  photo = photos.read(path, 8)
  np.testing.assert_array_equal(photo.pixels[0, 0], 255)
  np.testing.assert_array_equal(photo.pixels[1, 1], (10, 20, 30))


def test_wide_integers_of_small_values_are_grey(tmp_path):
  values = np.arange(64, dtype=np.int32).reshape(8, 8)
  path = _write(tmp_path / 'a.tiff', Image.fromarray(values))
  photo = photos.read(path, 8)
  np.testing.assert_array_equal(photo.pixels[..., 0], values)
  assert photo.notes == ('grey',)


def test_a_rectangular_size_takes_the_central_part(tmp_path):
  pixels = np.zeros((8, 8, 3), np.uint8)
  pixels[2:6] = 100
  photo = photos.read(
    _write(tmp_path / 'a.png', Image.fromarray(pixels)), (2, 4)
  )
  np.testing.assert_array_equal(photo.pixels, np.full((2, 4, 3), 100))
  assert photo.notes == ('the central part of 8x8 resized to 4x2',)


def test_plain_rgb_costs_no_copy():
  image = Image.fromarray(PIXELS)
  same, notes = images_lib.to_rgb(image)
  assert same is image and notes == ()


# Names.


@pytest.fixture
def folder(tmp_path):
  for name in ('b.png', 'a.JPG', 'deep/c.png', 'notes.txt'):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b'')
  return tmp_path


def _names(found):
  return [path.name for path in found]


def test_files_folders_and_globs(folder):
  assert _names(photos.find([str(folder)])) == ['a.JPG', 'b.png']
  assert _names(photos.find([f'{folder}/*.png'])) == ['b.png']
  assert _names(photos.find([f'{folder}/**/*.png'])) == ['b.png', 'c.png']
  # What is named twice is explained once, a file of any suffix if it is named.
  given = [f'{folder}/notes.txt', f'{folder}/b.png', str(folder)]
  assert _names(photos.find(given)) == ['notes.txt', 'b.png', 'a.JPG']


def test_a_file_whose_name_looks_like_a_glob(tmp_path):
  (tmp_path / 'cat[1].png').write_bytes(b'')
  assert _names(photos.find([f'{tmp_path}/cat[1].png'])) == ['cat[1].png']


def test_names_that_stand_for_nothing(folder, tmp_path):
  for name, message in (
    (f'{folder}/cat.png', f'{folder} has no such file'),
    (f'{folder}/*.webp', 'no such file'),
    (f'{folder}/nowhere/cat.png', 'There is no folder'),
  ):
    with pytest.raises(ValueError, match=message):
      photos.find([name])
  (tmp_path / 'empty').mkdir()
  with pytest.raises(ValueError, match='holds no images'):
    photos.find([str(tmp_path / 'empty')])

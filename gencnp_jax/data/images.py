"""Image files to one uint8 array: RGB, one size, and a sign of life.

Grey images, palettes, 16 bits, transparency (on white) and the rotation that a
camera notes are brought to what a viewer shows.

Images are brought to a size by cutting out the largest centred square and
averaging areas (Pillow's BOX), so that nothing is stretched or sharpened.
"""

import concurrent.futures
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from absl import logging
from jaxtyping import UInt8
from PIL import ExifTags, Image, ImageOps

# Images a worker decodes before the next sign of life.
BLOCK = 256


def open_whole(file: Any) -> Any:
  """Opens an image file; where it holds checksums, they are right.

  Args:
    file: a path, or an open file.

  Raises:
    Exception: of whatever type, where it is damaged or no image.
  """
  image = Image.open(file)
  if image.format == 'EPS':
    raise ValueError('PostScript is a program, which nobody runs here')
  if image.format == 'PNG':
    # Pillow looks at those of the pixels only when asked, and then closes it.
    image.verify()
    image = Image.open(file)
  return image


def decode(
  count: int,
  open_image: Callable[[int], Any],
  describe: Callable[[int], str],
  image_size: int,
  what: str,
  remedy: str = 'repair or remove it',
) -> UInt8[np.ndarray, 'n h w 3']:
  """Decodes `count` images into one array.

  Args:
    count: number of images.
    open_image: row -> PIL image of any mode; it may raise what it likes.
    describe: row -> how a message names that image.
    image_size: side in pixels; 0 = as stored.
    what: what the progress bar says.
    remedy: what the message says should be done about a damaged image.

  Returns:
    uint8 [count, h, w, 3].

  Raises:
    ValueError: an image cannot be decoded, or sizes differ at image_size 0.
  """
  if count == 0:
    raise ValueError(f'{what}: there are no images')

  def pixels(row: int) -> np.ndarray:
    try:
      with open_image(row) as image:
        return np.asarray(fit(image, image_size))
    except Exception as error:  # Pillow raises a dozen types on damaged bytes.
      said = str(error) or type(error).__name__
      raise ValueError(
        f'{describe(row)} cannot be decoded ({said}); {remedy}'
      ) from error

  first = pixels(0)
  images = np.empty((count, *first.shape), np.uint8)

  def fill(start: int) -> int:
    stop = min(start + BLOCK, count)
    for row in range(start, stop):
      image = pixels(row)
      if image.shape != first.shape:
        raise ValueError(
          f'{describe(row)} has {image.shape[0]}x{image.shape[1]} pixels, '
          f'others {first.shape[0]}x{first.shape[1]}; set data.image_size to '
          'bring all images to one size'
        )
      images[row] = image
    return stop - start

  # Threads, since Pillow decodes outside the interpreter's lock.
  with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    done = pool.map(fill, range(0, count, BLOCK))
    for _ in progress(done, count, what):
      pass
  return images


def fit(image: Any, image_size: int) -> Any:
  """An RGB image of the wanted side; image_size 0 leaves the size alone."""
  image, _ = to_rgb(image)
  return cut(image, image_size, image_size) if image_size else image


def cut(image: Any, height: int, width: int) -> Any:
  """The largest central part of a shape, brought to it by averaging areas."""
  if image.size == (width, height):
    return image
  across, down = image.size
  # Compared as integers, so that a side is either kept whole or cut.
  if across * height > down * width:
    across = down * width / height
  else:
    down = across * height / width
  left, top = (image.width - across) // 2, (image.height - down) // 2
  box = (left, top, left + across, top + down)
  return image.resize((width, height), Image.Resampling.BOX, box=box)


def to_rgb(image: Any) -> tuple[Any, tuple[str, ...]]:
  """An image as a viewer shows it, in RGB, and what was done to it.

  Args:
    image: a PIL image of any mode.

  Returns:
    `(image, notes)`, such as ('16-bit grey',).

  Raises:
    ValueError: an image of floats, whose scale nobody knows.
  """
  notes = []
  transparent = 'transparency' in image.info
  if image.mode == 'RGB' and not transparent and not image.getexif():
    return image, ()
  if image.getexif().get(ExifTags.Base.Orientation, 1) != 1:
    notes.append('turned as its camera noted')
    image = ImageOps.exif_transpose(image)
  if image.mode == 'F':
    raise ValueError(
      'its pixels are floats, whose scale is unknown; save it with 8 or 16 '
      'bits a channel'
    )
  if image.mode.startswith('I'):
    # Pillow's own conversion cuts off at 255.
    pixels = np.asarray(image).astype(np.int64).clip(0, 65535)
    deep = image.mode != 'I' or pixels.max() > 255
    notes.append('16-bit grey' if deep else 'grey')
    image = Image.fromarray((pixels // (257 if deep else 1)).astype(np.uint8))
  elif image.mode in ('L', '1'):
    notes.append('grey')
  if image.mode in ('RGBA', 'LA', 'PA') or transparent:
    notes.append('transparent, shown on white')
    image = image.convert('RGBA')
    white = Image.new('RGBA', image.size, 'white')
    image = Image.alpha_composite(white, image)
  return image.convert('RGB'), tuple(notes)


def resize(
  images: UInt8[np.ndarray, 'n h w 3'], image_size: int, what: str
) -> UInt8[np.ndarray, 'n size size 3']:
  """Brings an array of images to a size; 0 or the same size is free."""
  if image_size == 0 or images.shape[1:3] == (image_size, image_size):
    return images
  return decode(
    len(images),
    open_image=lambda row: Image.fromarray(images[row]),
    describe=lambda row: f'{what}: image {row}',
    image_size=image_size,
    what=f'Resizing {what}',
  )


def progress(steps: Iterable[int], total: int, what: str) -> Iterator[int]:
  """Passes `steps` on and shows how far they add up to `total`.

  Args:
    steps: how much each turn has done.
    total: what they add up to.
    what: the label.

  Yields:
    The steps. A terminal gets a bar, a log file a line every ten seconds.
  """
  if sys.stderr.isatty():
    from tqdm import tqdm

    with tqdm(total=total, desc=what, unit_scale=True, leave=False) as bar:
      for step in steps:
        bar.update(step)
        yield step
    return
  done, said = 0, time.monotonic()
  for step in steps:
    done += step
    if time.monotonic() - said > 10:
      said = time.monotonic()
      logging.info('%s: %d of %d', what, done, total)
    yield step

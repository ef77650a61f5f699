"""A person's own image files, brought to what a target takes."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from absl import logging

from gencnp_jax.data import images as images_lib
from gencnp_jax.data.folder import SUFFIXES
from gencnp_jax.data.paths import expanded

_SUFFIXES = SUFFIXES | {'.gif', '.tif', '.tiff', '.ppm', '.pgm'}


class Photo(NamedTuple):
  """One image file.

  Attributes:
    path: of the file.
    pixels: uint8 `[size, size, 3]`.
    stored: (width, height) in pixels, as a viewer shows it.
    notes: what was done to bring it there; empty for nothing.
  """

  path: Path
  pixels: np.ndarray
  stored: tuple[int, int]
  notes: tuple[str, ...]


def find(names: Sequence[str]) -> list[Path]:
  """Returns the files that names stand for, in their order, each once.

  Args:
    names: files, folders (their images, not those in folders below) and globs.

  Raises:
    ValueError: a name that stands for nothing.
  """
  found: dict[Path, None] = {}
  for name in names:
    path = expanded(name, 'image')
    if path.is_dir():
      files = [p for p in path.iterdir() if p.suffix.lower() in _SUFFIXES]
      if not files:
        raise ValueError(
          f'image {name}: the folder holds no images '
          f'({", ".join(sorted(_SUFFIXES))}).'
        )
    elif path.exists():
      files = [path]
    else:
      files = [Path(p) for p in glob.glob(str(path), recursive=True)]
      files = [p for p in files if p.is_file()]
      if not files:
        near = f'{path.parent} has no such file.'
        if not path.parent.exists():
          near = f'There is no folder {path.parent}.'
        raise ValueError(f'image {name}: no such file. {near}')
    found |= dict.fromkeys(sorted(files))
  return list(found)


def read(path: Path, size: int | tuple[int, int]) -> Photo:
  """Reads one image file; a log line says what was done to it.

  Args:
    path: of the file.
    size: side in pixels that the target takes, or (height, width).

  Raises:
    ValueError: no image, or a damaged one.
  """
  height, width = (size, size) if isinstance(size, int) else size
  try:
    with images_lib.open_whole(path) as image:
      frames = getattr(image, 'n_frames', 1)
      rgb, notes = images_lib.to_rgb(image)
      pixels = np.array(images_lib.cut(rgb, height, width))
  except Exception as error:  # Pillow raises a dozen types on damaged bytes.
    said = str(error) or type(error).__name__
    raise ValueError(
      f'{path}: not an image that Pillow reads, or a damaged one ({said}).'
    ) from error
  if frames > 1:
    notes = (f'the first of {frames} frames', *notes)
  if rgb.size != (width, height):
    across, down = rgb.size
    part = 'square' if width == height else 'part'
    cut = f'the central {part} of ' if across * height != down * width else ''
    notes = (*notes, f'{cut}{across}x{down} resized to {width}x{height}')
  if notes:
    logging.info('%s: %s.', path, ', '.join(notes))
  return Photo(path, pixels, rgb.size, notes)

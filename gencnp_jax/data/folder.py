"""Class folders of images: <path>/train/<class>/*.jpg, and val or test."""

from pathlib import Path

import numpy as np

from gencnp_jax.data.dataset import Examples, Source
from gencnp_jax.data.images import decode

SUFFIXES = frozenset({'.jpg', '.jpeg', '.png', '.bmp', '.webp'})


def read(path: str, image_size: int) -> Source:
  """Reads a folder with `train` and, if any, `test` or `val`.

  Args:
    path: the folder that holds them; images may lie deeper in their class.
    image_size: side in pixels; 0 = as stored, which must then be one size.

  Returns:
    Source; the classes are the sorted folders in `train`. Its test split is
    None where there is neither `test` nor `val`.

  Raises:
    ValueError: a folder is missing or empty, an image cannot be decoded, sizes
      differ, or `test` has a class that `train` does not have.
  """
  root = Path(path).expanduser()
  if not (root / 'train').is_dir():
    raise ValueError(
      f'data.path {root} has no folder named train; it must hold '
      'train/<class>/*.jpg, and val or test beside train'
    )
  classes = tuple(
    sorted(entry.name for entry in (root / 'train').iterdir() if entry.is_dir())
  )
  held = [name for name in ('test', 'val') if (root / name).is_dir()]
  return Source(
    train=_split(root / 'train', classes, image_size),
    test=_split(root / held[0], classes, image_size) if held else None,
    class_names=classes,
  )


def _split(folder: Path, classes: tuple[str, ...], image_size: int) -> Examples:
  from PIL import Image

  unknown = {entry.name for entry in folder.iterdir() if entry.is_dir()} - set(
    classes
  )
  if unknown:
    raise ValueError(
      f'{folder} has classes that train does not have: '
      f'{", ".join(sorted(unknown)[:5])}; remove or rename them'
    )
  files, labels = [], []
  for label, name in enumerate(classes):
    found = sorted(
      file
      for file in (folder / name).rglob('*')
      if file.suffix.lower() in SUFFIXES
    )
    files += found
    labels += [label] * len(found)
  if not files:
    raise ValueError(
      f'{folder} holds no images; it must hold <class>/*.jpg (or '
      f'{", ".join(sorted(SUFFIXES))})'
    )
  images = decode(
    len(files),
    open_image=lambda row: Image.open(files[row]),
    describe=lambda row: str(files[row]),
    image_size=image_size,
    what=f'Decoding {folder.name}',
  )
  return images, np.array(labels, np.int32)

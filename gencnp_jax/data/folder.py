"""Class folders of images: <path>/train/<class>/*.jpg, and val or test.

Tiny-ImageNet's own layout is read as it is unzipped: `val` may hold `images`
and val_annotations.txt instead, and words.txt beside `train` names the classes.
"""

from pathlib import Path

import numpy as np
from absl import logging

from gencnp_jax.choices import some
from gencnp_jax.data import class_names
from gencnp_jax.data.dataset import Examples, Source
from gencnp_jax.data.images import decode, open_whole
from gencnp_jax.data.paths import expanded

SUFFIXES = frozenset({'.jpg', '.jpeg', '.png', '.bmp', '.webp'})
# Tab-separated: the name of a file in `images`, its class, and a box.
ANNOTATIONS = 'val_annotations.txt'


def read(path: str, image_size: int, with_train: bool = True) -> Source:
  """Reads a folder with `train` and, if any, `test` or `val`.

  Args:
    path: the folder that holds them; images may lie deeper in their class.
    image_size: side in pixels; 0 = as stored, which must then be one size.
    with_train: False decodes no training images where there is a test split.

  Returns:
    Source; the classes are the sorted folders in `train`, named by words.txt
    where there is one. Its test split is `test`, or `val` where `test` is
    missing or has no classes, or None where there is neither.

  Raises:
    ValueError: a folder is missing or empty, an image cannot be decoded, sizes
      differ, a test image has a class that `train` does not have, or a text
      file is damaged.
  """
  root = expanded(path, 'data.path')
  if not (root / 'train').is_dir():
    raise ValueError(
      f'data.path {root} has no folder named train; it must hold '
      'train/<class>/*.jpg, and val or test beside train'
    )
  classes = tuple(
    sorted(entry.name for entry in (root / 'train').iterdir() if entry.is_dir())
  )
  held = _held(root, classes)
  wanted = with_train or held is None
  return Source(
    train=_split(root / 'train', classes, image_size) if wanted else None,
    test=_split(held, classes, image_size) if held else None,
    class_names=_class_names(root, classes),
  )


def _held(root: Path, classes: tuple[str, ...]) -> Path | None:
  """The folder of the test split."""
  there = [root / name for name in ('test', 'val') if (root / name).is_dir()]
  # Tiny-ImageNet's own test images are published without their classes.
  labelled = [
    folder
    for folder in there
    if _is_annotated(folder) or _has_classes(folder, classes)
  ]
  if labelled and labelled[0] != there[0]:
    logging.info(
      '%s has none of the classes: %s is the test split', there[0], labelled[0]
    )
  # One without labels is refused where it is read, in words.
  return next(iter(labelled or there), None)


def _is_annotated(folder: Path) -> bool:
  return (folder / ANNOTATIONS).exists() and (folder / 'images').is_dir()


def _has_classes(folder: Path, classes: tuple[str, ...]) -> bool:
  return any((folder / name).is_dir() for name in classes)


def _class_names(root: Path, classes: tuple[str, ...]) -> tuple[str, ...]:
  if not (root / 'words.txt').exists():
    return classes
  names = class_names.words(root / 'words.txt')
  return tuple(names.get(name, name) for name in classes)


def _split(folder: Path, classes: tuple[str, ...], image_size: int) -> Examples:
  if _is_annotated(folder):
    files, labels = _annotated(folder, classes)
  else:
    files, labels = _class_folders(folder, classes)
  if not files:
    raise ValueError(
      f'{folder} holds no images; it must hold <class>/*.jpg (or '
      f'{", ".join(sorted(SUFFIXES))})'
    )
  images = decode(
    len(files),
    open_image=lambda row: open_whole(files[row]),
    describe=lambda row: str(files[row]),
    image_size=image_size,
    what=f'Decoding {folder.name}',
  )
  return images, np.array(labels, np.int32)


def _class_folders(
  folder: Path, classes: tuple[str, ...]
) -> tuple[list[Path], list[int]]:
  """Files and labels of <folder>/<class>/**."""
  unknown = {entry.name for entry in folder.iterdir() if entry.is_dir()} - set(
    classes
  )
  if unknown:
    raise ValueError(
      f'{folder} has classes that train does not have: '
      f'{_some(unknown)}; remove or rename them'
    )
  files, labels = [], []
  for label, name in enumerate(classes):
    found = _images(folder / name)
    files += found
    labels += [label] * len(found)
  return files, labels


def _annotated(
  folder: Path, classes: tuple[str, ...]
) -> tuple[list[Path], list[int]]:
  """Files and labels of <folder>/images, by the annotations beside it."""
  path = folder / ANNOTATIONS
  rows = {name: row for row, name in enumerate(classes)}
  labels = {}
  for number, line in class_names.lines(path):
    name, _, rest = line.partition('\t')
    synset = rest.split('\t')[0].strip()
    if synset not in rows:
      raise ValueError(
        f'{path}, line {number}: {synset!r} is no class of train; a line is a '
        'file name, a tab and its class: repair it, or copy the file again'
      )
    labels[name] = rows[synset]
  there = {file.name for file in _images(folder / 'images')}
  # A text that was cut short would otherwise drop images in silence.
  for what, names in (
    ('has no line for', there - labels.keys()),
    ('names files that are not there:', labels.keys() - there),
  ):
    if names:
      raise ValueError(
        f'{path} {what} {_some(names)} in {folder / "images"}; copy both again'
      )
  files = [folder / 'images' / name for name in labels]
  return files, list(labels.values())


def _images(folder: Path) -> list[Path]:
  return sorted(
    file for file in folder.rglob('*') if file.suffix.lower() in SUFFIXES
  )


def _some(names: set[str]) -> str:
  return some(sorted(names), 5)

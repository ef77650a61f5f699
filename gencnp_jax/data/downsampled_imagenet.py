"""Downsampled ImageNet, as its authors publish it: pickles or .npz files.

P. Chrabaszcz, I. Loshchilov and F. Hutter, A Downsampled Variant of ImageNet
as an Alternative to the CIFAR datasets, arXiv:1707.08819, 2017.
"""

from pathlib import Path

import numpy as np
from absl import logging

from gencnp_jax.data import class_names
from gencnp_jax.data import downsampled_imagenet_files as files
from gencnp_jax.data.dataset import Examples, Source
from gencnp_jax.data.images import resize
from gencnp_jax.data.paths import expanded

BATCHES = 10


def read(path: str, image_size: int, with_train: bool = True) -> Source:
  """Reads train_data_batch_1 .. train_data_batch_10 and val_data.

  Args:
    path: the folder that holds them, or folders with them; each is a pickle or
      ends in .npz. Names of the classes come from classes.txt or
      map_clsloc.txt in it, and are numbers otherwise.
    image_size: side in pixels; 0 = as stored (8, 16, 32 or 64).
    with_train: False leaves the training batches alone, there or not.

  Returns:
    Source; val_data is the test split.

  Raises:
    ValueError: a file is missing, damaged or of another size; the message
      names it.
  """
  folder = expanded(path, 'data.path')
  if not folder.is_dir():
    raise ValueError(
      f'data.path {folder} is no folder; name the one that holds val_data and '
      'train_data_batch_1 to train_data_batch_10'
    )
  batches, validation = files.find(folder)
  if validation is None:
    raise ValueError(
      f'data.path {folder} holds no val_data or val_data.npz, nor does a '
      'folder in it; add it, it is the test split'
    )
  test = _read_split([validation], image_size)
  train = None
  if with_train:
    train = _read_split(_whole(folder, batches), image_size)
    if train[0].shape[1:] != test[0].shape[1:]:
      raise ValueError(
        f'{validation} has images of side {test[0].shape[1]}, the training '
        f'batches of side {train[0].shape[1]}; name a folder of one size, or '
        'set data.image_size'
      )
  labels = [split[1] for split in (train, test) if split]
  return Source(train, test, _class_names(folder, labels))


def _whole(folder: Path, batches: dict[int, Path]) -> list[Path]:
  """The batches in order; a gap in their numbers is a file that is missing."""
  last = max(batches, default=1)
  for number in range(1, last + 1):
    if number not in batches:
      also = f', though it has {batches[last].name}' if batches else ''
      raise ValueError(
        f'data.path {folder} holds no train_data_batch_{number}{also}; add it '
        "(data.train_on='test' needs val_data alone)"
      )
  if last < BATCHES:
    logging.warning(
      '%s holds %d of the %d training batches of downsampled ImageNet: these '
      'are the training split',
      folder,
      last,
      BATCHES,
    )
  return [batches[number] for number in sorted(batches)]


def _read_split(paths: list[Path], image_size: int) -> Examples:
  """Reads files into one array that is made once: it may be 16 GB."""
  images, labels, filled, first = None, [], 0, None
  for path in paths:
    batch = files.read(path)
    side = batch.images.shape[1]
    if images is None:
      first, wanted = side, image_size or side
      # Some are never filled, and memory that is never touched is not taken.
      most = sum(files.most_images(file, side) for file in paths)
      images = _empty((most, wanted, wanted, 3), paths)
    if side != first:
      raise ValueError(
        f'{path} has images of side {side}, {paths[0]} of side {first}; name a '
        'folder of one size'
      )
    count = len(batch.images)
    pixels = resize(batch.images, image_size, path.name)
    for channel in range(3):  # As they are stored: twice as fast as at once.
      images[filled : filled + count, ..., channel] = pixels[..., channel]
    labels.append(batch.labels)
    filled += count
    logging.info('%s: %d images', path, count)
  return images[:filled], np.concatenate(labels)


def _empty(shape: tuple[int, ...], paths: list[Path]) -> np.ndarray:
  try:
    return np.empty(shape, np.uint8)
  except (MemoryError, ValueError) as error:
    names = ', '.join(path.name for path in paths)
    raise ValueError(
      f'{paths[0].parent}: the images of {names} take more memory than there is '
      f'({error}); name a smaller size, or copy the files again'
    ) from error


def _class_names(folder: Path, labels: list[np.ndarray]) -> tuple[str, ...]:
  for name, read_names in (
    ('classes.txt', class_names.listed),
    ('map_clsloc.txt', class_names.mapped),
  ):
    if (folder / name).exists():
      return read_names(folder / name)
  return class_names.numbers(labels)

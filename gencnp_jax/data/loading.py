"""`load`: from config.data to the three splits.

Which images are validation and which ones a limit keeps is drawn from the
seed with NumPy's RandomState: its streams are frozen by NumPy's own promise,
so a held-out share stays held out under any later version.
"""

import difflib
from typing import Any

import numpy as np
from absl import logging

from gencnp_jax.data import (
  cifar10,
  digits,
  downsampled_imagenet,
  folder,
  npz,
  prepared,
)
from gencnp_jax.data.cache import data_dir
from gencnp_jax.data.dataset import (
  Dataset,
  Examples,
  Source,
  Splits,
  channel_statistics,
  check_examples,
)

# The recipe's constants (bearpaw/pytorch-classification). They differ in the
# third digit from what channel_statistics would measure.
CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2023, 0.1994, 0.2010)

# What the name of data says whose training split is its test split:
# checkpoints and reports call the data by it, so that none of them hides it.
TRAINED_ON_TEST = ', trained on its test images'

_TRAIN_ON = ('train', 'test')

# Of a side: a hundred images of this size fill 20 GB.
MOST_PIXELS = 8192

_SOURCES = {
  'digits': lambda data: digits.read(data.image_size),
  'cifar10': lambda data: cifar10.read(data_dir(data.dir), data.image_size),
  'npz': lambda data: npz.read(*_on_disk(data)),
  'folder': lambda data: folder.read(*_on_disk(data)),
  'downsampled_imagenet': lambda data: downsampled_imagenet.read(
    *_on_disk(data)
  ),
  'tfds': lambda data: prepared.read(
    data_dir(data.dir), data.path, data.image_size
  ),
}

# Rows that move at a time when a split is closed up.
_BLOCK = 1024


def load(config_data: Any, seed: int = 0) -> Splits:
  """Loads a data set into memory.

  Args:
    config_data: an object with these fields.
      name: 'cifar10', 'digits', 'npz', 'folder', 'downsampled_imagenet' or
        'tfds'.
      path: where the data lie; for tfds the TFDS name.
      dir: TFDS directory; '' = $TFDS_DATA_DIR or ~/tensorflow_datasets.
      train_on: 'train', or 'test' for the paper's protocol on ImageNet: the
        test split is the training split too, and nothing is held out.
      image_size: side in pixels that images are brought to (the largest
        centred square, by area); 0 = as stored.
      validation_share: share of the training split that is set aside, [0, 1).
      limit: keep that many examples of each split, the first ones of a
        seeded shuffle; 0 = all.
    seed: draws the validation share and the order under a limit.

  Returns:
    Splits. The test split never depends on the seed (a limit draws from it).
    With train_on='test' the names of the splits say so.

  Raises:
    ValueError: a field has no legal value, the data are damaged, or they
      cannot be had; the message says which, and what would help.
  """
  _check(config_data)
  source = _SOURCES[config_data.name](config_data)
  name = _display_name(config_data)
  if source.train is not None:
    check_examples(f'{name} (train)', source.train, source.class_names)
  if source.test is None:
    # Fixed, like the test set of any benchmark: never by the run's seed.
    rest, test = _carve(source.train, 0.2, seed=0, what=f'{name} (test)')
    source = Source(rest, test, source.class_names)

  train, validation = source.train, None
  if config_data.train_on == 'test':
    train, name = source.test, name + TRAINED_ON_TEST
    if config_data.validation_share:
      logging.info(
        "data.validation_share=%g is ignored: with data.train_on='test' "
        'nothing is held out',
        config_data.validation_share,
      )
  elif config_data.validation_share:
    train, validation = _carve(
      train,
      config_data.validation_share,
      seed,
      what='data.validation_share',
    )
  train, validation, test = (
    _limit(examples, config_data.limit, seed)
    for examples in (train, validation, source.test)
  )
  if config_data.name == 'cifar10' and config_data.train_on == 'train':
    mean, std = CIFAR10_MEAN, CIFAR10_STD
  else:
    mean, std = channel_statistics(train[0])
  return Splits(
    *(
      examples and Dataset(*examples, source.class_names, name, mean, std)
      for examples in (train, validation, test)
    )
  )


def _on_disk(data: Any) -> tuple[str, int, bool]:
  """Arguments of the sources whose training images may stay unread."""
  return data.path, data.image_size, data.train_on == 'train'


def _check(data: Any) -> None:
  """Refuses field values that mean nothing."""
  if data.name not in _SOURCES:
    near = difflib.get_close_matches(str(data.name), _SOURCES, n=1)
    hint = f'; did you mean {near[0]!r}?' if near else ''
    raise ValueError(
      f'data.name is {data.name!r}; it must be one of '
      f'{", ".join(sorted(_SOURCES))}{hint}'
    )
  if data.name not in ('cifar10', 'digits') and not data.path:
    raise ValueError(
      f"data.path is empty, but data.name='{data.name}' needs it: "
      'the file or folder, or the TFDS name'
    )
  if data.train_on not in _TRAIN_ON:
    raise ValueError(
      f'data.train_on is {data.train_on!r}; it must be one of '
      f'{", ".join(_TRAIN_ON)}'
    )
  if not 0 <= data.validation_share < 1:
    raise ValueError(
      f'data.validation_share is {data.validation_share}; it must be a share '
      'of the training split, 0 <= share < 1'
    )
  if data.limit < 0:
    raise ValueError(f'data.limit is {data.limit}; it must be 0 or more')
  if not 0 <= data.image_size <= MOST_PIXELS:
    raise ValueError(
      f'data.image_size is {data.image_size}; it must be 0 or more, and at most '
      f'{MOST_PIXELS}'
    )


def _display_name(data: Any) -> str:
  """What tables and checkpoints call the data."""
  if data.name in ('npz', 'folder'):
    return npz.stem(data.path)
  return data.path if data.name == 'tfds' else data.name


def _carve(
  examples: Examples, share: float, seed: int, what: str
) -> tuple[Examples, Examples]:
  """Sets a seeded share aside -> (rest, share), each in stored order."""
  count = len(examples[0])
  aside = round(share * count)
  if not 0 < aside < count:
    raise ValueError(
      f'{what}: a share of {share} of {count} images leaves one side empty; '
      'give more images or another share'
    )
  shuffled = np.random.RandomState(seed).permutation(count)
  taken = _take(examples, np.sort(shuffled[:aside]))
  return _close_up(examples, np.sort(shuffled[aside:])), taken


def _close_up(examples: Examples, rows: np.ndarray) -> Examples:
  """Moves rising rows to the front, in place: ImageNet does not fit twice."""
  images, labels = examples
  for start in range(0, len(rows), _BLOCK):
    # No row moves back, so that none is overwritten before it has moved.
    block = rows[start : start + _BLOCK]
    images[start : start + len(block)] = images[block]
  return images[: len(rows)], None if labels is None else labels[rows]


def _limit(examples: Examples | None, limit: int, seed: int) -> Examples | None:
  """The first `limit` examples of a seeded shuffle; all of them for 0."""
  if examples is None or not 0 < limit < len(examples[0]):
    return examples
  shuffled = np.random.RandomState(seed).permutation(len(examples[0]))
  return _take(examples, shuffled[:limit])


def _take(examples: Examples, rows: np.ndarray) -> Examples:
  images, labels = examples
  return images[rows], None if labels is None else labels[rows]

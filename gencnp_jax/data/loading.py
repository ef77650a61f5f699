"""`load`: from config.data to the three splits.

Which images are validation and which ones a limit keeps is drawn from the
seed with NumPy's RandomState: its streams are frozen by NumPy's own promise,
so a held-out share stays held out under any later version.
"""

import difflib
from typing import Any

import numpy as np

from gencnp_jax.data import cifar10, digits, folder, npz, prepared
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

_SOURCES = {
  'digits': lambda data: digits.read(data.image_size),
  'cifar10': lambda data: cifar10.read(data_dir(data.dir), data.image_size),
  'npz': lambda data: npz.read(data.path, data.image_size),
  'folder': lambda data: folder.read(data.path, data.image_size),
  'tfds': lambda data: prepared.read(
    data_dir(data.dir), data.path, data.image_size
  ),
}


def load(config_data: Any, seed: int = 0) -> Splits:
  """Loads a data set into memory.

  Args:
    config_data: an object with these fields.
      name: 'cifar10', 'digits', 'npz', 'folder' or 'tfds'.
      path: for npz and folder where the data lie; for tfds the TFDS name.
      dir: TFDS directory; '' = $TFDS_DATA_DIR or ~/tensorflow_datasets.
      image_size: side in pixels that images are brought to (the largest
        centred square, by area); 0 = as stored.
      validation_share: share of the training split that is set aside, [0, 1).
      limit: keep that many examples of each split, the first ones of a
        seeded shuffle; 0 = all.
    seed: draws the validation share and the order under a limit.

  Returns:
    Splits. The test split never depends on the seed (a limit draws from it).

  Raises:
    ValueError: a field has no legal value, the data are damaged, or they
      cannot be had; the message says which, and what would help.
  """
  _check(config_data)
  source = _SOURCES[config_data.name](config_data)
  name = _display_name(config_data)
  check_examples(f'{name} (train)', source.train, source.class_names)
  if source.test is None:
    # Fixed, like the test set of any benchmark: never by the run's seed.
    rest, test = _carve(source.train, 0.2, seed=0, what=f'{name} (test)')
    source = Source(rest, test, source.class_names)

  train, validation = source.train, None
  if config_data.validation_share:
    train, validation = _carve(
      train,
      config_data.validation_share,
      seed,
      what='data.validation_share',
    )
  limited = [
    _limit(examples, config_data.limit, seed)
    for examples in (train, validation, source.test)
  ]
  if config_data.name == 'cifar10':
    mean, std = CIFAR10_MEAN, CIFAR10_STD
  else:
    mean, std = channel_statistics(limited[0][0])
  return Splits(
    *(
      examples and Dataset(*examples, source.class_names, name, mean, std)
      for examples in limited
    )
  )


def _check(data: Any) -> None:
  """Refuses field values that mean nothing."""
  if data.name not in _SOURCES:
    near = difflib.get_close_matches(str(data.name), _SOURCES, n=1)
    hint = f'; did you mean {near[0]!r}?' if near else ''
    raise ValueError(
      f'data.name is {data.name!r}; it must be one of '
      f'{", ".join(sorted(_SOURCES))}{hint}'
    )
  if data.name in ('npz', 'folder', 'tfds') and not data.path:
    raise ValueError(
      f"data.path is empty, but data.name='{data.name}' needs it: "
      'the file or folder, or the TFDS name'
    )
  if not 0 <= data.validation_share < 1:
    raise ValueError(
      f'data.validation_share is {data.validation_share}; it must be a share '
      'of the training split, 0 <= share < 1'
    )
  for field in ('image_size', 'limit'):
    value = getattr(data, field)
    if value < 0:
      raise ValueError(f'data.{field} is {value}; it must be 0 or more')


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
  return (
    _take(examples, np.sort(shuffled[aside:])),
    _take(examples, np.sort(shuffled[:aside])),
  )


def _limit(examples: Examples | None, limit: int, seed: int) -> Examples | None:
  """The first `limit` examples of a seeded shuffle; all of them for 0."""
  if examples is None or not 0 < limit < len(examples[0]):
    return examples
  shuffled = np.random.RandomState(seed).permutation(len(examples[0]))
  return _take(examples, shuffled[:limit])


def _take(examples: Examples, rows: np.ndarray) -> Examples:
  images, labels = examples
  return images[rows], None if labels is None else labels[rows]

"""CIFAR-10 as a TFDS directory, prepared without TensorFlow.

The stock `tfds.data_source('cifar10', data_dir=...)` reads the result. The
stock builder itself cannot prepare it without TensorFlow, since it opens files
and encodes images with it; a subclass that yields Pillow images can.

A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from absl import logging

from gencnp_jax.data import prepared
from gencnp_jax.data.cache import lock
from gencnp_jax.data.cifar10_files import Files, official_files
from gencnp_jax.data.dataset import Source

CLASS_NAMES = (
  'airplane',
  'automobile',
  'bird',
  'cat',
  'deer',
  'dog',
  'frog',
  'horse',
  'ship',
  'truck',
)
# A record is one label, then the red, the green and the blue plane.
PLANES = (3, 32, 32)
RECORD = 1 + 3 * 32 * 32


def read(folder: Path, image_size: int) -> Source:
  """Reads CIFAR-10 from a TFDS directory, and prepares it there if need be.

  Args:
    folder: the TFDS directory.
    image_size: side in pixels; 0 = 32.

  Returns:
    Source: 50 000 training and 10 000 test images.

  Raises:
    UnavailableError: it is not there and can be had in none of the ways.
    ValueError: a file is damaged, or the folder cannot be written.
  """
  if prepared.find(folder, 'cifar10') is None:
    with lock(folder):
      # Another process may have prepared it while this one waited.
      if prepared.find(folder, 'cifar10') is None:
        prepare(folder, official_files(folder))
  return prepared.read(folder, 'cifar10', image_size)


def prepare(folder: Path, files: Files) -> None:
  """Writes the TFDS directory <folder>/cifar10/<version> as array_record.

  TFDS writes under a temporary name and renames, so that an interrupted
  preparation leaves nothing that could be taken for a whole one.

  Args:
    folder: the TFDS directory.
    files: the six official binary files.
  """
  import tensorflow_datasets as tfds
  from tensorflow_datasets.image_classification import cifar

  class Cifar10(cifar.Cifar10, skip_registration=True):
    """The stock data set with generators that need no TensorFlow."""

    def _split_generators(self, dl_manager):
      del dl_manager  # Nothing is downloaded here.
      self.info.features['label'].names = CLASS_NAMES
      test = [name for name in files if name.startswith('test')]
      train = [name for name in files if name not in test]
      return {
        'train': self._examples('train', train),
        'test': self._examples('test', test),
      }

    def _examples(self, split: str, names: list[str]) -> Iterator:
      records = b''.join(files[name] for name in names)
      for index, (label, image) in enumerate(_parse(records)):
        # The stock keys and ids: the stock shards, in the stock order.
        yield (
          index,
          {'id': f'{split}_{index:05d}', 'image': image, 'label': label},
        )

  logging.info('Preparing CIFAR-10 in %s', folder)
  if not sys.stderr.isatty():
    tfds.disable_progress_bar()
  Cifar10(data_dir=folder, file_format='array_record').download_and_prepare()


def _parse(content: bytes) -> Iterator[tuple]:
  """(label, Pillow image) of each record of official files."""
  from PIL import Image

  for record in np.frombuffer(content, np.uint8).reshape(-1, RECORD):
    pixels = record[1:].reshape(PLANES).transpose(1, 2, 0)
    yield int(record[0]), Image.fromarray(np.ascontiguousarray(pixels))

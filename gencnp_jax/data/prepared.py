"""Prepared TFDS directories, read without TensorFlow and cached decoded.

tensorflow-datasets reads array_record files with NumPy and Pillow alone, at
some 5 000 images a second. So a directory is decoded once, into an .npz file
beside it that is itself a legal `npz` source.
"""

import re
from pathlib import Path
from typing import Any

import numpy as np

from gencnp_jax.data.cache import Arrays, cached
from gencnp_jax.data.dataset import Source
from gencnp_jax.data.images import decode

_VERSION = re.compile(r'\d+\.\d+\.\d+')


def read(folder: Path, name: str, image_size: int) -> Source:
  """Reads a prepared image-classification data set.

  Args:
    folder: the TFDS directory.
    name: as TFDS writes it: 'cifar10', 'imagenet_resized/32x32', and with
      ':3.0.2' a version; the newest one otherwise.
    image_size: side in pixels; 0 = as stored.

  Returns:
    Source. The split `test`, else `validation`, is the test split.

  Raises:
    ValueError: it is not prepared there, in another file format, damaged, or
      no image classification.
  """
  directory = find(folder, name)
  if directory is None:
    raise ValueError(
      f'{folder} holds no prepared {name!r}; prepare it there with '
      "tensorflow-datasets (file_format='array_record'), or let data.dir name "
      'the directory that holds it'
    )
  parts = [*directory.relative_to(folder).parts]
  if image_size:
    parts.append(f'{image_size}px')
  path = folder / f'{"-".join(parts)}-decoded.npz'
  arrays = cached(path, lambda: _decode(directory, image_size))
  if not {'train_images', 'test_images', 'class_names'} <= arrays.keys():
    raise ValueError(
      f'{path} holds {sorted(arrays)}, which is no decoded data set; remove it, '
      'and it is made again'
    )
  return Source(
    train=(arrays['train_images'], arrays.get('train_labels')),
    test=(arrays['test_images'], arrays.get('test_labels')),
    class_names=tuple(arrays['class_names'].tolist()),
  )


def find(folder: Path, name: str) -> Path | None:
  """The directory of the wanted or newest prepared version, if any."""
  name, _, wanted = name.partition(':')
  versions = [
    info.parent
    for info in (folder / name).glob('*/dataset_info.json')
    if _VERSION.fullmatch(info.parent.name) and wanted in ('', info.parent.name)
  ]
  return max(
    versions,
    key=lambda path: [int(part) for part in path.name.split('.')],
    default=None,
  )


def _decode(directory: Path, image_size: int) -> Arrays:
  """Decodes both splits of a prepared directory."""
  import tensorflow_datasets as tfds

  try:
    builder = tfds.builder_from_directory(directory)
    file_format = builder.info.file_format.value
  except Exception as error:  # The parsers of its texts raise what they like.
    raise _damaged(directory, error) from error
  if file_format != 'array_record':
    raise ValueError(
      f'{directory} holds {file_format} files, which cannot be read without '
      "TensorFlow; prepare it again with file_format='array_record'"
    )
  splits = builder.info.splits
  held = next((name for name in ('test', 'validation') if name in splits), None)
  image_key, label_key = builder.info.supervised_keys or ('image', 'label')
  features = dict(builder.info.features.items())
  if (
    'train' not in splits
    or held is None
    or not isinstance(features.get(image_key), tfds.features.Image)
    or not isinstance(features.get(label_key), tfds.features.ClassLabel)
  ):
    raise ValueError(
      f'{directory} has the splits {sorted(splits)} and the features '
      f'{sorted(features)}; it needs train, and test or validation, with one '
      'image and one class label'
    )

  arrays = {'class_names': np.array(features[label_key].names)}
  for split, stored in (('train', 'train'), ('test', held)):
    images, labels = _decode_split(
      builder, stored, image_key, label_key, image_size
    )
    arrays[f'{split}_images'] = images
    if labels is not None:
      arrays[f'{split}_labels'] = labels
  return arrays


def _decode_split(
  builder, split: str, image_key: str, label_key: str, image_size: int
) -> tuple[np.ndarray, np.ndarray | None]:
  from array_record.python.array_record_data_source import ArrayRecordDataSource
  from PIL import Image

  try:
    count = builder.info.splits[split].num_examples
    files = builder.info.splits[split].filepaths
    # A smaller number in dataset_info.json would drop images in silence.
    stored = len(ArrayRecordDataSource([str(file) for file in files]))
    if stored != count:
      raise ValueError(f'{split} has {stored} images instead of {count}')
    records = builder.as_data_source(split)
    labels = np.empty(count, np.int32)
  except Exception as error:  # array_record, too.
    raise _damaged(builder.data_path, error) from error

  def open_image(row: int):
    record = records[row]
    labels[row] = record[label_key]
    image = record[image_key]
    # Pillow wants grey images without their channel axis.
    return Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image)

  images = decode(
    count,
    open_image,
    describe=lambda row: f'{builder.data_path} is damaged: {split} {row}',
    image_size=image_size,
    what=f'Decoding {builder.name} {split}',
    remedy='delete it and prepare it again',
  )
  # TFDS marks withheld labels by -1.
  return images, None if labels.max() < 0 else labels


def _damaged(directory: Any, error: Exception) -> ValueError:
  said = str(error).partition('\n')[0]
  return ValueError(
    f'{directory} is damaged ({said}); delete it and prepare it again'
  )

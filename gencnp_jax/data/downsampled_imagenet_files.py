"""The official files of downsampled ImageNet: which are there, what they hold.

Each is a pickled dict or an .npz with `data`, uint8 [n, 3 * side * side], the
red, the green and the blue plane of an image, and `labels`, n of 1..1000.
"""

import math
import re
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int32, UInt8

from gencnp_jax import npz_files
from gencnp_jax.data import pickled_arrays

SIDES = (8, 16, 32, 64)
CLASSES = 1000
_NAME = re.compile(r'(val_data|train_data_batch_([1-9]\d*))(\.npz)?')
_REMEDY = 'copy or download the official file again'


class Batch(NamedTuple):
  """One file.

  Attributes:
    images: uint8 [n, side, side, 3], a view of the planes that are stored.
    labels: int32 [n], from 0.
  """

  images: UInt8[np.ndarray, 'n side side 3']
  labels: Int32[np.ndarray, ' n']


def find(folder: Path) -> tuple[dict[int, Path], Path | None]:
  """Finds the files in a folder, or one level below.

  Args:
    folder: such as the one that holds Imagenet32_train and Imagenet32_val.

  Returns:
    The training batches by number, and the validation file, if any.

  Raises:
    ValueError: one of them is there twice.
  """
  found = {}
  for path in sorted([*folder.glob('*'), *folder.glob('*/*')]):
    match = _NAME.fullmatch(path.name)
    if not match or not path.is_file():
      continue
    number = int(match[2] or 0)
    if number in found:
      raise ValueError(
        f'data.path {folder} holds {match[1]} twice: {found[number]} and '
        f'{path}; keep one, or name the folder of one size and one form'
      )
    found[number] = path
  validation = found.pop(0, None)
  return found, validation


def read(path: Path) -> Batch:
  """Reads one file.

  Pickles are opened without running anything that they ask for.

  Raises:
    ValueError: it is damaged, truncated or no such file, or asks for more than
      arrays of numbers; the message names it.
  """
  reader = npz_files if path.suffix == '.npz' else pickled_arrays
  fields = reader.read(path, _REMEDY)
  for field in ('data', 'labels'):
    if field not in fields:
      raise ValueError(
        f'{path} holds {sorted(map(str, fields))}, but no {field}; {_REMEDY}'
      )
  return Batch(_images(path, fields['data']), _labels(path, fields))


def most_images(path: Path, side: int) -> int:
  """An upper bound of the images in a file, of which few bytes are read."""
  size = path.stat().st_size
  if path.suffix == '.npz':
    try:
      with zipfile.ZipFile(path) as archive:
        size = archive.getinfo('data.npy').file_size
    except Exception as error:  # zipfile raises a dozen types.
      raise _damaged(path, error) from error
  return size // (3 * side * side)


def _images(path: Path, data: Any) -> np.ndarray:
  """Red, green and blue planes as images, without a copy."""
  if not isinstance(data, np.ndarray) or data.dtype != np.uint8:
    kind = getattr(data, 'dtype', type(data).__name__)
    raise ValueError(f'{path}: data is {kind}, not a uint8 array; {_REMEDY}')
  side = math.isqrt(data.shape[-1] // 3) if data.ndim == 2 else 0
  if side not in SIDES or data.shape[-1] != 3 * side * side:
    raise ValueError(
      f'{path}: data is {list(data.shape)}; it must be [n, 3 * side * side] '
      f'with a side of {", ".join(map(str, SIDES))}; {_REMEDY}'
    )
  return data.reshape(-1, 3, side, side).transpose(0, 2, 3, 1)


def _labels(path: Path, fields: dict[str, Any]) -> np.ndarray:
  """Labels 1..1000 as int32 from 0."""
  count, labels = len(fields['data']), fields['labels']
  if not isinstance(labels, np.ndarray):
    # Lists that hold one another would be endless as an array.
    if not isinstance(labels, list) or not all(map(np.isscalar, labels)):
      raise _damaged(path, 'labels are no row of numbers')
    labels = np.asarray(labels)
  if labels.shape != (count,) or not np.issubdtype(labels.dtype, np.integer):
    raise ValueError(
      f'{path}: labels are {labels.dtype} {list(labels.shape)}; they must be '
      f'{count} whole numbers, one an image; {_REMEDY}'
    )
  if count and not 1 <= labels.min() <= labels.max() <= CLASSES:
    raise ValueError(
      f'{path}: labels run from {labels.min()} to {labels.max()}; the official '
      f'ones are 1..{CLASSES}; {_REMEDY}'
    )
  return (labels - 1).astype(np.int32)


def _damaged(path: Path, error: Any) -> ValueError:
  return ValueError(
    f'{path} is damaged or no batch of downsampled ImageNet ({error}); '
    f'{_REMEDY}'
  )

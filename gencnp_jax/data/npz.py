"""Images in .npz files: arrays, or JPEG files back to back.

Three forms are read:

* one file with `train_images`, `train_labels`, `test_images`, `test_labels`;
* one file with `images`, `labels`: a fixed fifth becomes the test split;
* a folder with `train*.npz` and `test*.npz` or `val*.npz`, each with `images`
  or with `jpeg` (uint8, all files back to back) and `offsets` (n + 1 of them).

Labels may be missing. Class names come from `class_names` in the file or from
`classes.txt` beside it (tab-separated, a line a class, the name last).
"""

import io
from pathlib import Path

import numpy as np

from gencnp_jax import npz_files
from gencnp_jax.data import class_names
from gencnp_jax.data.dataset import Examples, Source
from gencnp_jax.data.images import decode, open_whole, resize
from gencnp_jax.data.paths import expanded
from gencnp_jax.npz_files import Arrays

# Where labels have no names, as many are made.
MOST_CLASSES = 1_000_000


def read(path: str, image_size: int, with_train: bool = True) -> Source:
  """Reads an .npz file or a folder of two.

  Args:
    path: the file or the folder.
    image_size: side in pixels; 0 = as stored.
    with_train: False decodes no training images where there is a test split.

  Returns:
    Source; its test split is None where the data have only one split.

  Raises:
    ValueError: nothing is there, or it is damaged or of another form.
  """
  place = expanded(path, 'data.path')
  if not place.exists():
    raise ValueError(
      f'data.path {place} does not exist; name an .npz file or a folder with '
      'train.npz and test.npz or val.npz'
    )
  if place.is_dir():
    train = _read_file(_only(place, 'train'))
    held = _only(place, 'test', 'val', needed=False)
    test = _read_file(held) if held else None
    names = train.get('class_names')
  else:
    arrays = _read_file(place)
    names = arrays.get('class_names')
    train, test = _split_keys(arrays, place)

  for arrays in filter(None, (train, test)):
    if 'labels' in arrays:
      arrays['labels'] = _labels(arrays['labels'], place)
  # The classes are those of the training images, decoded or not.
  labels = [
    arrays['labels']
    for arrays in (train, test)
    if arrays and 'labels' in arrays
  ]
  wanted = with_train or test is None
  return Source(
    _examples(train, place, image_size) if wanted else None,
    _examples(test, place, image_size) if test else None,
    _class_names(names, place, labels),
  )


def stem(path: str) -> str:
  """The last part of a path, without .npz: what the data are called."""
  return Path(path).expanduser().resolve().name.removesuffix('.npz')


def _read_file(path: Path) -> Arrays:
  return npz_files.read(path, remedy='copy or download it again')


def _only(folder: Path, *names: str, needed: bool = True) -> Path | None:
  """The one file of a split; the first of `names` that there is."""
  for name in names:
    found = sorted(folder.glob(f'{name}*.npz'))
    if len(found) > 1:
      raise ValueError(
        f'data.path {folder} has several files for one split '
        f'({", ".join(file.name for file in found)}); keep one, or name a file'
      )
    if found:
      return found[0]
  if needed:
    raise ValueError(
      f'data.path {folder} has no {names[0]}*.npz; name an .npz file, or a '
      "folder that has one (for class folders of images: data.name='folder')"
    )
  return None


def _split_keys(arrays: Arrays, path: Path) -> tuple[Arrays, Arrays | None]:
  """Takes train_* and test_* apart, where the file has them."""
  if 'train_images' not in arrays:
    return arrays, None
  parts = [
    {
      key.removeprefix(prefix): array
      for key, array in arrays.items()
      if key.startswith(prefix)
    }
    for prefix in ('train_', 'test_')
  ]
  if 'images' not in parts[1]:
    raise ValueError(
      f'{path} has train_images but no test_images; add them, or call the '
      'one split images and labels'
    )
  return parts[0], parts[1]


def _examples(arrays: Arrays, path: Path, image_size: int) -> Examples:
  """Images as RGB of the wanted size, labels as int32."""
  if 'images' in arrays:
    images = arrays['images']
    if images.ndim == 3:
      images = images[..., None]
    if images.ndim == 4 and images.shape[-1] == 1:
      images = np.repeat(images, 3, axis=-1)
    # What is no image at all is refused by name in check_examples.
    if images.dtype == np.uint8 and images.shape[3:] == (3,):
      images = resize(images, image_size, path.name)
  elif 'jpeg' in arrays and 'offsets' in arrays:
    images = _decode_jpeg(arrays, path, image_size)
  else:
    raise ValueError(
      f'{path} has the keys {sorted(arrays)}; it needs images and labels, '
      'train_images to test_labels, or jpeg, offsets and labels'
    )
  return images, arrays.get('labels')


def _labels(labels: np.ndarray, path: Path) -> np.ndarray:
  """Labels as int32, in which none of them is another number."""
  if not np.issubdtype(labels.dtype, np.integer):
    raise ValueError(
      f'{path}: labels are {labels.dtype} {list(labels.shape)}; they must be '
      'whole numbers, one an image'
    )
  if labels.size and not 0 <= labels.min() <= labels.max() < MOST_CLASSES:
    raise ValueError(
      f'{path}: labels run from {labels.min()} to {labels.max()}; they must be '
      f'numbers of classes, from 0 and below {MOST_CLASSES}'
    )
  return labels.astype(np.int32)


def _decode_jpeg(arrays: Arrays, path: Path, image_size: int) -> np.ndarray:
  data, offsets = arrays['jpeg'], arrays['offsets']
  for name, array, kind in (
    ('jpeg', data, np.uint8),
    ('offsets', offsets, np.integer),
  ):
    if array.ndim != 1 or not np.issubdtype(array.dtype, kind):
      raise ValueError(
        f'{path}: {name} is {array.dtype} {list(array.shape)}; it must be '
        f'{kind.__name__}, in a row'
      )
  if (
    len(offsets) < 2
    or offsets[0] != 0
    or offsets[-1] != len(data)
    or np.any(offsets[1:] <= offsets[:-1])
  ):
    raise ValueError(
      f'{path}: offsets do not cut the {len(data)} bytes of jpeg into files; '
      'they must be n + 1 rising numbers from 0 to that length'
    )
  return decode(
    len(offsets) - 1,
    open_image=lambda row: open_whole(
      io.BytesIO(data[offsets[row] : offsets[row + 1]].tobytes())
    ),
    describe=lambda row: f'{path}: image {row}',
    image_size=image_size,
    what=f'Decoding {path.name}',
  )


def _class_names(
  names: np.ndarray | None, path: Path, labels: list[np.ndarray]
) -> tuple[str, ...]:
  """From the file, from classes.txt, or the numbers themselves."""
  if names is not None:
    if names.ndim != 1 or names.dtype.kind not in 'USiu':
      raise ValueError(
        f'{path}: class_names are {names.dtype} {list(names.shape)}; they must '
        'be words, one a class'
      )
    if names.dtype.kind == 'S':
      names = np.char.decode(names, 'utf-8', 'replace')
    return tuple(str(name) for name in names)
  listed = (path if path.is_dir() else path.parent) / 'classes.txt'
  if labels and listed.exists():
    return class_names.listed(listed)
  return class_names.numbers(labels)

"""Arrays out of .npz files: all that were written, as they were, or an error.

NumPy does not see every flipped bit: it stops reading where a header says that
an array ends, before the checksum is looked at, and takes a file in which the
name of an array was lost. A header of a few bytes can ask for all memory.
"""

from __future__ import annotations

import zipfile
from typing import Any, BinaryIO

import numpy as np

Arrays = dict[str, np.ndarray]

_HEADERS = {
  (1, 0): np.lib.format.read_array_header_1_0,
  (2, 0): np.lib.format.read_array_header_2_0,
}
# The last part of a zip file, without its comment, and the count in it.
_END, _COUNT = 22, slice(10, 12)
_BLOCK = 1 << 20


def read(path: Any, remedy: str) -> Arrays:
  """Reads all arrays of an .npz file and verifies their checksums.

  Args:
    path: the file, of `pathlib` or `epath`.
    remedy: what the message says should be done about a damaged one.

  Returns:
    The arrays by name; files in it that are no arrays are left out.

  Raises:
    FileNotFoundError: there is no such file.
    ValueError: it is damaged, truncated, of another kind or holds pickles.
  """
  try:
    with path.open('rb') as file:
      return arrays(file)
  except FileNotFoundError:
    raise
  except MemoryError as error:
    raise ValueError(
      f'{path} asks for more memory than there is ({error}); free some, or '
      f'{remedy}'
    ) from error
  except Exception as error:
    # zipfile, zlib, struct and NumPy raise a dozen types on damaged bytes.
    raise ValueError(
      f'{path} is damaged or not an .npz of plain arrays ({error}); {remedy}'
    ) from error


def arrays(file: BinaryIO) -> Arrays:
  """Reads all arrays of an open .npz file and verifies their checksums.

  Raises:
    Exception: of whatever type, where it is damaged; `read` says it in words.
  """
  found = {}
  with zipfile.ZipFile(file) as archive:
    members = archive.infolist()
    file.seek(-_END - len(archive.comment), 2)
    count = int.from_bytes(file.read(_END)[_COUNT], 'little')
    if len(members) != count:
      raise ValueError(f'it lists {len(members)} of {count} arrays')
    for member in members:
      name = member.filename.removesuffix('.npy')
      if name == member.filename or name.rpartition('/')[2].startswith('._'):
        _check_foreign(archive, member)
        continue
      if name in found:
        raise ValueError(f'it holds {name} twice')
      _check_header(archive, member)
      with archive.open(member) as content:
        found[name] = np.lib.format.read_array(content, allow_pickle=False)
        # At its end, the checksum is verified.
        if content.read(1):
          raise ValueError(f'{member.filename} is longer than its header says')
  return found


def _check_foreign(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
  """Reads what is no array: it might be one whose name was damaged."""
  with archive.open(member) as content:
    while content.read(_BLOCK):
      pass


def _check_header(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
  """Raises where an array would be larger than the member that holds it."""
  with archive.open(member) as content:
    version = np.lib.format.read_magic(content)
    if version not in _HEADERS:
      raise ValueError(f'{member.filename} is of format {version}')
    shape, _, dtype = _HEADERS[version](content)
  size = dtype.itemsize
  for side in shape:  # Python's integers do not overflow.
    size *= side
  if size > member.file_size:
    raise ValueError(
      f'{member.filename} has {member.file_size} bytes, and its header says '
      f'{size}'
    )

"""Arrays out of pickles that nobody need trust.

Data sets of the Python 2 days are published as pickled dicts of arrays and
lists. A pickle may ask for any call of any function; here it gets arrays of
numbers, and an error for all else.
"""

import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np


def read(path: Path, remedy: str) -> dict[Any, Any]:
  """Reads a pickled dict of arrays, lists, numbers and strings.

  Args:
    path: the file, of any protocol, by Python 2 or 3 and NumPy 1 or 2.
    remedy: what the message says should be done about a damaged one.

  Returns:
    The dict; its arrays may be read-only.

  Raises:
    ValueError: it is damaged, truncated, holds no dict, or asks for a class or
      a function; the message names the file.
  """
  try:
    with path.open('rb') as file:
      # Latin-1 is how the strings of Python 2 keep their bytes.
      fields = _Unpickler(file, encoding='latin1').load()
    if not isinstance(fields, dict):
      raise pickle.UnpicklingError(f'it holds a {type(fields).__name__}')
  except MemoryError as error:
    raise ValueError(
      f'{path} has {path.stat().st_size} bytes, but asks for more memory than '
      f'there is; free some, or {remedy}'
    ) from error
  except Exception as error:
    # A damaged pickle fails in whichever way its bytes happen to say.
    raise ValueError(
      f'{path} is damaged or no pickle of plain arrays ({error}); {remedy}'
    ) from error
  return {
    key: value.array if isinstance(value, _Array) else value
    for key, value in fields.items()
  }


class _Unpickler(pickle._Unpickler):
  """Takes arrays of numbers from a pickle, and refuses all else.

  What a pickle asks for is not looked up: stand-ins answer, so that its bytes
  reach neither NumPy's own loading nor any other code. The form in Python is as
  fast for a few large arrays; in C's, ten bytes can take all memory, as the
  table of what was read grows to any number that a pickle gives.
  """

  def find_class(self, module: str, name: str) -> type:
    if (module, name) not in _STAND_INS:
      raise pickle.UnpicklingError(
        f'it asks for {module}.{name}, which no array needs'
      )
    return _STAND_INS[module, name]


class _Dtype:
  """numpy.dtype, of numbers alone."""

  def __init__(self, code: str, align: bool = False, copy: bool = False):
    del align, copy
    if not re.fullmatch('[iuf][1248]', code):
      raise pickle.UnpicklingError(f'it holds an array of {code!r}')
    self.code = code

  def __setstate__(self, state: tuple):
    order = state[1]
    self.code = (order if order in ('<', '>') else '') + self.code


class _Array:
  """numpy.ndarray, whose bytes are in the state of the pickle."""

  def __init__(self, *arguments: Any):
    del arguments  # A type, the shape (0,) and a letter: an empty array.
    self.array = np.empty(0, np.uint8)

  def __setstate__(self, state: tuple):
    _, shape, dtype, is_fortran, content = state
    self._fill(content, dtype, shape, 'F' if is_fortran else 'C')

  def _fill(self, content: Any, dtype: _Dtype, shape: tuple, order: str):
    if isinstance(content, str):
      content = content.encode('latin1')
    self.array = np.frombuffer(content, dtype.code).reshape(shape, order=order)


class _ArrayOfBuffer(_Array):
  """What protocol 5 writes for an array."""

  def __init__(self, content: Any, dtype: _Dtype, shape: tuple, order: str):
    self._fill(content, dtype, shape, order)


class _Bytes(bytes):
  """What protocol 2 of Python 3 writes for bytes."""

  def __new__(cls, text: str, encoding: str):
    if encoding != 'latin1':
      raise pickle.UnpicklingError(f'it holds bytes as {encoding!r}')
    return super().__new__(cls, text, encoding)

  def __setstate__(self, state: Any):
    raise pickle.UnpicklingError('it changes bytes')


# NumPy 2 has moved what NumPy 1 wrote.
_STAND_INS = {
  ('numpy', 'ndarray'): _Array,
  ('numpy', 'dtype'): _Dtype,
  ('numpy.core.multiarray', '_reconstruct'): _Array,
  ('numpy._core.multiarray', '_reconstruct'): _Array,
  ('numpy.core.numeric', '_frombuffer'): _ArrayOfBuffer,
  ('numpy._core.numeric', '_frombuffer'): _ArrayOfBuffer,
  ('_codecs', 'encode'): _Bytes,
}

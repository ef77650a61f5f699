"""What callers pass: arrays and whole numbers, refused by the argument's name."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np


def numbers(name: str, value: Any) -> np.ndarray:
  """Returns an array of numbers or truths.

  Args:
    name: of the argument, for the error.
    value: an array, or what makes one.

  Raises:
    ValueError: words, objects, complex numbers, or rows of unequal length.
  """
  try:
    array = np.asarray(value)
  except ValueError as error:
    raise ValueError(f'{name} is no array ({error}).') from error
  kinds = (jnp.bool_, jnp.integer, jnp.floating)
  if not any(jnp.issubdtype(array.dtype, kind) for kind in kinds):
    said = type(value).__name__ if array.ndim == 0 else array.dtype
    raise ValueError(f'{name} is {said}; pass an array of numbers.')
  return array


def whole(name: str, value: Any, least: int, most: int = 2**31 - 1) -> int:
  """Returns a whole number between two others.

  Raises:
    ValueError: another kind of value, or one that is out of range.
  """
  if (
    isinstance(value, bool)
    or not isinstance(value, int | np.integer)
    or not least <= value <= most
  ):
    raise ValueError(
      f'{name}={value!r}: it must be a whole number, at least {least} and at '
      f'most {most}.'
    )
  return int(value)


def at_a_time(name: str, value: Any) -> None:
  """Checks how many rows are taken at a time: None, or at least one.

  Raises:
    ValueError: something else.
  """
  if value is not None:
    whole(name, value, 1)


def layers(name: str, value: Any) -> Sequence[Any]:
  """Returns a tuple or a list, one array a layer.

  Raises:
    ValueError: something else, or nothing in it.
  """
  if hasattr(value, 'masks'):
    raise ValueError(
      f'{name} is an {type(value).__name__}; pass its masks: found.masks.'
    )
  if not isinstance(value, tuple | list):
    said = type(value).__name__
    if np.ndim(value):
      said = f'one array of shape {np.shape(value)}'
    raise ValueError(
      f'{name} is {said}; pass a tuple with one array a layer, such as '
      'Explanation.masks.'
    )
  if not value:
    raise ValueError(
      f'{name} is empty; pass a tuple with one array a layer, such as '
      'Explanation.masks.'
    )
  return value


def mask_of(name: str, value: Any) -> np.ndarray:
  """Returns the mask of a layer, of any shape.

  Raises:
    ValueError: no array of numbers, or values outside [0, 1].
  """
  mask = numbers(name, value)
  if mask.dtype != bool and not ((mask >= 0) & (mask <= 1)).all():
    raise ValueError(
      f'{name} holds values outside [0, 1]: 0 is a neuron that is off, 1 one '
      'that is on.'
    )
  return mask


def masks(value: Any, images: int | None = None) -> int:
  """Checks masks; returns of how many images they are.

  Args:
    value: what was passed as `masks`, an array a layer.
    images: how many there are; None for as many as in the first layer.

  Raises:
    ValueError: no layer, another number of images, or values outside [0, 1].
  """
  for i, layer in enumerate(layers('masks', value)):
    mask = mask_of(f'masks[{i}]', layer)
    if images is None and mask.ndim:
      images = len(mask)
    if mask.ndim < 2 or len(mask) != images:
      raise ValueError(
        f'masks[{i}] has shape {mask.shape}; there are {images} images: pass a '
        f'tuple with one array [{images}, ...] a layer.'
      )
  return images


def off(value: Any) -> None:
  """Checks what stands in for off neurons: None, or an array a layer.

  Raises:
    ValueError: something else, or values that are not finite.
  """
  for i, stand_in in enumerate(() if value is None else layers('off', value)):
    if not np.isfinite(numbers(f'off[{i}]', stand_in)).all():
      raise ValueError(
        f'off[{i}] holds NaN or infinite values; pass finite ones, such as '
        'activation_means(target, images).'
      )


def words(name: str, value: Any) -> None:
  """Checks names, such as those of the classes.

  Raises:
    ValueError: something else than words in a row.
  """
  if not isinstance(value, Iterable) or not all(
    isinstance(word, str) for word in value
  ):
    raise ValueError(f'{name} is {value!r:.60}; pass words in a list.')


def rows(
  name: str, value: Any, said: Sequence[str] = (), measured: Sequence[str] = ()
) -> None:
  """Checks the rows of a table: mappings in a list.

  Args:
    name: of the argument, for the error.
    value: what was passed.
    said: keys that each row has, with words.
    measured: likewise, with finite numbers.

  Raises:
    ValueError: something else, or a row without one of the keys.
  """
  if isinstance(value, str) or not isinstance(value, Sequence):
    raise ValueError(f'{name} is {value!r:.60}; pass mappings in a list.')
  for i, row in enumerate(value):
    if not isinstance(row, Mapping):
      raise ValueError(f'{name}[{i}] is {row!r:.60}; pass a mapping.')
    for key in (*said, *measured):
      if key not in row:
        raise ValueError(
          f'{name}[{i}] has no {key!r}; it has {", ".join(map(str, row))}.'
        )
      legal = isinstance(row[key], str) if key in said else finite(row[key])
      if not legal:
        what = 'a word' if key in said else 'a finite number'
        raise ValueError(
          f'{name}[{i}] has {key}={row[key]!r:.60}; it must be {what}.'
        )


def finite(value: Any) -> bool:
  """Whether a value is a number, and finite."""
  try:
    return value is not None and math.isfinite(value)
  except (TypeError, OverflowError):  # A word, an integer of 400 digits.
    return False

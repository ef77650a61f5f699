"""Which kind of value each field of a config takes."""

from __future__ import annotations

from typing import Any

import ml_collections

from gencnp_jax.choices import SettingsError

# JAX counts in int32.
_MOST = 2**31
_KINDS = {
  int: 'a whole number between -2^31 and 2^31',
  float: 'a number',
  tuple: 'a tuple',
  str: 'text',
  bool: 'True or False',
}


def check(config: Any, defaults: Any, prefix: str = '') -> None:
  """Checks that each field is there, and what its default is.

  A `ConfigDict` checks it too, but for None, for truths that stand for numbers,
  and where somebody made one by hand.

  Args:
    config: a section, or a whole config.
    defaults: what it was made from.
    prefix: the section's name and a dot.

  Raises:
    SettingsError: names the field, the value and what it must be.
  """
  for name, default in defaults.items():
    field = prefix + name
    if name not in config:
      raise SettingsError(
        f'config.{field} is missing: start from settings.defaults().'
      )
    value, kind = config[name], type(default)
    if isinstance(default, ml_collections.ConfigDict):
      if not isinstance(value, ml_collections.ConfigDict):
        raise SettingsError(f'config.{field}={value!r}: must be a section.')
      check(value, default, f'{field}.')
      continue
    if not _is(value, kind):
      said = repr(value)
      if isinstance(value, ml_collections.ConfigDict):  # Of several lines.
        said = 'a section'
      raise SettingsError(f'config.{field}={said}: must be {_KINDS[kind]}.')


def is_whole(value: Any) -> bool:
  """Whether a value is a whole number; True and False are none."""
  return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
  """Whether a value is a number; True and False are none."""
  return is_whole(value) or isinstance(value, float)


def _is(value: Any, kind: type) -> bool:
  if kind is int:
    return is_whole(value) and -_MOST <= value <= _MOST
  return is_number(value) if kind is float else isinstance(value, kind)

"""The persistent compilation cache, on by default."""

from __future__ import annotations

import os

import jax
from etils import epath

_DEFAULT = '~/.cache/gencnp_jax/xla'


def use_cache() -> None:
  """Keeps compiled programs between runs, so that a second start is quick.

  JAX_COMPILATION_CACHE_DIR names another folder; JAX_ENABLE_COMPILATION_CACHE=0
  switches it off.
  """
  if os.environ.get('JAX_COMPILATION_CACHE_DIR'):
    return
  path = epath.Path(_DEFAULT).expanduser()
  try:
    path.mkdir(parents=True, exist_ok=True)
  except OSError:  # A read-only home: compile again, no harm done.
    return
  jax.config.update('jax_compilation_cache_dir', str(path))

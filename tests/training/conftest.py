"""Shared by the tests of the training room: compile quickly, and once."""

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

# As in a fresh process.
_DEFAULTS = {
  'jax_disable_most_optimizations': False,
  'jax_persistent_cache_min_compile_time_secs': 1.0,
  'jax_persistent_cache_min_entry_size_bytes': 0,
  'jax_compilation_cache_dir': None,
}


@pytest.fixture(scope='session', autouse=True)
def compile_once(tmp_path_factory):
  """Each run compiles its step anew; the cache on disk spares most of that.

  What is compiled is tiny: compiling it takes a hundred times as long as
  running it, and optimising it most of that.
  """
  settings = {
    'jax_disable_most_optimizations': True,
    'jax_persistent_cache_min_compile_time_secs': 0.0,
    'jax_persistent_cache_min_entry_size_bytes': -1,
    'jax_compilation_cache_dir': str(tmp_path_factory.mktemp('compiled')),
  }
  with pytest.MonkeyPatch.context() as patch:
    for name, value in settings.items():
      jax.config.update(name, value)
      # For the processes that tests start, too.
      patch.setenv(name.upper(), str(value))
    compilation_cache.reset_cache()
    yield
  for name, value in _DEFAULTS.items():
    jax.config.update(name, value)
  compilation_cache.reset_cache()

"""Test setup: four CPU devices, JAX's strict checks, quick compilation."""

import gc
import os
import pathlib

import chex
import pytest

from tests import compilation

os.environ['XLA_FLAGS'] = (
  f'{os.environ.get("XLA_FLAGS", "")} {compilation.QUICK}'
)
chex.set_n_cpu_devices(4)

import jax  # noqa: E402

jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_numpy_rank_promotion', 'raise')
jax.config.update('jax_debug_key_reuse', True)

# Tracing makes millions of small objects, and few in cycles: looking for those
# took a tenth of the time.
gc.set_threshold(50_000, 20, 100)

# Each compiled program takes dozens of a process's memory mappings. Linux
# grants 65 530; XLA crashes where it gets no more.
_MAPPINGS = pathlib.Path('/proc/self/maps')
_MANY_MAPPINGS = 20_000


@pytest.fixture(autouse=True, scope='module')
def _bounded_programs():
  """Drops compiled programs between modules once there are many."""
  yield
  mappings = _MAPPINGS.read_bytes() if _MAPPINGS.exists() else b''
  if mappings.count(b'\n') > _MANY_MAPPINGS:
    jax.clear_caches()

"""Test setup: four CPU devices, JAX's strict checks, quick compilation."""

import gc
import os
import pathlib

import chex
import jaxlib
import pytest

# Programs here run once or twice on tiny arrays: compiling is what takes time.
_QUICK = ['--xla_backend_optimization_level=0']
if jaxlib.version.__version_info__ < (0, 11):
  # A third less to compile. XLA is taking the flag out, and refuses one that
  # it does not know.
  _QUICK += ['--xla_cpu_use_fusion_emitters=false']
os.environ['XLA_FLAGS'] = ' '.join([os.environ.get('XLA_FLAGS', ''), *_QUICK])
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

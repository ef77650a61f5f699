"""Test setup: four CPU devices, JAX's strict checks, quick compilation."""

import os

import chex

# Programs here run once or twice on tiny arrays: compiling is what takes time.
os.environ['XLA_FLAGS'] = (
  os.environ.get('XLA_FLAGS', '') + ' --xla_backend_optimization_level=0'
)
chex.set_n_cpu_devices(4)

import jax  # noqa: E402

jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_numpy_rank_promotion', 'raise')
jax.config.update('jax_debug_key_reuse', True)

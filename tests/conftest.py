"""Test setup: four CPU devices, and JAX's strict checks."""

import chex
import jax

chex.set_n_cpu_devices(4)
jax.config.update('jax_platforms', 'cpu')
jax.config.update('jax_numpy_rank_promotion', 'raise')
jax.config.update('jax_debug_key_reuse', True)

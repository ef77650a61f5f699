"""The plots, under one name; each returns a figure and shows nothing."""

from gencnp_jax.report.curves import comparison, training_curves
from gencnp_jax.report.examples import examples
from gencnp_jax.report.sparsity import firing_sparsity
from gencnp_jax.report.sparsity_curve import sparsity_curve

__all__ = [
  'comparison',
  'examples',
  'firing_sparsity',
  'sparsity_curve',
  'training_curves',
]

"""The plots, under one name; each returns a figure and shows nothing."""

from gencnp_jax.report.curves import comparison, training_curves
from gencnp_jax.report.examples import examples
from gencnp_jax.report.sparsity import firing_sparsity

__all__ = ['comparison', 'examples', 'firing_sparsity', 'training_curves']

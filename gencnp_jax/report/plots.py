"""The plots, under one name; each returns a figure and shows nothing.

`predictions` makes the notes that galleries carry; it draws nothing.
"""

from gencnp_jax.report.card import explanation
from gencnp_jax.report.curves import comparison, training_curves
from gencnp_jax.report.embedding import embeddings
from gencnp_jax.report.examples import examples
from gencnp_jax.report.gallery import gallery
from gencnp_jax.report.instance import instance_sparsity
from gencnp_jax.report.layers import pathway
from gencnp_jax.report.leakage import leakage_curves, leakage_tradeoff
from gencnp_jax.report.overlap import layer_overlap
from gencnp_jax.report.prediction import Prediction, predictions
from gencnp_jax.report.roap import roap_curve
from gencnp_jax.report.sparsity import firing_sparsity
from gencnp_jax.report.sparsity_curve import sparsity_curve
from gencnp_jax.report.transfer import transfer, transfer_grid
from gencnp_jax.report.transferred import transferred

__all__ = [
  'Prediction',
  'comparison',
  'embeddings',
  'examples',
  'explanation',
  'firing_sparsity',
  'gallery',
  'instance_sparsity',
  'layer_overlap',
  'leakage_curves',
  'leakage_tradeoff',
  'pathway',
  'predictions',
  'roap_curve',
  'sparsity_curve',
  'training_curves',
  'transfer',
  'transfer_grid',
  'transferred',
]

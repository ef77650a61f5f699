"""Metrics: how good are pathways? Finished values; (sum, count) pairs inside.

| metric | value | better |
| --- | --- | --- |
| `faithfulness` | accuracy, agreement, ICr, mIC (and of risers) | higher |
| `faithfulness` | mDC (and of fallers; beside agreement) | lower |
| `class_iou` | within | higher |
| `class_iou` | between; the floors are what chance scores | lower |
| `leakage` | own, influence | higher |
| `leakage` | swap, blank, disconnected, empty_layer | lower |
| `roap` | accuracy under 1 - P | lower |
| `class_variance` | within / between | lower / higher |

Every metric over a target comes twice: `faithfulness(target, images, ...)`, and
`faithfulness_sums(...)`, a pure function from the per-image vectors of one
batch to sums that are added with `+` and finished by `.result()` (`.value` for
the single number of `roap_sums`). Shares are fractions in [0, 1]; what is
undefined is nan, and accuracy without labels is None.
"""

from gencnp_jax.metrics.class_iou import ClassIoU, class_iou
from gencnp_jax.metrics.embedding import ClassVariance, class_variance
from gencnp_jax.metrics.faithfulness import (
  Faithfulness,
  FaithfulnessSums,
  faithfulness,
  faithfulness_sums,
)
from gencnp_jax.metrics.firing import FiringSparsity, FiringSums, firing_sums
from gencnp_jax.metrics.leakage import (
  Leakage,
  LeakageSums,
  leakage,
  leakage_sums,
)
from gencnp_jax.metrics.packed import PackedMasks
from gencnp_jax.metrics.partners import mean_image, partners
from gencnp_jax.metrics.roap import roap, roap_sums
from gencnp_jax.metrics.sums import Mean, check_labels
from gencnp_jax.metrics.transfer import (
  Transfer,
  TransferSplit,
  Wearing,
  neuron_frequencies,
  transfer_split,
)

__all__ = [
  'ClassIoU',
  'ClassVariance',
  'Faithfulness',
  'FaithfulnessSums',
  'FiringSparsity',
  'FiringSums',
  'Leakage',
  'LeakageSums',
  'Mean',
  'PackedMasks',
  'Transfer',
  'TransferSplit',
  'Wearing',
  'check_labels',
  'class_iou',
  'class_variance',
  'faithfulness',
  'faithfulness_sums',
  'firing_sums',
  'leakage',
  'leakage_sums',
  'mean_image',
  'neuron_frequencies',
  'partners',
  'roap',
  'roap_sums',
  'transfer_split',
]

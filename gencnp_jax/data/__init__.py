"""Data: where arrays come from, and how batches are drawn from them.

Every source ends as one uint8 array `[n, h, w, 3]` a split, in memory:
`load(config.data)` gives `Splits(train, validation, test)`. From there a
batch is a pure function of (seed, step): `indices` draws the rows on the
host, `augment` crops and flips inside jit. Nothing is saved, nothing is
restored, and no draw depends on the number of processes or devices. Data
that do not fit on the device go through `host_batches`, same batches.

dataset.py   Dataset, Splits: what a loaded split is
loading.py   `load`: config -> source -> validation share, limit, statistics
digits.py cifar10.py prepared.py npz.py folder.py downsampled_imagenet.py
             the six sources
class_names.py       names of classes, from text files
pickled_arrays.py    arrays out of untrusted pickles
images.py    image files -> one array: RGB, size, progress
cache.py     lock, temporary name, rename: no half-written file is read
batches.py   `order`, `indices`, `augment`, `mix`
prefetch.py  `host_batches`
"""

from gencnp_jax.data.batches import augment, draws, indices, mix, order
from gencnp_jax.data.dataset import Dataset, Splits
from gencnp_jax.data.loading import load
from gencnp_jax.data.prefetch import host_batches

__all__ = [
  'Dataset',
  'Splits',
  'augment',
  'draws',
  'host_batches',
  'indices',
  'load',
  'mix',
  'order',
]

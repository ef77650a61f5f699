"""Do class-relevant pathways explain other images of the class?

Paper, "Transferability Settings": of the images of class c a share `1 -
eps_ss` is drawn (eps_ss is the sample sparsity); B is how often their pathways
have each neuron on; `P_c = 1[B > eps_cn]`. P_c is worn by images of the class
that were not drawn for any eps_ss: then all of them are measured on the same
images, and none on those it was built from.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from gencnp_jax import pathway
from gencnp_jax.metrics import sums
from gencnp_jax.metrics.faithfulness import (
  Faithfulness,
  FaithfulnessSums,
  faithfulness_sums,
)
from gencnp_jax.metrics.packed import PackedMasks
from gencnp_jax.metrics.partners import partners
from gencnp_jax.runtime import blocks, devices
from gencnp_jax.target import Arrays, Target


@dataclasses.dataclass(frozen=True)
class TransferSplit:
  """Which images build class pathways, and which ones wear them.

  Attributes:
    builders: class -> rows in the order in which they are drawn.
    sizes: class -> number of its images.
    held_out: int64 `[m]`, sorted: the images that never build.
  """

  builders: dict[int, np.ndarray]
  sizes: dict[int, int]
  held_out: np.ndarray

  def drawn(self, group: int, sample_sparsity: float) -> np.ndarray:
    """Returns the rows that build a class's pathway at a sample sparsity."""
    count = _builders(self.sizes[group], sample_sparsity)
    return self.builders[group][:count]


@dataclasses.dataclass(frozen=True)
class Transfer:
  """What class-relevant pathways do on other images of their class.

  Attributes:
    faithfulness: of the class pathways worn by held-out images; `accuracy` is
      what the paper's Table 6 shows.
    swap: share of pairs (class c, an image of another class, that the target
      does not take for c) for which the image under P_c is given class c; nan
      without such a pair.
  """

  faithfulness: Faithfulness
  swap: float


def transfer_split(
  groups: np.ndarray, sample_sparsities: Sequence[float], seed: int
) -> TransferSplit:
  """Draws builders and held-out images, one order a class.

  The draws are nested: what is drawn at a high sample sparsity is drawn at a
  lower one as well.

  Args:
    groups: int `[n]`, the class of each image, true or predicted.
    sample_sparsities: eps_ss, shares in (0, 1), all that will be asked for.
    seed: of the order.

  Raises:
    ValueError: no class with an image left to wear its pathway.
  """
  groups = np.asarray(groups)
  rng = np.random.default_rng(seed)
  builders, sizes, held_out = {}, {}, []
  for c in np.unique(groups):
    rows = rng.permutation(np.flatnonzero(groups == c))
    if len(rows) == 1:  # Nobody would wear what it builds.
      continue
    most = _builders(len(rows), min(sample_sparsities))
    builders[int(c)], sizes[int(c)] = rows[:most], len(rows)
    held_out.append(rows[most:])
  if not held_out:
    raise ValueError(
      f'{len(groups)} images of {len(np.unique(groups))} classes leave none '
      'that would wear a class pathway; transferability needs two images or '
      'more of a class.'
    )
  return TransferSplit(builders, sizes, np.sort(np.concatenate(held_out)))


def neuron_frequencies(
  masks: PackedMasks, split: TransferSplit, sample_sparsity: float
) -> np.ndarray:
  """Returns B: how often each neuron is on in the drawn pathways of a class.

  Returns:
    float32 `[classes, neurons]`, classes in the order of `split.builders`.
  """
  neurons = sum(masks.layer_sizes)
  rows = []
  for c in split.builders:
    bits = masks.bits[split.drawn(c, sample_sparsity)]
    on = np.unpackbits(bits, axis=1, count=neurons)
    rows.append(on.mean(axis=0, dtype=np.float64))
  return np.stack(rows).astype(np.float32)


class Wearing:
  """Measures class pathways on the held-out images of a split.

  Everything that does not depend on the pathways is computed once.
  """

  def __init__(
    self,
    target: Target,
    images: np.ndarray,
    labels: np.ndarray | None,
    groups: np.ndarray,
    split: TransferSplit,
    *,
    off: Arrays | None = None,
    seed: int = 0,
    batch_size: int = 256,
  ):
    """Takes the images that wear pathways.

    Args:
      target: the classifier.
      images: `[n, h, w, channels]`, all of those that were split.
      labels: int `[n]`, or None: accuracy is absent then.
      groups: int `[n]`, as in `transfer_split`.
      split: what that returned.
      off: what stands in for an off neuron: None for zero.
      seed: of the partners of swap leakage.
      batch_size: images at a time.
    """
    rows = split.held_out
    self._images = images[rows]
    self._labels = None if labels is None else labels[rows]
    self._groups = np.asarray(groups)[rows]
    self._place = np.searchsorted(list(split.builders), self._groups)
    self._place = self._place.astype(np.int32)
    self._batch_size = batch_size
    self._logits = blocks.collect_rows(
      Target.__call__, target, self._images, batch_size=batch_size
    )
    self._partner = partners(self._groups, seed)
    said = self._logits.argmax(1)[self._partner]
    self._paired = (self._partner >= 0) & (said != self._groups)
    self._wearing = devices.replicate((target, off))
    shapes = target.activation_shapes(images.shape[1:])
    self._sizes = tuple(int(np.prod(shape)) for shape in shapes)

  def __call__(self, pathways: np.ndarray) -> Transfer:
    """Measures.

    Args:
      pathways: bool `[classes, neurons]`, in the order of `split.builders`,
        the layers of a pathway flattened and behind one another.
    """
    on = self._counts(pathways)[self._place]
    faithful, swapped = FaithfulnessSums(), sums.NONE
    batches = blocks.map_rows(
      _wear,
      (*self._wearing, pathways),
      self._images,
      self._images[self._partner],
      self._place,
      batch_size=self._batch_size,
    )
    for rows, (own, swap) in batches:
      faithful += faithfulness_sums(
        self._logits[rows],
        own,
        None if self._labels is None else self._labels[rows],
        1.0 - on[rows].sum(1) / sum(self._sizes),
        on[rows],
        self._sizes,
      )
      leaks = swap.argmax(1) == self._groups[rows]
      swapped += sums.Mean.of(leaks, self._paired[rows])
    return Transfer(faithful.result(), swapped.value)

  def _counts(self, pathways: np.ndarray) -> np.ndarray:
    starts = np.cumsum((0, *self._sizes[:-1]))
    return np.add.reduceat(pathways, starts, axis=1, dtype=np.float64)


def _builders(size: int, sample_sparsity: float) -> int:
  """Returns how many of a class's images build: one at least, and not all."""
  return min(max(1, round((1.0 - sample_sparsity) * size)), size - 1)


def _wear(replicated: Any, images, partner_images, place):
  target, off, pathways = replicated
  shapes = target.activation_shapes(images.shape[1:])
  masks = pathway.split(pathways[place], shapes)
  return (
    target.masked(images, masks, off),
    target.masked(partner_images, masks, off),
  )

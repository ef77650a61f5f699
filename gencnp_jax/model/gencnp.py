"""GEN-CNP: generates a pathway per image from the target's activations."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import struct

from gencnp_jax import selection
from gencnp_jax.model import kernels, normalisation, pdn, recursive
from gencnp_jax.model.daq import daq

EMBEDDERS = ('recursive', 'none')
QUANTISERS = ('daq', 'sigmoid')
_GAP = 1e-3
"""The least distance of learned DAQ bounds."""


@struct.dataclass
class Generated:
  """What GEN-CNP generates for a batch; tuples with one array a layer.

  Attributes:
    masks: P, float32 {0, 1}, shaped like the activations; with a sigmoid soft,
      in [0, 1].
    scores: D, float32, the signed scores before quantisation, shaped likewise.
    importance: the PDN's output, `[n, h', w', c_i]` (`[n, c_i]`); without
      embedders shaped like the activations.
    order: D, and above all of an image the neurons of the layer floor: what a
      cut at a number of neurons goes by.
  """

  masks: tuple[jax.Array, ...]
  scores: tuple[jax.Array, ...]
  importance: tuple[jax.Array, ...]
  order: tuple[jax.Array, ...]

  @property
  def pathways(self) -> tuple[jax.Array, ...]:
    """The masks cut at one half, bool: hard whatever the quantiser."""
    return tuple(m > 0.5 for m in self.masks)


class GenCNP(nn.Module):
  """RFEs -> PDN -> RPDs -> DAQ (paper, section 3.1, Fig. 2).

  The last three fields each take a part away, as in the paper's Table 2.

  Attributes:
    hidden: width of the PDN.
    num_fc: z, the PDN's number of layers.
    kernel_sizes: per activation, k, (k_h, k_w) or 0 to choose; empty chooses
      all.
    embedding: (h', w'), or None for the smallest map (the paper's choice).
    lower: DAQ's l. D comes out of a BatchNorm, so its unit is one standard
      deviation.
    upper: DAQ's u.
    learn_bounds: learn l and u per layer, from the values above.
    sigma: DAQ's kernel width.
    temperature: DAQ's temperature.
    layer_floor: share of each layer that always fires, its top scores (ours).
    canvases: scans per recursive block; None lets the backend decide.
    dtype: compute dtype; parameters stay float32.
    axis_name: pmap axis over which batch statistics are synchronised.
    shared_pdn: False for a PDN a layer, which reads and writes its own layer
      alone ("l.-w. PDNs").
    embedders: 'recursive', or 'none' for PDNs from the raw maps to a score of
      every neuron, and a BatchNorm ("w/o RFEs"). They are a PDN a layer, have
      `2 * hidden` weights a neuron, and no use for kernel sizes or embedding.
    class_input: the PDNs also read the class that is explained, one-hot (ours).
    skip: a neuron's score also reads the neuron's own activation A, past the
      embedders: D + BN(A) + BN(A * D), what a decoder cannot know at the
      resolution of the embedding (ours).
    quantiser: 'daq', or 'sigmoid' for soft masks, in training and out of it
      ("w/o DAQ"). It has no bounds, learned or not.
  """

  hidden: int = 1024
  num_fc: int = 2
  kernel_sizes: tuple[Any, ...] = ()
  embedding: tuple[int, int] | None = None
  lower: float = -1.5
  upper: float = 1.5
  learn_bounds: bool = False
  sigma: float = 2.0
  temperature: float = 2.0
  layer_floor: float = 0.0
  canvases: int | None = None
  dtype: Any = jnp.float32
  axis_name: str | None = None
  shared_pdn: bool = True
  embedders: str = 'recursive'
  quantiser: str = 'daq'
  class_input: bool = False
  skip: bool = False

  @nn.compact
  def __call__(
    self,
    activations: Sequence[jax.Array],
    train: bool = False,
    classes: jax.Array | None = None,
    kept: jax.Array | None = None,
  ) -> Generated:
    """Generates pathways.

    Args:
      activations: tuple of `[n, h_i, w_i, c_i]` or `[n, c_i]`.
      train: use batch statistics and update the running ones.
      classes: float `[n, classes]`, one-hot, the class that is explained of
        each image; read where there is `class_input`.
      kept: int32 `[n]`, of each image how many neurons stay on, those of the
        highest scores over all layers at once, a layer floor's first (a tie at
        the cut is off), or 0 for DAQ's own cut. None is 0 for all.

    Raises:
      ValueError: no classes where they are read; kernel sizes that do not fit
        the maps, activations of another rank, fields that are unknown or do
        not go together.
    """
    self._check(classes)
    plan = self.plan([a.shape[1:] for a in activations])
    bare = self.embedders == 'none'
    blocks = self._bare(plan) if bare else self._blocks(activations, plan)
    patterns = [rfe(a, train) for (rfe, _), a in zip(blocks, activations)]
    importance = self._importance(patterns, classes)
    scores = tuple(
      rpd(e, train).astype(jnp.float32)
      for (_, rpd), e in zip(blocks, importance)
    )
    if self.skip:
      scores = tuple(
        d
        + self._norm(f'skip_{i}')(a, train)
        + self._norm(f'product_{i}')(a * d, train)
        for i, (d, a) in enumerate(zip(scores, activations))
      )
    floor, order = self._floor(scores)
    cut = None
    if kept is not None:
      cut = jax.lax.stop_gradient(selection.kth_score(order, kept + 1))
    masks = []
    for i, d in enumerate(scores):
      mask = self._binarise(i, d, cut, kept)
      if floor is not None:
        always = floor[i]
        if cut is not None:  # One within the floor leaves a part of it.
          always &= _of_rows(kept == 0, d) | (order[i] > _of_rows(cut, d))
        # The gradient stays DAQ's: the floor only adds neurons to the forward.
        mask += jax.lax.stop_gradient(always * (1 - mask))
      masks.append(mask)
    return Generated(tuple(masks), scores, importance, order)

  def _check(self, classes) -> None:
    for field, known in ('embedders', EMBEDDERS), ('quantiser', QUANTISERS):
      value = getattr(self, field)
      if value not in known:
        raise ValueError(
          f'{field}={value!r}: choose one of {", ".join(known)}.'
        )
    if self.class_input and classes is None:
      raise ValueError(
        'class_input=True: the class that is explained is read; pass '
        'classes=, one-hot.'
      )
    if self.embedders == 'none' and self.shared_pdn:
      raise ValueError(
        "embedders='none' leaves no patterns that layers could share: it takes "
        'shared_pdn=False.'
      )
    if self.quantiser == 'sigmoid' and self.layer_floor > 0:
      raise ValueError(
        f"layer_floor={self.layer_floor}: quantiser='sigmoid' makes soft "
        'masks, in which no neuron is off; it takes layer_floor=0.'
      )

  def _bare(self, plan) -> list[tuple[Any, nn.Module]]:
    """Returns what stands in for (RFE, RPD) where there are no embedders."""
    # DAQ's bounds are in standard deviations of D, so D is normalised here too.
    return [
      (lambda a, train: a, self._norm(f'norm_{i}')) for i in range(len(plan))
    ]

  def _norm(self, name: str) -> nn.Module:
    return normalisation.BatchNorm(self.axis_name, name=name)

  def plan(
    self, shapes: Sequence[tuple[int, ...]]
  ) -> list[tuple[tuple[int, int], tuple[int, int]] | None]:
    """Returns how each activation is brought to the shared size.

    Args:
      shapes: of the activations of one image, `(h_i, w_i, c_i)` or `(c_i,)`.

    Returns:
      For each, (k_h, k_w) and (h', w'); None where there is no recursive block:
      fully connected layers, and all without embedders.

    Raises:
      ValueError: activations of another rank; kernel sizes or an embedding that
        do not fit the maps.
    """
    if any(len(shape) not in (1, 3) for shape in shapes):
      raise ValueError(
        'GEN-CNP takes activations of rank 4 or 2; got ranks '
        f'{[1 + len(shape) for shape in shapes]}. A model that is vmapped over '
        'batches of one has an axis too many: call it on the batch. Or leave '
        'others out: Target(..., relus=...).'
      )
    if self.embedders == 'none':
      return [None] * len(shapes)
    return kernels.plan(shapes, self.kernel_sizes, self.embedding)

  def _blocks(self, activations, plan) -> list[tuple[nn.Module, nn.Module]]:
    """Returns (RFE, RPD) of each activation."""
    common = {'dtype': self.dtype, 'axis_name': self.axis_name}
    blocks = []
    for i, (activation, how) in enumerate(zip(activations, plan)):
      names = f'rfe_{i}', f'rpd_{i}'
      if how is None:
        pair = [
          normalisation.DenseBlock(relu=relu, name=name, **common)
          for name, relu in zip(names, (True, False))
        ]
      else:
        size = activation.shape[1:3]
        pair = [
          recursive.RecursiveBlock(
            *how, size, decode, self.canvases, name=name, **common
          )
          for name, decode in zip(names, (False, True))
        ]
      blocks.append(tuple(pair))
    return blocks

  def _importance(self, patterns, classes) -> tuple[jax.Array, ...]:
    make = functools.partial(pdn.PDN, self.hidden, self.num_fc, self.dtype)
    classes = classes if self.class_input else None
    if self.shared_pdn:
      return make(name='pdn')(patterns, classes)
    return tuple(
      make(name=f'pdn_{i}')((p,), classes)[0] for i, p in enumerate(patterns)
    )

  def _binarise(self, layer: int, scores, cut, kept) -> jax.Array:
    soft = self.quantiser == 'sigmoid'
    # Soft masks have no bounds, and their cut at zero.
    lower, upper = (0.0, 0.0) if soft else self._bounds(layer)
    if cut is not None:
      # The cut comes to lie where the quantiser has its own.
      shift = jnp.where(kept > 0, (lower + upper) / 2 - cut, 0)
      scores += _of_rows(shift, scores)
    if soft:
      return nn.sigmoid(scores)
    return daq(
      scores, lower, upper, sigma=self.sigma, temperature=self.temperature
    )

  def _bounds(self, layer: int) -> tuple[Any, Any]:
    if not self.learn_bounds:
      return self.lower, self.upper
    start = jnp.asarray([self.lower, self.upper], jnp.float32)
    lower, upper = self.param(f'bounds_{layer}', lambda _: start)
    return lower, jnp.maximum(upper, lower + _GAP)

  def _floor(self, scores) -> tuple[Any, tuple[jax.Array, ...]]:
    """Returns the neurons that always fire, or None, and the order of a cut."""
    if not self.layer_floor:
      return None, scores
    floor = tuple(
      selection.top_share(jax.lax.stop_gradient(d), self.layer_floor)
      for d in scores
    )
    return floor, selection.raised(scores, floor)


def _of_rows(values: jax.Array, like: jax.Array) -> jax.Array:
  """Gives one value a row the rank of an array of rows."""
  return values.reshape(-1, *[1] * (like.ndim - 1))

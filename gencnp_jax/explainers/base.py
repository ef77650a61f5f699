"""What every explainer shares: one call shape, batches, devices, the cut.

An explainer is a pytree, so that a whole batch, from images to masks, is one
compiled computation to which the explainer itself is an argument.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging
from flax import struct

from gencnp_jax import arguments, pathway, selection
from gencnp_jax.explainers import inputs
from gencnp_jax.runtime import blocks
from gencnp_jax.target import Arrays, Target

# Share of pathways with an empty layer that is worth a word.
_TRIVIAL = 0.01


class Scored(NamedTuple):
  """Scores of the neurons of a batch, on the device.

  Attributes:
    logits: float32 `[n, classes]`, the target's own.
    scores: tuple of float32 `[n, ...]`; larger is more important, no NaN.
  """

  logits: jax.Array
  scores: Arrays


class Pathways(NamedTuple):
  """What an explainer finds for a batch, on the device.

  Attributes:
    logits: float32 `[n, classes]`, the target's own.
    masks: tuple of bool `[n, ...]`.
    importance: tuple of float32 `[n, ...]`, what the masks were cut from.
    tied: share of kept neurons that a draw among equals chose, `[n]`.
  """

  logits: jax.Array
  masks: Arrays
  importance: Arrays
  tied: jax.Array


@struct.dataclass
class Explainer:
  """A callable from images to an `Explanation`.

  Attributes:
    target: the classifier to explain.
  """

  target: Target

  @property
  def name(self) -> str:
    """The method's name in tables."""
    return type(self).__name__

  @property
  def ablation(self) -> Arrays | None:
    """What stands in for off neurons: None for zero."""
    return None

  @property
  def copies(self) -> int:
    """Float32 copies of an image's activations that are held at the peak."""
    return 16

  @property
  def is_cut_from_importance(self) -> bool:
    """Whether the top of the importance is a pathway at any sparsity."""
    return True

  def pathways(
    self, index: jax.Array, images: jax.Array, classes: jax.Array
  ) -> Pathways:
    """Finds the pathways of a batch, inside jit.

    Args:
      index: int32 `[n]`, each image's number in its data set: draws depend on
        it and on the seed alone.
      images: `[n, h, w, channels]`, what the target takes.
      classes: int32 `[n]`, the class to explain of each image, or -1 for the
        target's own arg-max (see `class_to_explain`).
    """
    raise NotImplementedError

  def __call__(
    self,
    images: Any,
    classes: Any = None,
    batch_size: int | None = None,
    *,
    importance: bool = True,
    first_index: int = 0,
  ) -> pathway.Explanation:
    """Explains images.

    Args:
      images: `[n, h, w, channels]`, uint8 or float, what the target takes.
      classes: int `[n]`, the class to explain of each; None for the target's
        own arg-max.
      batch_size: images at a time, over all devices; None picks what fits.
        Results are bitwise repeatable at equal batch size; another may move
        neurons within rounding of the cut.
      importance: keep the scores (four bytes a neuron) in the explanation.
      first_index: number of the first image in its data set, where the images
        are a part of one: draws depend on it.

    Raises:
      ValueError: no images, images or logits that are not finite, images not of
        a shape that the target takes, classes out of range, numbers that are no
        sizes.
    """
    images = inputs.check_images(images)
    shapes = inputs.activation_shapes(self.target, images)
    inputs.check_call(self.ablation, len(images), batch_size, first_index)
    if classes is None:
      classes = np.full(len(images), -1)
    else:
      classes = inputs.check_classes(classes, self.target, images)
    rows = blocks.collect_rows(
      _explain_with_importance if importance else _explain,
      self,
      np.arange(first_index, first_index + len(images), dtype=np.int32),
      images,
      np.asarray(classes, np.int32),
      batch_size=batch_size
      or inputs.batch_size_that_fits(self.target, images, self.copies),
    )
    inputs.check_logits(rows['logits'])
    explanation = pathway.Explanation(
      masks=pathway.unpack(rows['masks'], shapes),
      logits=rows['logits'],
      pathway_logits=rows['pathway_logits'],
      importance=rows.get('importance'),
      tied=rows['tied'],
      method=self.name,
    )
    empty = explanation.empty_layer.mean()
    if empty > _TRIVIAL:
      logging.warning(
        '%s: %.1f %% of the pathways have a layer without any neuron; in a plain '
        'chain of layers the image cannot reach the output then, and what the '
        'target says is in the mask alone.',
        self.name,
        100 * empty,
      )
    return explanation


@struct.dataclass
class ScoredExplainer(Explainer):
  """An explainer that scores neurons and keeps the top ones of each image.

  Exactly `max(1, round((1 - sparsity) * N))` of an image's N neurons are kept,
  over all layers at once.

  Attributes:
    sparsity: share of the neurons switched off, in (0, 1).
    seed: of the draw among neurons of equal score.
    off: what stands in for off neurons: None for zero, or one array a layer
      (see `activation_means`).
  """

  sparsity: float = struct.field(pytree_node=False)
  seed: int = struct.field(pytree_node=False, default=0)
  off: Arrays | None = None

  @property
  def ablation(self) -> Arrays | None:
    """What stands in for off neurons: None for zero."""
    return self.off

  def scores(
    self, index: jax.Array, images: jax.Array, classes: jax.Array
  ) -> Scored:
    """Scores the neurons of a batch; arguments as in `pathways`."""
    raise NotImplementedError

  def pathways(
    self, index: jax.Array, images: jax.Array, classes: jax.Array
  ) -> Pathways:
    """Finds the pathways of a batch; see `Explainer.pathways`."""
    scored = self.scores(index, images, classes)
    return cut(scored, self.sparsity, self.seed, index)


def cut(
  scored: Scored, sparsity: float, seed: int, index: jax.Array
) -> Pathways:
  """Keeps exactly `max(1, round((1 - sparsity) * N))` neurons of each image.

  Args:
    scored: of `n` images.
    sparsity: share of the neurons switched off, in (0, 1).
    seed: of the draw among neurons of equal score.
    index: int32 `[n]`, each image's number in its data set.

  Raises:
    ValueError: a sparsity outside (0, 1), or one that keeps all neurons; a seed
      that is no integer.
  """
  arguments.whole('seed', seed, -(2**31))
  logits, scores = scored
  neurons = pathway.neuron_count([s.shape[1:] for s in scores])
  count = selection.kept_count(sparsity, neurons)
  masks, tied = selection.keep_top(scores, count, jnp.int32(seed), index)
  return Pathways(logits, masks, scores, tied / count)


def class_to_explain(logits: jax.Array, classes: jax.Array) -> jax.Array:
  """Returns the class to explain, int32 `[n]`: the arg-max where it is -1."""
  return jnp.where(classes < 0, logits.argmax(-1), classes)


def activation_means(
  target: Target, images: np.ndarray, batch_size: int | None = None
) -> tuple[np.ndarray, ...]:
  """Returns the mean activation of each neuron, for mean ablation.

  Args:
    target: the classifier.
    images: `[n, h, w, channels]`, the training images.
    batch_size: images at a time.

  Returns:
    Per layer float32 `[h_i, w_i, c_i]`.
  """
  images = inputs.check_images(images)
  total = None
  for _, rows in blocks.map_rows(
    _record,
    target,
    images,
    batch_size=batch_size or inputs.batch_size_that_fits(target, images),
  ):
    sums = [r.sum(0, dtype=np.float64) for r in rows]
    total = sums if total is None else [a + b for a, b in zip(total, sums)]
  return tuple((t / len(images)).astype(np.float32) for t in total)


def _record(target: Target, images: jax.Array) -> Arrays:
  return target.record(images)[1]


def _explain(explainer, index, images, classes) -> dict[str, Any]:
  rows = _explain_with_importance(explainer, index, images, classes)
  del rows['importance']
  return rows


def _explain_with_importance(explainer, index, images, classes):
  found = explainer.pathways(index, images, classes)
  return {
    'logits': found.logits,
    'pathway_logits': explainer.target.masked(
      images, found.masks, explainer.ablation
    ),
    'masks': pathway.pack(found.masks),
    'tied': found.tied,
    'importance': found.importance,
  }

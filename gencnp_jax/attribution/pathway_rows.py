"""The target under each image's own pathway, in batches on all devices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from gencnp_jax import arguments
from gencnp_jax.explainers import inputs
from gencnp_jax.masking import check_count, check_like, masker
from gencnp_jax.runtime import blocks
from gencnp_jax.target import Arrays, Preprocess, Target, TargetError


@struct.dataclass
class Wearer:
  """A target that wears pathways; `layer` is the one that is looked at."""

  target: Target
  off: Arrays | None
  layer: int = struct.field(pytree_node=False, default=0)

  def run(
    self, images: jax.Array, masks: Arrays, delta: jax.Array | None = None
  ) -> tuple[jax.Array, list[jax.Array]]:
    """Returns the logits under the masks, and what flows on at `layer`.

    Args:
      images: `[n, h, w, channels]`.
      masks: one array a layer, or none for the full target.
      delta: added to the activation of `layer`, behind its mask.
    """
    seen, mask = [], masker(masks, self.off)

    def replace(index, activation):
      if masks:
        activation = mask(index, activation)
      if index == self.layer:
        if delta is not None:
          activation += delta.astype(activation.dtype)
        seen.append(activation)
      return activation

    return self.target.replaced(images, replace), seen


class Rows(NamedTuple):
  """What callers gave, one row an image, checked."""

  images: np.ndarray
  classes: np.ndarray
  masks: tuple[np.ndarray, ...]
  batch_size: int

  def collect(self, fn: Callable, wearer: Wearer, *more: np.ndarray) -> Any:
    """Runs `fn(wearer, images, classes, *more, *masks)` over all rows."""
    return blocks.collect_rows(
      fn,
      wearer,
      self.images,
      self.classes,
      *more,
      *self.masks,
      batch_size=self.batch_size,
    )


def rows(
  target: Target,
  images: Any,
  masks: Sequence[Any] | None,
  off: Sequence[Any] | None,
  classes: Any,
  batch_size: int | None,
) -> Rows:
  """Checks images, masks and classes, and finds the classes to explain.

  Args:
    target: the classifier.
    images: `[n, h, w, channels]`, uint8 or float.
    masks: one array a layer, `[n, ...]` or `[1, ...]`; None for none.
    off: what stands in for an off neuron; None for zero, and without masks.
    classes: int `[n]`; None for the full target's own arg-max.
    batch_size: images at a time; None picks what fits.

  Raises:
    ValueError: what the target cannot take; names it.
  """
  images = inputs.check_images(images)
  images = _as_floats(target, images)
  inputs.check_call(off, len(images), batch_size, first_index=0)
  size = batch_size or inputs.batch_size_that_fits(target, images)
  if classes is None:
    classes = blocks.collect_rows(_own_classes, target, images, batch_size=size)
  else:
    classes = inputs.check_classes(classes, target, images)
  shapes = target.activation_shapes(images.shape[1:])
  if off is not None:
    if masks is None:
      raise ValueError(
        'off is given without masks, under which neurons are off.'
      )
    check_like(off, shapes, len(images), 'off')
  given = ()
  if masks is not None:
    given = tuple(
      arguments.mask_of(f'masks[{i}]', mask)
      for i, mask in enumerate(arguments.layers('masks', masks))
    )
    check_count(given, shapes, 'masks')
    for i, (mask, shape) in enumerate(zip(given, shapes)):
      if mask.shape not in ((len(images), *shape), (1, *shape)):
        raise ValueError(
          f'masks[{i}] has shape {mask.shape}; activation {i} of '
          f'{len(images)} images has shape {(len(images), *shape)}, or '
          f'{(1, *shape)} for a mask of all.'
        )
    given = tuple(
      np.broadcast_to(m, (len(images), *m.shape[1:])) for m in given
    )
  return Rows(images, np.asarray(classes, np.int32), given, size)


def _own_classes(target: Target, images: jax.Array) -> jax.Array:
  return target(images).argmax(-1).astype(jnp.int32)


def _as_floats(target: Target, images: np.ndarray) -> np.ndarray:
  """Returns images that have a derivative, in the target's input space."""
  if np.issubdtype(images.dtype, np.floating):
    return images
  if images.dtype == np.uint8 and isinstance(target.preprocess, Preprocess):
    return images.astype(np.float32) / 255
  raise TargetError(
    f'images are {images.dtype}, which has no derivative: pass them as the '
    'floats that the target takes.'
  )

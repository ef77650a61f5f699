"""The target: the frozen classifier H that is explained, untouched.

`Target(apply_fn, variables)` is all that is needed: `apply_fn(variables,
images) -> logits` of Flax Linen, Flax NNX, Equinox, Haiku or a plain function.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from gencnp_jax import (
  activations,
  arguments,
  contract,
  description,
  masking,
  neurons,
)
from gencnp_jax.preprocess import Preprocess as Preprocess

TargetError = contract.TargetError
Arrays = tuple[jax.Array, ...]


# Compared by identity: `jax.jit(target)` needs a hash, which arrays lack.
@struct.dataclass(eq=False)
class Target:
  """A frozen classifier whose activations can be read and masked.

  A pytree of its `variables`: it passes through `jit`, `grad`, `vmap` and
  `pmap` as an argument.

  Attributes:
    apply_fn: pure function `(variables, images) -> logits [batch, classes]` in
      evaluation mode. It is traced once per shape of the images.
    variables: pytree of arrays, whatever `apply_fn` takes.
    preprocess: function from images as given to what `apply_fn` takes, or
      None. A `Preprocess` takes uint8 or floats in [0, 1].
    layout: where the channels of rank-4 activations are: 'auto', 'NHWC' or
      'NCHW'. Activations and masks are NHWC at this interface always.
    relus: indices, in call order, of the tapped activations that count, or
      None for all. `describe` lists them.
    tap: the activation functions whose outputs are neurons. 'relu' is whatever
      computes a ReLU; any other name is a function under `jax.jit`, as those of
      `jax.nn` are and yours can be, or a primitive: 'gelu', 'relu6', 'tanh'.

  Raises:
    TargetError: a `tap` that is no tuple of names.
  """

  apply_fn: Callable = struct.field(pytree_node=False)
  variables: Any
  preprocess: Callable | None = struct.field(pytree_node=False, default=None)
  layout: str = struct.field(pytree_node=False, default='auto')
  relus: tuple[int, ...] | None = struct.field(pytree_node=False, default=None)
  tap: tuple[str, ...] = struct.field(
    pytree_node=False, default=(activations.RELU,)
  )

  def __post_init__(self):
    names = self.tap if isinstance(self.tap, tuple) else ()
    if not names or not all(isinstance(name, str) for name in names):
      raise TargetError(
        f'tap={self.tap!r}: name the activation functions in a tuple, such as '
        "tap=('relu', 'gelu')."
      )
    if self.relus is not None:
      try:
        indices = tuple(arguments.whole('', i, -(2**31)) for i in self.relus)
      except (TypeError, ValueError) as error:
        raise TargetError(
          f'relus={self.relus!r}: give indices in a tuple, such as (0, 2).'
        ) from error
      object.__setattr__(self, 'relus', indices)
    # `jit` takes the fields that are no arrays only with a hash.
    object.__setattr__(self, 'apply_fn', contract.hashable(self.apply_fn))

  def __call__(self, images: jax.Array) -> jax.Array:
    """Returns the logits, float32 `[batch, classes]`."""
    images = self._input(images)
    logits = contract.call(self.apply_fn, self.variables, images)
    return _at_least_float32(logits)

  def record(self, images: jax.Array) -> tuple[jax.Array, Arrays]:
    """Runs the target and records its activations (paper, section 3.1).

    Args:
      images: `[batch, h, w, channels]`, uint8 or float (see `preprocess`).

    Returns:
      Logits `[batch, classes]` and a tuple of the activations in call order,
      each `[batch, h_i, w_i, c_i]` (`[batch, c_i]` where fully connected).
    """
    activations = []

    def keep(index, activation):
      del index
      activations.append(activation)
      return activation

    return self.replaced(images, keep), tuple(activations)

  def masked(
    self, images: jax.Array, masks: Arrays, off: Arrays | None = None
  ) -> jax.Array:
    """Runs the target with each activation A_i replaced by `P_i * A_i`.

    Args:
      images: `[batch, h, w, channels]`, uint8 or float (see `preprocess`).
      masks: tuple of bool or float arrays shaped like the activations, or
        broadcast to them over the batch.
      off: what stands in for an off neuron: None for zero (the paper), or a
        tuple of arrays broadcast to the activations, such as their means:
        `P * A + (1 - P) * off`.

    Returns:
      Logits, float32 `[batch, classes]`: H(X; P * A), paper, Eq. 2.

    Raises:
      TargetError: masks or `off` that do not fit the activations.
    """
    images = self._input(images)
    traced = self._trace(images)
    shapes = tuple(site.shape for site in traced.sites)
    masking.check_like(masks, shapes, images.shape[0], 'masks')
    if off is not None:
      masking.check_like(off, shapes, images.shape[0], 'off')

    return self._replay(traced, masking.masker(masks, off), images)

  def replaced(
    self,
    images: jax.Array,
    replace: Callable[[int, jax.Array], jax.Array],
  ) -> jax.Array:
    """Runs the target, each activation replaced by what a function makes of it.

    Args:
      images: `[batch, h, w, channels]`, uint8 or float (see `preprocess`).
      replace: `(index, activation) -> activation`, called in call order with
        `[batch, h_i, w_i, c_i]` or `[batch, c_i]`; returns the same shape.

    Returns:
      Logits, float32 `[batch, classes]`.
    """
    images = self._input(images)
    return self._replay(self._trace(images), replace, images)

  def activation_shapes(
    self, image_shape: tuple[int, ...]
  ) -> tuple[tuple[int, ...], ...]:
    """Returns the shape of each activation of one image.

    Args:
      image_shape: `(h, w, channels)`.
    """
    return tuple(site.shape for site in self._trace_shape(image_shape).sites)

  def describe(self, image_shape: tuple[int, ...]) -> str:
    """Returns a table of the activations of one image, and what is not tapped.

    A line an activation: its index in call order (what `relus` takes), its
    kind, shape and number of neurons.

    Args:
      image_shape: `(h, w, channels)`.
    """
    every = self.replace(relus=None)._trace_shape(image_shape)
    return description.table(every, self._chosen(every))

  def num_classes(self, image_shape: tuple[int, ...]) -> int:
    """Returns the number of classes for images of a shape `(h, w, c)`."""
    images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
    return jax.eval_shape(self.__call__, images).shape[-1]

  def _replay(self, traced, replace, images: jax.Array) -> jax.Array:
    logits = neurons.replay(traced, replace, self.variables, images)
    return _at_least_float32(logits)

  def _input(self, images: jax.Array) -> jax.Array:
    if images.ndim != 4:
      raise TargetError(
        f'images must be [batch, h, w, channels]; got shape {images.shape}. '
        'For a single image pass image[None].'
      )
    if self.preprocess is not None:
      return self.preprocess(images)
    if jnp.issubdtype(images.dtype, jnp.integer):
      raise TargetError(
        f'images are {images.dtype}, and this Target has no preprocess: pass '
        'what apply_fn takes (normalised floats), or give the Target a '
        'preprocess=Preprocess(mean, std).'
      )
    return images

  def _trace_shape(self, image_shape) -> neurons.Traced:
    if not isinstance(image_shape, Sequence) or len(image_shape) != 3:
      raise TargetError(
        f'image_shape={image_shape!r}: give that of one image, (h, w, channels).'
      )
    images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
    if self.preprocess is not None:
      images = jax.eval_shape(self.preprocess, images)
    return self._trace(images)

  def _trace(self, images) -> neurons.Traced:
    traced = neurons.trace(
      self.apply_fn, self.variables, images, self.layout, self.tap
    )
    return traced._replace(
      sites=tuple(traced.sites[i] for i in self._chosen(traced))
    )

  def _chosen(self, traced: neurons.Traced) -> tuple[int, ...]:
    """Returns the indices of the activations that count."""
    count = len(traced.sites)
    if self.relus is None:
      return tuple(range(count))
    if not self.relus or not all(0 <= i < count for i in self.relus):
      kinds = {site.kind for site in traced.sites}
      raise TargetError(
        f'relus={self.relus}: the target has {count} '
        f'{"ReLUs" if kinds == {activations.RELU} else "tapped activations"}; '
        f'choose indices from 0 to {count - 1}.'
      )
    return tuple(sorted(set(self.relus)))


def _at_least_float32(logits: jax.Array) -> jax.Array:
  return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))

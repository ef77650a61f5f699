"""The target: the frozen classifier H that is explained, untouched.

`Target(apply_fn, variables)` is all that is needed: `apply_fn(variables,
images) -> logits` of Flax Linen, Flax NNX, Equinox, Haiku or a plain function.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from gencnp_jax import neurons

TargetError = neurons.TargetError
Arrays = tuple[jax.Array, ...]


@dataclasses.dataclass(frozen=True)
class Preprocess:
  """Normalisation of images: `(x - mean) / std` per channel, float32.

  Takes uint8 images in [0, 255] or floats in [0, 1], `[..., channels]`.

  Attributes:
    mean: per channel, in units of [0, 1].
    std: per channel, in units of [0, 1].
  """

  mean: tuple[float, ...]
  std: tuple[float, ...]

  def __call__(self, images: jax.Array) -> jax.Array:
    """Returns the normalised images, float32, shaped as given."""
    images = jnp.asarray(images)
    if images.dtype == jnp.uint8:
      images = images.astype(jnp.float32) / 255.0
    elif not jnp.issubdtype(images.dtype, jnp.floating):
      raise TargetError(
        f'images are {images.dtype}: pass uint8 in [0, 255] or floats in [0, 1].'
      )
    if images.shape[-1] != len(self.mean):
      raise TargetError(
        f'images of shape {images.shape} have {images.shape[-1]} channels; '
        f'the mean that normalises them has {len(self.mean)}.'
      )
    shape = (1,) * (images.ndim - 1) + (-1,)
    mean = jnp.asarray(self.mean, jnp.float32).reshape(shape)
    std = jnp.asarray(self.std, jnp.float32).reshape(shape)
    return (images - mean) / std


@struct.dataclass
class Target:
  """A frozen classifier whose post-ReLU activations can be read and masked.

  A pytree of its `variables`: it passes through `jit`, `grad`, `vmap` and
  `pmap` as an argument.

  Attributes:
    apply_fn: pure function `(variables, images) -> logits [batch, classes]` in
      evaluation mode. Hashable functions are traced once per image shape.
    variables: pytree of arrays, whatever `apply_fn` takes.
    preprocess: function from images as given to what `apply_fn` takes, or
      None. A `Preprocess` takes uint8 or floats in [0, 1].
    layout: where the channels of rank-4 activations are: 'auto', 'NHWC' or
      'NCHW'. Activations and masks are NHWC at this interface always.
    relus: indices, in call order, of the ReLUs that count, or None for all.
  """

  apply_fn: Callable = struct.field(pytree_node=False)
  variables: Any
  preprocess: Callable | None = struct.field(pytree_node=False, default=None)
  layout: str = struct.field(pytree_node=False, default='auto')
  relus: tuple[int, ...] | None = struct.field(pytree_node=False, default=None)

  def __call__(self, images: jax.Array) -> jax.Array:
    """Returns the logits, float32 `[batch, classes]`."""
    images = self._input(images)
    logits = self.apply_fn(self.variables, images)
    neurons.check_output(logits, images)
    return _at_least_float32(logits)

  def record(self, images: jax.Array) -> tuple[jax.Array, Arrays]:
    """Runs the target and records its activations (paper, section 3.1).

    Args:
      images: `[batch, h, w, channels]`, uint8 or float (see `preprocess`).

    Returns:
      Logits `[batch, classes]` and a tuple of the post-ReLU activations in
      call order, each `[batch, h_i, w_i, c_i]` (`[batch, c_i]` where fully
      connected).
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
    _check_like(masks, shapes, images.shape[0], 'masks')
    if off is not None:
      _check_like(off, shapes, images.shape[0], 'off')

    def mask(index, activation):
      return masked_activation(
        activation, masks[index], None if off is None else off[index]
      )

    return self._replay(traced, mask, images)

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
    images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)
    if self.preprocess is not None:
      images = jax.eval_shape(self.preprocess, images)
    return tuple(site.shape for site in self._trace(images).sites)

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

  def _trace(self, images) -> neurons.Traced:
    traced = neurons.trace(self.apply_fn, self.variables, images, self.layout)
    if self.relus is None:
      return traced
    count = len(traced.sites)
    wrong = [i for i in self.relus if not 0 <= i < count]
    if wrong or not self.relus:
      raise TargetError(
        f'relus={self.relus}: the target has {count} ReLUs; choose indices '
        f'from 0 to {count - 1}.'
      )
    chosen = tuple(traced.sites[i] for i in sorted(set(self.relus)))
    return traced._replace(sites=chosen)


def masked_activation(
  activation: jax.Array, mask: jax.Array, off: jax.Array | None = None
) -> jax.Array:
  """Returns `P * A`, or `P * A + (1 - P) * off`, of one layer.

  Args:
    activation: `[batch, ...]`.
    mask: bool or float, broadcast to the activation.
    off: likewise; None for zero.
  """
  a = activation
  stand_in = 0 if off is None else _fit(off, a)
  p = _fit(mask, a)
  if p.dtype == jnp.bool_:
    return jnp.where(p, a, jnp.asarray(stand_in, a.dtype))
  p = p.astype(a.dtype)
  return p * a if off is None else p * a + (1 - p) * stand_in


def _at_least_float32(logits: jax.Array) -> jax.Array:
  return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))


def _fit(value: jax.Array, like: jax.Array) -> jax.Array:
  return jnp.broadcast_to(value, like.shape)


def _check_like(arrays, shapes, batch: int, name: str) -> None:
  """Raises where a tuple of arrays does not fit the activations."""
  if len(arrays) != len(shapes):
    raise TargetError(
      f'{name} holds {len(arrays)} arrays; the target has {len(shapes)} '
      'activations, and each needs one.'
    )
  for i, (array, shape) in enumerate(zip(arrays, shapes)):
    legal = (batch, *shape)
    try:
      fits = jnp.broadcast_shapes(jnp.shape(array), legal) == legal
    except ValueError:
      fits = False
    if not fits:
      raise TargetError(
        f'{name}[{i}] has shape {jnp.shape(array)}; activation {i} of '
        f'{batch} images has shape {legal}.'
      )

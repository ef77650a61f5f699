"""From images as they are to what a classifier takes."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from gencnp_jax import arguments
from gencnp_jax.contract import TargetError


@dataclasses.dataclass(frozen=True)
class Preprocess:
  """Normalisation of images: `(x - mean) / std` per channel, float32.

  Takes uint8 images in [0, 255] or floats in [0, 1], `[..., channels]`.

  Attributes:
    mean: per channel, in units of [0, 1].
    std: per channel, in units of [0, 1].

  Raises:
    ValueError: no finite number for each channel, or a std that is not above 0.
  """

  mean: tuple[float, ...]
  std: tuple[float, ...]

  def __post_init__(self):
    # Arrays and lists are welcome; as static fields of a pytree they are not.
    for name in ('mean', 'std'):
      values = arguments.numbers(name, getattr(self, name))
      if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(
          f'{name}={getattr(self, name)!r}: give one finite number a channel, '
          'such as (0.5, 0.5, 0.5).'
        )
      object.__setattr__(self, name, tuple(map(float, values)))
    if len(self.mean) != len(self.std) or not all(v > 0 for v in self.std):
      raise ValueError(
        f'std={self.std}: give a number above 0 for each of the '
        f'{len(self.mean)} channels of mean.'
      )

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

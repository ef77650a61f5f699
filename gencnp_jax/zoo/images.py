"""Input checks that the targets share."""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def check(images: jax.Array, name: str, fits: Callable[[int], bool]) -> None:
  """Refuses images that a target cannot take.

  Args:
    images: as given to the target.
    name: the target's name, for the message.
    fits: whether the target takes images with a side of so many pixels.

  Raises:
    ValueError: not `[n, h, w, c]`, not floats, or a side that does not fit.
  """
  if images.ndim != 4:
    raise ValueError(
      f'{name}: images of shape {images.shape}; give [n, h, w, channels].'
    )
  if not jnp.issubdtype(images.dtype, jnp.floating):
    raise ValueError(
      f'{name}: images of dtype {images.dtype}; give normalised floats '
      '(gencnp_jax.Target normalises uint8 by its preprocess).'
    )
  sides = images.shape[1:3]
  if not all(fits(side) for side in sides):
    nearby = sorted({near for side in sides for near in _nearby(side, fits)})
    raise ValueError(
      f'{name}: images of {sides[0]}x{sides[1]} do not fit, its pools must '
      f'halve every map evenly. Sides nearby that do: {nearby}.'
    )


def _nearby(side: int, fits: Callable[[int], bool]) -> list[int]:
  """Returns the nearest sides that fit: below, if there is one, and above."""
  below = next((s for s in range(side, 0, -1) if fits(s)), None)
  above = next(s for s in range(max(side, 1), side + 1024) if fits(s))
  return [above] if below is None else [below, above]

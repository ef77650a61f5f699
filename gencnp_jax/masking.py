"""What a mask does to an activation, and which masks fit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from gencnp_jax.contract import TargetError


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


def masker(
  masks: Sequence[jax.Array], off: Sequence[jax.Array] | None = None
) -> Callable[[int, jax.Array], jax.Array]:
  """Returns `(index, activation) -> masked activation` for `Target.replaced`.

  Args:
    masks: one a layer, see `masked_activation`.
    off: likewise; None for zero.
  """

  def mask(index: int, activation: jax.Array) -> jax.Array:
    stand_in = None if off is None else off[index]
    return masked_activation(activation, masks[index], stand_in)

  return mask


def _fit(value: jax.Array, like: jax.Array) -> jax.Array:
  return jnp.broadcast_to(value, like.shape)


def check_like(
  arrays: Sequence[jax.Array],
  shapes: Sequence[tuple[int, ...]],
  batch: int,
  name: str,
) -> None:
  """Raises where a tuple of arrays does not fit the activations.

  Args:
    arrays: to check, one an activation.
    shapes: of the activations of one image.
    batch: number of images.
    name: of the arrays, for the error.

  Raises:
    TargetError: too few or too many arrays, or a shape that does not broadcast.
  """
  check_count(arrays, shapes, name)
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


def check_count(
  arrays: Sequence[jax.Array], shapes: Sequence[tuple[int, ...]], name: str
) -> None:
  """Raises a TargetError where there is not one array an activation."""
  if len(arrays) != len(shapes):
    raise TargetError(
      f'{name} holds {len(arrays)} arrays; the target has {len(shapes)} '
      'activations, and each needs one.'
    )

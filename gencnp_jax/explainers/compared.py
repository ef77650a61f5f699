"""What may be compared: explainers, and of one target."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gencnp_jax.explainers import base
from gencnp_jax.runtime import blocks
from gencnp_jax.target import Target


def check_explainers(explainers: Any) -> None:
  """Raises a ValueError where these are no explainers."""
  given = explainers if isinstance(explainers, Sequence) else [None]
  if not all(isinstance(one, base.Explainer) for one in given):
    raise ValueError(
      f'explainers is {explainers!r:.60}; pass explainers in a list, such as '
      '[Random(target, 0.9)].'
    )
  if not explainers:
    raise ValueError('explainers is empty; pass at least one.')


def check_one_target(
  explainers: Sequence[base.Explainer],
  shapes: Sequence[tuple[int, ...]],
  images: np.ndarray,
  logits: np.ndarray,
) -> None:
  """Raises where explainers are of targets that say or have something else.

  Args:
    explainers: one or more.
    shapes: of the activations of the first one's target.
    images: `[n, h, w, channels]`.
    logits: `[n, classes]`, what that target says of them.

  Raises:
    ValueError: names the explainer of another target.
  """
  first = explainers[0]
  for i, explainer in enumerate(explainers):
    other = explainer.target
    if other is not first.target and not _alike(other, shapes, images, logits):
      raise ValueError(
        f'explainers[{i}] ({explainer.name}) explains another target than '
        f'explainers[0] ({first.name}): evaluate them apart.'
      )


def _alike(other: Target, shapes, images, logits) -> bool:
  """Whether a target has these activations, and says this of a few images."""
  if other.activation_shapes(images.shape[1:]) != shapes:
    return False
  few = images[:8]
  said = blocks.collect_rows(Target.__call__, other, few, batch_size=len(few))
  rounding = 1e-4 * np.abs(logits).max()
  return said.shape[1:] == logits.shape[1:] and np.allclose(
    said, logits[: len(few)], rtol=0, atol=rounding
  )

"""Grad-CAM of the target, in full or on a pathway (paper, Fig. 7)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gencnp_jax import arguments
from gencnp_jax.attribution import pathway_rows
from gencnp_jax.attribution.pathway_rows import Wearer
from gencnp_jax.target import Arrays, Target


def grad_cam(
  target: Target,
  images: Any,
  masks: Sequence[Any] | None = None,
  off: Arrays | None = None,
  classes: Any = None,
  layer: int | None = None,
  batch_size: int | None = None,
) -> np.ndarray:
  """Returns where an activation speaks for the class.

  `ReLU(sum_k w_k A_k)`, with `w_k` the mean over positions of dz_c/dA_k. With
  masks A is what flows on behind them, `P * A`, and z_c the logit under all of
  them.

  Args:
    target: the classifier.
    images: `[n, h, w, channels]`, uint8 or float, what the target takes.
    masks: a pathway's, one array a layer, `[n, ...]` or `[1, ...]` for one that
      all images wear; None for the full target.
    off: what stands in for an off neuron; None for zero.
    classes: int `[n]`; None for the full target's own arg-max, also under the
      masks, so that both maps are of one class.
    layer: number of the activation, negative from the end; None for the last
      that has a map.
    batch_size: images at a time, over all devices; None picks what fits.

  Returns:
    float32 `[n, h_i, w_i]`, not negative, not normalised.

  Raises:
    ValueError: a layer that is not there or has no map; images, masks or
      classes that do not fit.

  References:
    Selvaraju et al. Grad-CAM: Visual Explanations from Deep Networks via
    Gradient-based Localization. ICCV 2017.
  """
  given = pathway_rows.rows(target, images, masks, off, classes, batch_size)
  shapes = target.activation_shapes(given.images.shape[1:])
  return given.collect(_grad_cam, Wearer(target, off, _layer(layer, shapes)))


def readable_layer(
  target: Target, image_shape: tuple[int, ...], least: int = 4
) -> int:
  """Returns the last activation whose map is fine enough to be a picture.

  A map of 2x2 positions over 32x32 pixels is four blobs.

  Args:
    target: the classifier.
    image_shape: `(h, w, channels)`.
    least: positions on the shorter side; where no map has them, the last.

  Raises:
    ValueError: no activation has a map.
  """
  shapes = target.activation_shapes(image_shape)
  fine = [i for i in layers_with_map(shapes) if min(shapes[i][:2]) >= least]
  return fine[-1] if fine else _layer(None, shapes)


def layers_with_map(shapes: Sequence[tuple[int, ...]]) -> list[int]:
  """Returns the numbers of the activations `[h, w, channels]`."""
  return [i for i, shape in enumerate(shapes) if len(shape) == 3]


def _layer(layer: int | None, shapes: tuple[tuple[int, ...], ...]) -> int:
  """Returns the number of the activation that is looked at."""
  maps = layers_with_map(shapes)
  if layer is None and maps:
    return maps[-1]
  given = layer
  if layer is not None:
    arguments.whole('layer', layer, -len(shapes))
    layer += len(shapes) if layer < 0 else 0
  if layer not in maps:
    raise ValueError(
      f'layer={given}: Grad-CAM needs an activation with a map '
      f'[h, w, channels]; the target has them at {maps or "no layer"} '
      f'(shapes {list(shapes)}).'
    )
  return layer


def _grad_cam(wearer, images, classes, *masks):
  shape = wearer.target.activation_shapes(images.shape[1:])[wearer.layer]
  delta = jnp.zeros((len(images), *shape))
  logits, pull, (activation,) = jax.vjp(
    lambda d: wearer.run(images, masks, d), delta, has_aux=True
  )
  one_hot = jax.nn.one_hot(classes, logits.shape[-1], dtype=logits.dtype)
  (slopes,) = pull(one_hot)
  weights = slopes.mean((1, 2), keepdims=True)
  maps = weights * activation.astype(jnp.float32)
  return jax.nn.relu(maps.sum(-1))

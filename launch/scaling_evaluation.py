"""What evaluation exchanges: every block's results go to every process.

With one process nothing is exchanged; `devices.all_rows` gathers with several.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import scaling_collectives as collectives

from gencnp_jax import Target, pathway
from gencnp_jax.explainers import CURVE
from gencnp_jax.explainers.evaluate import _measure
from gencnp_jax.runtime import devices


def result_bytes(
  shapes: Sequence[tuple[int, ...]], classes: int, sparsities: int = len(CURVE)
) -> int:
  """Returns the bytes of an image's results that every process gets.

  The target's logits; then, for the method's own pathway and for each sparsity
  of the curve, four kinds of logits, a count a layer, a bit a neuron, and the
  share of ties.

  Args:
    shapes: of the target's activations of one image.
    classes: of the target.
    sparsities: of the curve.
  """
  bits = -(-pathway.neuron_count(shapes) // 8)
  each = 4 * 4 * classes + 4 * len(shapes) + bits + 4
  return 4 * classes + (1 + sparsities) * each


def gathered(
  target: Target, image_shape: tuple[int, ...], rows: int
) -> dict[str, Any]:
  """Compiles the copy of a block's results to all processes, and reads it.

  The results are those of a method that is evaluated over `CURVE`.

  Args:
    target: its variables may be shapes.
    image_shape: (h, w, channels).
    rows: of the block on each device.
  """
  number = jax.device_count()
  shapes = target.activation_shapes(image_shape)

  def array(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct((rows, *shape), dtype)

  images = array(*image_shape, dtype=jnp.uint8)
  masks = tuple(array(*shape, dtype=jnp.bool) for shape in shapes)
  blank = jax.ShapeDtypeStruct(image_shape, jnp.uint8)
  worn = jax.eval_shape(
    _measure, (target, None, blank), images, images, masks, array()
  )
  logits = jax.eval_shape(lambda target, x: target(x), target, images)
  block = jax.tree.map(
    lambda x: jax.ShapeDtypeStruct((number, *x.shape), x.dtype),
    (logits, [worn] * (1 + len(CURVE))),
  )
  carried = collectives.pieces(
    devices._gather().lower(block).compile().as_text()
  )
  images = number * rows
  return {
    'devices': number,
    'images': images,
    'launches': collectives.launches(carried),
    'carried': collectives.by_group(carried),
    'expected': {'results': images * result_bytes(shapes, logits.shape[-1])},
  }

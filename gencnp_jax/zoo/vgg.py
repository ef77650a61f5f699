"""VGG-11 with BatchNorm, as in bearpaw/pytorch-classification."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gencnp_jax import ops
from gencnp_jax.zoo import images as image_checks

_POOLED = (True, True, False, True, False, True, False, True)
"""Whether a pool follows each of the eight convolutions."""


class VGG11(nn.Module):
  """Eight 3x3 convolutions with BatchNorm and ReLU, five pools, one linear.

  At 32x32 the last map is 1x1. A larger one is averaged before the linear
  layer, so the number of parameters does not depend on the image size.

  Attributes:
    num_classes: number of logits.
    dtype: compute dtype; parameters, batch statistics and logits are
      float32.
    axis_name: mapped axis over which training synchronises batch statistics.
    widths: channels of the eight convolutions.
  """

  num_classes: int = 10
  dtype: Any = jnp.float32
  axis_name: str | None = None
  widths: tuple[int, ...] = (64, 128, 256, 256, 512, 512, 512, 512)

  @nn.compact
  def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
    """Returns logits, float32 `[n, num_classes]`.

    Args:
      images: normalised floats `[n, h, w, channels]`.
      train: use the batch's statistics and update the running ones.

    Raises:
      ValueError: images that do not fit.
    """
    image_checks.check(images, 'VGG11', _fits)
    x = images
    for width, pooled in zip(self.widths, _POOLED, strict=True):
      x = nn.Conv(
        width,
        (3, 3),
        padding=1,
        dtype=self.dtype,
        # N(0, sqrt(2 / (k^2 c_out))), not cut off at two deviations.
        kernel_init=nn.initializers.variance_scaling(2, 'fan_out', 'normal'),
        conv_general_dilated=ops.conv_general_dilated,
      )(x)
      x = nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        epsilon=1e-5,
        dtype=self.dtype,
        axis_name=self.axis_name,
      )(x)
      x = nn.relu(x)
      if pooled:
        x = ops.max_pool(x)
    x = x.astype(jnp.float32).mean((1, 2))
    return nn.Dense(self.num_classes, kernel_init=nn.initializers.normal(0.01))(
      x
    )


def _fits(side: int) -> bool:
  """Whether the pools halve every map of such an image evenly."""
  return side > 0 and side % 2 ** sum(_POOLED) == 0

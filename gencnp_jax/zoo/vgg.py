"""VGG-11 with BatchNorm for small images."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gencnp_jax import ops


class VGG11(nn.Module):
  """VGG-11-BN, CIFAR form."""

  num_classes: int = 10
  dtype: jnp.dtype = jnp.float32
  axis_name: str | None = None
  widths: tuple[int, ...] = (64, 128, 256, 256, 512, 512, 512, 512)

  @nn.compact
  def __call__(self, images, train=False):
    x = images
    for index, width in enumerate(self.widths):
      x = nn.Conv(
        width,
        (3, 3),
        padding=1,
        dtype=self.dtype,
        kernel_init=jax.nn.initializers.variance_scaling(
          2.0, 'fan_out', 'normal'
        ),
        conv_general_dilated=ops.conv_general_dilated,
      )(x)
      x = nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        epsilon=1e-5,
        dtype=self.dtype,
        axis_name=self.axis_name if train else None,
      )(x)
      x = nn.relu(x)
      if index in (0, 1, 3, 5, 7):
        x = ops.max_pool(x)
    x = x.mean((1, 2))
    x = nn.Dense(
      self.num_classes,
      dtype=self.dtype,
      kernel_init=jax.nn.initializers.normal(0.01),
    )(x)
    return x.astype(jnp.float32)

"""AlexNet for small images."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gencnp_jax import ops


def _uniform(fan_in):
  bound = fan_in**-0.5

  def init(key, shape, dtype=jnp.float32):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return init


class AlexNet(nn.Module):
  """AlexNet, CIFAR form."""

  num_classes: int = 10
  dtype: jnp.dtype = jnp.float32
  axis_name: str | None = None
  widths: tuple[int, ...] = (64, 192, 384, 256, 256)

  @nn.compact
  def __call__(self, images, train=False):
    del train
    x = images
    plan = ((11, 4, 5, True), (5, 1, 2, True)) + ((3, 1, 1, False),) * 2
    plan += ((3, 1, 1, True),)
    for width, (size, stride, pad, pool) in zip(self.widths, plan):
      init = _uniform(size * size * x.shape[-1])
      x = nn.Conv(
        width,
        (size, size),
        strides=stride,
        padding=pad,
        dtype=self.dtype,
        kernel_init=init,
        bias_init=init,
        conv_general_dilated=ops.conv_general_dilated,
      )(x)
      x = nn.relu(x)
      if pool:
        x = ops.max_pool(x)
    x = x.mean((1, 2))
    init = _uniform(x.shape[-1])
    x = nn.Dense(
      self.num_classes, dtype=self.dtype, kernel_init=init, bias_init=init
    )(x)
    return x.astype(jnp.float32)

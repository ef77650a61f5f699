"""AlexNet for small images, as in bearpaw/pytorch-classification."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from gencnp_jax import ops
from gencnp_jax.zoo import images as image_checks


class _Layer(NamedTuple):
  kernel: int
  stride: int
  padding: int
  pool: bool


_LAYERS = (
  _Layer(11, 4, 5, pool=True),
  _Layer(5, 1, 2, pool=True),
  _Layer(3, 1, 1, pool=False),
  _Layer(3, 1, 1, pool=False),
  _Layer(3, 1, 1, pool=True),
)


class AlexNet(nn.Module):
  """Five convolutions with ReLU, three 2x2 max pools and one linear layer.

  At 32x32 the last map is 1x1. A larger one is averaged before the linear
  layer, so the number of parameters does not depend on the image size.

  Attributes:
    num_classes: number of logits.
    dtype: compute dtype; parameters and logits are float32.
    axis_name: not used, there are no batch statistics; zoo models share it.
    widths: channels of the five convolutions.
  """

  num_classes: int = 10
  dtype: Any = jnp.float32
  axis_name: str | None = None
  widths: tuple[int, ...] = (64, 192, 384, 256, 256)

  @nn.compact
  def __call__(self, images: jax.Array, train: bool = False) -> jax.Array:
    """Returns logits, float32 `[n, num_classes]`.

    Args:
      images: normalised floats `[n, h, w, channels]`.
      train: not used; zoo models share it.

    Raises:
      ValueError: images that do not fit.
    """
    del train
    image_checks.check(images, 'AlexNet', _fits)
    x = images
    for layer, width in zip(_LAYERS, self.widths, strict=True):
      init = _uniform(layer.kernel**2 * x.shape[-1])
      x = nn.Conv(
        width,
        (layer.kernel, layer.kernel),
        strides=layer.stride,
        padding=layer.padding,
        dtype=self.dtype,
        kernel_init=init,
        bias_init=init,
        conv_general_dilated=ops.conv_general_dilated,
      )(x)
      x = nn.relu(x)
      if layer.pool:
        x = ops.max_pool(x)
    x = x.astype(jnp.float32).mean((1, 2))
    init = _uniform(x.shape[-1])
    return nn.Dense(self.num_classes, kernel_init=init, bias_init=init)(x)


def _fits(side: int) -> bool:
  """Whether the pools halve every map of such an image evenly."""
  first = _LAYERS[0]
  side = (side + 2 * first.padding - first.kernel) // first.stride + 1
  return side > 0 and side % 2 ** sum(layer.pool for layer in _LAYERS) == 0


def _uniform(fan_in: int) -> nn.initializers.Initializer:
  """PyTorch's default for weights and biases: U(+-1 / sqrt(fan_in))."""
  bound = fan_in**-0.5

  def init(key, shape, dtype=jnp.float32):
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return init

"""The targets' forward passes, layer by layer, in NumPy."""

import numpy as np

from tests.reference import layers


def alexnet(params, images):
  """Logits of AlexNet; the image size is one whose last map is 1x1."""
  plan = (4, 5, True), (1, 2, True), (1, 1, False), (1, 1, False), (1, 1, True)
  x = images
  for index, (stride, pad, pooled) in enumerate(plan):
    conv = params[f'Conv_{index}']
    x = layers.convolve(
      x, conv['kernel'], ((pad, pad), (pad, pad)), (stride, stride)
    )
    x = layers.relu(x + np.asarray(conv['bias']))
    if pooled:
      x = layers.max_pool(x)
  return _linear(params, x)


def vgg11(variables, images, train=False):
  """Logits of VGG-11, and each BatchNorm's (mean, variance)."""
  params, x, used = variables['params'], images, []
  for index in range(8):
    conv = params[f'Conv_{index}']
    x = layers.convolve(x, conv['kernel'], ((1, 1), (1, 1)))
    x = x + np.asarray(conv['bias'])
    running = variables['batch_stats'][f'BatchNorm_{index}']
    mean, var = (np.asarray(running[key]) for key in ('mean', 'var'))
    if train:
      mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    used.append((mean, var))
    norm = params[f'BatchNorm_{index}']
    scale, bias = (np.asarray(norm[key]) for key in ('scale', 'bias'))
    x = layers.batch_norm(x, mean, var, scale, bias)
    x = layers.relu(x)
    if index in (0, 1, 3, 5, 7):
      x = layers.max_pool(x)
  return _linear(params, x), used


def _linear(params, x):
  assert x.shape[1:3] == (1, 1)
  dense = params['Dense_0']
  return x[:, 0, 0] @ np.asarray(dense['kernel']) + np.asarray(dense['bias'])

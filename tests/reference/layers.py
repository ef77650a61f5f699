"""Convolution, pooling, BatchNorm by their definitions, in float64 loops."""

import numpy as np


def convolve(x, kernel, padding=((0, 0), (0, 0)), strides=(1, 1)):
  """NHWC x HWIO, one output position at a time."""
  x = np.pad(np.asarray(x, np.float64), ((0, 0), *padding, (0, 0)))
  kernel = np.asarray(kernel, np.float64)
  height, width, _, channels = kernel.shape
  rows = (x.shape[1] - height) // strides[0] + 1
  columns = (x.shape[2] - width) // strides[1] + 1
  y = np.zeros((len(x), rows, columns, channels))
  for i in range(rows):
    for j in range(columns):
      top, left = i * strides[0], j * strides[1]
      patch = x[:, top : top + height, left : left + width]
      y[:, i, j] = np.tensordot(patch, kernel, 3)
  return y


def max_pool(x, window=2):
  """Maximum over disjoint windows; a ragged edge is dropped."""
  rows, columns = x.shape[1] // window, x.shape[2] // window
  y = np.zeros((len(x), rows, columns, x.shape[3]))
  for i in range(rows):
    for j in range(columns):
      top, left = i * window, j * window
      part = x[:, top : top + window, left : left + window]
      y[:, i, j] = part.max((1, 2))
  return y


def batch_norm(x, mean, var, scale, bias):
  """Normalises channels by given statistics, epsilon 1e-5."""
  return (x - mean) / np.sqrt(np.asarray(var) + 1e-5) * scale + bias


def relu(x):
  """Positive part."""
  return np.where(x > 0, x, 0)

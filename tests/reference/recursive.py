"""The recursive block as a plain loop over maps that really shrink or grow."""

import jax.numpy as jnp
import numpy as np
from jax import lax

EPSILON = 1e-5
MOMENTUM = 0.9


def convolve(x, kernel, padding):
  """Correlates an NHWC map with an HWIO kernel, output by output."""
  x = np.pad(x, ((0, 0), *padding, (0, 0)))
  kh, kw, _, out = kernel.shape
  h, w = x.shape[1] - kh + 1, x.shape[2] - kw + 1
  y = np.zeros((len(x), h, w, out))
  for i in range(h):
    for j in range(w):
      window = x[:, i : i + kh, j : j + kw]
      y[:, i, j] = np.einsum('nabc,abco->no', window, kernel)
  return y


def transposed(x, kernel, padding):
  """Transposed convolution: every input pixel adds a kernel to the output.

  The kernel is laid down upside down, which makes it the full correlation.
  padding cuts the result: (0, 0) grows a side by k - 1.
  """
  n, h, w, _ = x.shape
  kh, kw, _, out = kernel.shape
  y = np.zeros((n, h + kh - 1, w + kw - 1, out))
  for i in range(h):
    for j in range(w):
      for a in range(kh):
        for b in range(kw):
          y[:, i + a, j + b] += x[:, i, j] @ kernel[kh - 1 - a, kw - 1 - b]
  (top, bottom), (left, right) = padding
  return y[:, top : y.shape[1] - bottom, left : y.shape[2] - right]


def batch_norm(x, scale, bias, mean, var, train):
  """BatchNorm over batch and map; returns y and the running statistics."""
  running = mean, var
  if train:
    pixels = x.reshape(-1, x.shape[-1])
    mean, var = pixels.mean(0), pixels.var(0)
    running = tuple(
      MOMENTUM * old + (1 - MOMENTUM) * new
      for old, new in zip(running, (mean, var))
    )
  return (x - mean) / np.sqrt(var + EPSILON) * scale + bias, running


def block(x, params, stats, size, smallest, decode, train):
  """One RFE or RPD in float64; returns the map and (means, variances)."""
  x = np.asarray(x, np.float64)
  params = {k: np.asarray(v, np.float64) for k, v in params.items()}
  kernel, passes = params['kernel'], len(params['scale'])
  still = [a == b for a, b in zip(size, smallest)]
  halves = [((k - 1) // 2, k // 2) for k in kernel.shape[:2]]
  means, variances = [], []
  for t in range(passes):
    if decode:
      # SAME of a transposed convolution cuts what the full one adds.
      cut = [h[::-1] if s else (0, 0) for s, h in zip(still, halves)]
      x = transposed(x, kernel, cut)
    else:
      pad = [h if s else (0, 0) for s, h in zip(still, halves)]
      x = convolve(x, kernel, pad)
    x, (mean, var) = batch_norm(
      x,
      params['scale'][t],
      params['bias'][t],
      np.asarray(stats['mean'][t], np.float64),
      np.asarray(stats['var'][t], np.float64),
      train,
    )
    means.append(mean)
    variances.append(var)
    if not (decode and t == passes - 1):
      x = np.maximum(x, 0)
  return x, (np.stack(means), np.stack(variances))


def unrolled(params, stats, x, size, smallest, decode, train):
  """The same loop in plain JAX, for its gradients."""
  kernel, passes = params['kernel'], len(params['scale'])
  pads = []
  for k, a, b in zip(kernel.shape[:2], size, smallest):
    same = ((k - 1) // 2, k // 2)
    pads.append(same if a == b else ((k - 1, k - 1) if decode else (0, 0)))
  for t in range(passes):
    x = lax.conv_general_dilated(
      x, kernel, (1, 1), pads, dimension_numbers=('NHWC', 'HWIO', 'NHWC')
    )
    mean, var = stats['mean'][t], stats['var'][t]
    if train:
      mean, var = x.mean((0, 1, 2)), x.var((0, 1, 2))
    mean, var = mean[None, None, None], var[None, None, None]
    x = (x - mean) / jnp.sqrt(var + EPSILON)
    x = x * params['scale'][t][None, None, None]
    x = x + params['bias'][t][None, None, None]
    if not (decode and t == passes - 1):
      x = jnp.where(x > 0, x, 0)
  return x

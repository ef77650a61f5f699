"""GEN-CNP's ablated forms (paper, Table 2) in float64, layer by layer."""

import numpy as np

from tests.reference import recursive


def pdn(params, x):
  """Fully connected layers with a ReLU between them."""
  for i in range(len(params)):
    dense = params[f'Dense_{i}']
    kernel, bias = (
      np.asarray(dense[k], np.float64) for k in ('kernel', 'bias')
    )
    x = (np.maximum(x, 0) if i else x) @ kernel + bias
  return x


def layerwise(variables, activations, smallest):
  """One PDN a layer between embedder and decoder, running statistics.

  Returns:
    Per layer (importance, scores).
  """
  found = []
  for i, activation in enumerate(activations):
    pattern = _block(variables, f'rfe_{i}', activation, smallest)
    importance = pdn(
      variables['params'][f'pdn_{i}'], pattern.reshape(len(pattern), -1)
    ).reshape(pattern.shape)
    size = activation.shape[1:3]
    scores = _block(variables, f'rpd_{i}', importance, smallest, size)
    found.append((importance, scores))
  return found


def bare(variables, activations, train=False):
  """One PDN a layer on the raw activations, and a BatchNorm over channels.

  Returns:
    Per layer (importance, scores, (mean, variance) to go on with).
  """
  found = []
  for i, activation in enumerate(activations):
    x = np.asarray(activation, np.float64)
    importance = pdn(
      variables['params'][f'pdn_{i}'], x.reshape(len(x), -1)
    ).reshape(x.shape)
    scores, running = _batch_norm(variables, f'norm_{i}', importance, train)
    found.append((importance, scores, running))
  return found


def _block(variables, name, x, smallest, decoded=None):
  """An RFE; an RPD where the size to decode to is given."""
  params = variables['params'][name]
  if np.ndim(x) == 2:
    kernel = np.asarray(params['Dense_0']['kernel'], np.float64)
    x, _ = _batch_norm(variables, name, np.asarray(x, np.float64) @ kernel)
    return np.maximum(x, 0) if decoded is None else x
  size = decoded or x.shape[1:3]
  decode, stats = decoded is not None, variables['batch_stats'][name]
  return recursive.block(x, params, stats, size, smallest, decode, False)[0]


def _batch_norm(variables, name, x, train=False):
  params, stats = variables['params'][name], variables['batch_stats'][name]
  scale, bias, mean, var = (
    np.asarray(a, np.float64)
    for a in (params['scale'], params['bias'], stats['mean'], stats['var'])
  )
  return recursive.batch_norm(x, scale, bias, mean, var, train)

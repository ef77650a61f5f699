"""Grad-CAM and gradients of tests.tiny.TinyNet by differences, in float64.

The logits are piecewise linear in pixels and in activations, so that a central
difference is the derivative.
"""

import numpy as np

from tests.reference import explainers

STEP = 1e-6


def logits_behind(params, layer, activation, gates, off=(0.0, 0.0)):
  """Runs the net from what flows on at a layer, one image."""
  dense = [
    np.asarray(params['Dense_0'][name], np.float64)
    for name in ('kernel', 'bias')
  ]
  if layer == 0:
    conv = [
      np.asarray(params['Conv_1'][name], np.float64)
      for name in ('kernel', 'bias')
    ]
    h, w, c = activation.shape
    x = activation.reshape(h // 2, 2, w // 2, 2, c).mean((1, 3))
    second = np.maximum(explainers.convolve(x, *conv), 0)
    activation = gates[1] * second + (1 - gates[1]) * off[1]
  return activation.mean((0, 1)) @ dense[0] + dense[1]


def grad_cam(params, images, gates, classes, layer, off=(0.0, 0.0)):
  """ReLU of the activations' sum, each weighted by its mean slope."""
  maps = []
  for image, gate, c in zip(images, zip(*gates), classes):
    _, seen = explainers.forward(params, image, gate, off)
    flows = gate[layer] * seen[layer] + (1 - gate[layer]) * off[layer]
    slope = np.zeros(flows.shape)
    for place in np.ndindex(*flows.shape):
      slope[place] = _difference(
        lambda x, g=gate, c=c: logits_behind(params, layer, x, g, off)[c],
        flows,
        place,
      )
    total = np.zeros(flows.shape[:2])
    for k in range(flows.shape[2]):
      total += slope[..., k].mean() * flows[..., k]
    maps.append(np.maximum(total, 0))
  return np.stack(maps)


def gradients(params, images, gates, classes, std, off=(0.0, 0.0)):
  """Slopes of the class logit to each pixel, in units of [0, 1]."""
  rows = []
  for image, gate, c in zip(images, zip(*gates), classes):
    slope = np.zeros(image.shape)
    for place in np.ndindex(*image.shape):
      slope[place] = _difference(
        lambda x, g=gate, c=c: explainers.forward(params, x, g, off)[0][c],
        image,
        place,
      )
    rows.append(slope / std)
  return np.stack(rows)


def _difference(fn, x, place):
  values = []
  for step in (STEP, -STEP):
    moved = np.array(x, np.float64)
    moved[place] += step
    values.append(fn(moved))
  return (values[0] - values[1]) / (2 * STEP)

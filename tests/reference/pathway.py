"""Pathway arithmetic in slow NumPy, one image and one neuron at a time."""

import numpy as np


def top_sets(scores, count):
  """Returns, per image, (neurons that must be on, neurons that may be).

  Args:
    scores: tuple of `[n, ...]`.
    count: neurons to keep.

  Returns:
    For each image two sets of neuron numbers (layers behind one another):
    those above the cut, and those equal to it.
  """
  rows = np.concatenate(
    [np.asarray(s, np.float64).reshape(len(s), -1) for s in scores], axis=1
  )
  sets = []
  for row in rows:
    cut = sorted(row, reverse=True)[count - 1]
    above = {i for i, value in enumerate(row) if value > cut}
    equal = {i for i, value in enumerate(row) if value == cut}
    sets.append((above, equal))
  return sets


def firing_sparsity(masks):
  """Share of neurons that are off, image by image."""
  shares = []
  for i in range(len(masks[0])):
    on = sum(int(m[i].sum()) for m in masks)
    total = sum(m[i].size for m in masks)
    shares.append((total - on) / total)
  return np.array(shares)


def class_pathways(masks, labels, threshold):
  """P_c = 1[mean over the images of class c > threshold], neuron by neuron."""
  result = {}
  for c in sorted(set(labels)):
    rows = [i for i, label in enumerate(labels) if label == c]
    layers = []
    for m in masks:
      layer = np.zeros(m.shape[1:], bool)
      for place in np.ndindex(*m.shape[1:]):
        layer[place] = (
          sum(bool(m[(i, *place)]) for i in rows) / len(rows) > threshold
        )
      layers.append(layer)
    result[c] = tuple(layers)
  return result

"""NeuronIntGrad in slow NumPy: one layer, one alpha at a time."""

import numpy as np

from tests.reference import slopes


def scores(params, images, classes=None, off=(0.0, 0.0), steps=11):
  """|mean over alpha of d z_c / d gate| with one layer's gates at alpha."""
  rows = []
  for n, image in enumerate(images):
    c = slopes.class_of(params, image, classes, n)
    of_image = []
    for layer in range(2):
      total = 0.0
      for alpha in np.linspace(0, 1, steps):
        gates = list(slopes.ones())
        gates[layer] = gates[layer] * alpha
        _, effects = slopes.slopes(params, image, gates, slopes.one_hot(c), off)
        total = total + effects[layer]
      of_image.append(abs(total / steps))
    rows.append(of_image)
  return tuple(np.stack(layer) for layer in zip(*rows))

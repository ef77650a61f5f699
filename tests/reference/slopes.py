"""What a gate does to the logits of tests.tiny.TinyNet, by hand, in float64."""

import numpy as np

from tests.reference import explainers


def slopes(params, image, gates, pull, off=(0.0, 0.0)):
  """Derivatives of the pulled logits to every gate.

  Args:
    params: of the net.
    image: normalised, `[8, 8, 3]`.
    gates: two arrays, shaped like the activations; each activation a becomes
      `gate * a + (1 - gate) * off`.
    pull: function of the logits to d value / d logits, `[classes]`.
    off: what stands in for off neurons.

  Returns:
    (logits, two arrays: d value / d gate).
  """
  logits, (first, second) = explainers.forward(params, image, gates, off)
  d_logits = np.asarray(pull(logits), np.float64)
  kernel = np.asarray(params['Dense_0']['kernel'], np.float64)
  h, w, _ = second.shape
  d_second = np.broadcast_to(kernel @ d_logits / (h * w), second.shape)
  # ReLU's derivative at 0 is 0.
  d_before = d_second * gates[1] * (second > 0)
  kernel = np.asarray(params['Conv_1']['kernel'], np.float64)
  padded = np.zeros((h + 2, w + 2, kernel.shape[2]))
  for i in range(3):
    for j in range(3):
      padded[i : i + h, j : j + w] += d_before @ kernel[i, j].T
  d_first = padded[1:-1, 1:-1].repeat(2, 0).repeat(2, 1) / 4
  return logits, (d_first * (first - off[0]), d_second * (second - off[1]))


def one_hot(c):
  """Pulls the logit of a class."""
  return lambda logits: np.arange(len(logits)) == c


def class_of(params, image, classes, n):
  """The class to explain: the arg-max of the free net where none is given."""
  logits, _ = explainers.forward(params, image)
  return logits.argmax() if classes is None else classes[n]


def ones():
  """All gates at 1."""
  return np.ones((8, 8, 4)), np.ones((4, 4, 8))


def flat(layers):
  """One row of all neurons."""
  return np.concatenate([np.ravel(layer) for layer in layers])


def split(row):
  """Inverse of `flat`."""
  return row[:256].reshape(8, 8, 4), row[256:].reshape(4, 4, 8)

"""Explainers in slow NumPy: float64 forward passes, one neuron at a time."""

import numpy as np

STEP = 1e-6


def convolve(x, kernel, bias):
  """3x3 convolution of one image `[h, w, c]` with SAME padding."""
  padded = np.pad(x, ((1, 1), (1, 1), (0, 0)))
  out = np.zeros((*x.shape[:2], kernel.shape[-1]))
  for i in range(3):
    for j in range(3):
      out += padded[i : i + x.shape[0], j : j + x.shape[1]] @ kernel[i, j]
  return out + bias


def forward(params, image, gates=(1.0, 1.0), off=(0.0, 0.0)):
  """Runs tests.tiny.TinyNet on one normalised image.

  Each activation a becomes `gate * a + (1 - gate) * off`.

  Returns:
    (logits [classes], the two activations before their gates).
  """
  layer = lambda name: (  # noqa: E731
    np.asarray(params[name]['kernel'], np.float64),
    np.asarray(params[name]['bias'], np.float64),
  )
  first = np.maximum(convolve(image, *layer('Conv_0')), 0)
  x = gates[0] * first + (1 - gates[0]) * off[0]
  h, w, c = x.shape
  x = x.reshape(h // 2, 2, w // 2, 2, c).mean((1, 3))
  second = np.maximum(convolve(x, *layer('Conv_1')), 0)
  x = gates[1] * second + (1 - gates[1]) * off[1]
  kernel, bias = layer('Dense_0')
  return x.mean((0, 1)) @ kernel + bias, (first, second)


def normalise(images, mean, std):
  """uint8 images to what the net takes, float64."""
  return (np.asarray(images, np.float64) / 255 - mean) / std


def original_activation(params, images):
  """The activations of each image, by layer."""
  rows = [forward(params, image)[1] for image in images]
  return tuple(np.stack(layer) for layer in zip(*rows))


def neuron_mct(params, images, classes=None, off=(0.0, 0.0)):
  """|effect of a gate on the class logit|, by a central difference a neuron.

  The logit is piecewise linear in a gate, so the difference is the derivative.
  """
  scores = []
  for n, image in enumerate(images):
    logits, activations = forward(params, image)
    c = logits.argmax() if classes is None else classes[n]
    of_image = []
    for layer, a in enumerate(activations):
      score = np.zeros(a.shape)
      for place in np.ndindex(*a.shape):
        moved = []
        for step in (STEP, -STEP):
          gates = [np.ones(other.shape) for other in activations]
          gates[layer][place] += step
          moved.append(forward(params, image, gates, off)[0][c])
        score[place] = abs(moved[0] - moved[1]) / (2 * STEP)
      of_image.append(score)
    scores.append(of_image)
  return tuple(np.stack(layer) for layer in zip(*scores))


def check_top(masks, scores, count, rounding=1e-5):
  """Checks that masks are the top `count` of scores, exactly as many.

  Neurons at the cut, within rounding of it, may be on or off.
  """
  rows = np.concatenate([m.reshape(len(m), -1) for m in masks], axis=1)
  flat = np.concatenate([s.reshape(len(s), -1) for s in scores], axis=1)
  for on, row in zip(rows, flat):
    assert on.sum() == count
    cut = np.sort(row)[-count]
    margin = rounding * np.abs(row).max()
    assert on[row > cut + margin].all()
    assert not on[row < cut - margin].any()


def mean_activations(params, images):
  """Mean activation of each neuron over the images."""
  rows = original_activation(params, images)
  return tuple(sum(layer) / len(layer) for layer in rows)


def agreement(logits, pathway_logits):
  """Whether the class stays, image by image."""
  pairs = zip(logits.tolist(), pathway_logits.tolist())
  return np.array([a.index(max(a)) == b.index(max(b)) for a, b in pairs])

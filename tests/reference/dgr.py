"""DGR in slow NumPy: one image, one step of SGD at a time, in float64."""

import numpy as np

from tests.reference import explainers, slopes


def softmax(logits):
  odds = np.exp(logits - logits.max())
  return odds / odds.sum()


def loss(params, image, gates, penalty, off=(0.0, 0.0)):
  """CE(softmax H(X), H(X; g)) + penalty * sum |g|."""
  wanted = softmax(explainers.forward(params, image)[0])
  got = softmax(explainers.forward(params, image, gates, off)[0])
  return -(wanted * np.log(got)).sum() + penalty * abs(slopes.flat(gates)).sum()


def descend(
  params,
  image,
  start,
  c,
  penalty,
  steps,
  off=(0.0, 0.0),
  rate=0.01,
  momentum=0.9,
):
  """Runs SGD once.

  Returns:
    (gates of the lowest loss that kept class c, or None; the last gates).
  """
  wanted = softmax(explainers.forward(params, image)[0])
  gates = [np.array(g, np.float64) for g in start]
  velocity = [np.zeros(g.shape) for g in gates]
  lowest, best = np.inf, None
  for _ in range(steps):
    logits, rises = slopes.slopes(
      params, image, gates, lambda z: softmax(z) - wanted, off
    )
    value = -(wanted * np.log(softmax(logits))).sum()
    value += penalty * sum(abs(g).sum() for g in gates)
    if logits.argmax() == c and value < lowest:
      lowest, best = value, [g.copy() for g in gates]
    for layer in range(2):
      slope = rises[layer] + penalty * np.sign(gates[layer])
      velocity[layer] = momentum * velocity[layer] + slope
      moved = gates[layer] - rate * velocity[layer]
      gates[layer] = np.minimum(np.maximum(moved, 0), 100)
  return best, gates


def learn(params, image, start, c, penalty, steps, retries=0, **fields):
  """Runs SGD, with a tenth of the penalty again where no step kept class c.

  Returns:
    (gates, number of runs, whether a run kept the class).
  """
  for run in range(1 + retries):
    best, last = descend(
      params, image, start, c, penalty / 10**run, steps, **fields
    )
    if best is not None:
      return best, run + 1, True
  return last, run + 1, False

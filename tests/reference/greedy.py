"""Greedy in slow NumPy: one image, one step, one neuron's turn at a time."""

import numpy as np

from tests.reference import explainers, slopes


def removal(params, image, lots, c, off=(0.0, 0.0), counts=None):
  """Removes the neurons of least |effect| until `counts` of them are left.

  Args:
    params: of tests.tiny.TinyNet.
    image: normalised.
    lots: one number a neuron; of equal scores the larger lot stays on.
    c: the class to explain.
    off: what stands in for off neurons.
    counts: neurons that each step leaves on; 99 %, 98 %, ..., 1 % by default.

  Returns:
    (one mask a step, first all ones, and one row of scores under each).
  """
  neurons = len(lots)
  if counts is None:
    counts = [max(1, round((1 - p / 100) * neurons)) for p in range(1, 100)]
  on = np.ones(neurons, bool)
  masks, scores = [on.copy()], [score(params, image, on, c, off)]
  for count in counts:
    turn = sorted(np.flatnonzero(on), key=lambda i: (scores[-1][i], lots[i]))
    on[turn[: on.sum() - count]] = False
    masks.append(on.copy())
    scores.append(score(params, image, on, c, off))
  return masks, scores


def score(params, image, on, c, off):
  """|effect on the class logit| of every gate, under a mask."""
  gates = slopes.split(on.astype(float))
  _, effects = slopes.slopes(params, image, gates, slopes.one_hot(c), off)
  return abs(slopes.flat(effects))


def check_order(order, masks, scores, rounding=1e-5):
  """Checks that ranks follow (last step on, score there), ties included.

  Scores of one step that differ by no more than rounding may swap.
  """
  last = np.sum(masks, axis=0) - 1
  final = np.array([scores[step][i] for i, step in enumerate(last)])
  turn = np.lexsort((final, order))
  assert (np.diff(last[turn]) >= 0).all()
  rises = np.diff(final[turn])
  margin = rounding * final.max()
  same_step = np.diff(last[turn]) == 0
  assert (rises[same_step] >= -margin).all()
  same_rank = np.diff(order[turn]) == 0
  assert same_step[same_rank].all()
  assert (rises[same_rank] <= margin).all()
  # No rank is left out.
  assert sorted(set(order.tolist())) == list(range(int(order.max()) + 1))
  # A tie is a tie: neurons of score 0 of one step share a rank.
  for step in np.unique(last[final == 0]):
    assert len(set(order[(last == step) & (final == 0)])) == 1


def says(params, image, on, off):
  """The class of the net under a mask."""
  gates = slopes.split(on.astype(float))
  return explainers.forward(params, image, gates, off)[0].argmax()


def as_published(params, image, percents, c):
  """The published code: dead and pruned neurons come back at every step."""
  on = np.ones(384)
  for percent in percents:
    _, effects = slopes.slopes(
      params, image, slopes.split(on), slopes.one_hot(c)
    )
    scores = abs(slopes.flat(effects)) * on
    ranked = scores.copy()
    ranked[ranked <= 0] = ranked.max()
    on[scores <= np.percentile(ranked, percent)] = 0
    on[scores <= 0] = 1
  return on.astype(bool)

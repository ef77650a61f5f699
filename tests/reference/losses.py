"""The losses and the optimisers by their formulas, one image at a time."""

import math

import numpy as np


def log_softmax(row):
  """log(exp(x_i) / sum_j exp(x_j)) in float64."""
  row = np.asarray(row, np.float64)
  return row - row.max() - math.log(np.exp(row - row.max()).sum())


def log_odds(row, label):
  """log(p / (1 - p)) of a class in float64."""
  p = math.exp(log_softmax(row)[label])
  return math.log(p / (1 - p))


def classification(logits, labels):
  """Returns per-image (losses, correct)."""
  losses = [-log_softmax(row)[label] for row, label in zip(logits, labels)]
  correct = [int(np.argmax(row)) == label for row, label in zip(logits, labels)]
  return np.array(losses), np.array(correct, float)


def penalty(masks, reduction):
  """Eq. 3 for one image: masks is a tuple of arrays [h, w, c] or [c]."""
  layers = [[float(p) ** 2 for p in mask.ravel()] for mask in masks]
  if reduction == 'layer_mean':
    return sum(sum(layer) / len(layer) for layer in layers)
  total = sum(sum(layer) for layer in layers)
  if reduction == 'mean':
    return total / sum(len(layer) for layer in layers)
  return total


def kept(rows, neurons, share, sparsities):
  """How many neurons stay on of each row of a batch, 0 for DAQ's own cut."""
  counts = []
  for row in range(rows):
    place = (row + 0.5) * (math.sqrt(5) - 1) / 2 % 1
    most, least = (math.log(1 - s) for s in sparsities)
    on = math.exp(most + (least - most) * place / share) * neurons
    counts.append(max(1, round(on)) if place < share else 0)
  return counts


def distance(pathway_logits, logits, task):
  """Eq. 2 for one image."""
  if task.answer == 'odds':
    label = int(np.argmax(logits))
    gain = log_odds(pathway_logits, label) - log_odds(logits, label)
    return math.log1p(math.exp(-gain))
  wanted = np.asarray(logits, np.float64) / task.distil_temperature
  return -(np.exp(log_softmax(wanted)) * log_softmax(pathway_logits)).sum()


def distillation(
  logits, pathway_logits, swapped_logits, masks, task, counts=None
):
  """Eq. 2 and 3 and the swap term.

  Args:
    logits: H(X), one row an image of the global batch.
    pathway_logits: H(X; P * A).
    swapped_logits: row r is the NEXT image under the pathway of image r.
    masks: P, a tuple of arrays [n, ...].
    task: with alpha, beta, gamma, penalty_reduction, answer, swap, charged,
      sparsity_goal, distil_temperature.
    counts: of each image the neurons that a cut keeps, 0 for its own pathway;
      None for no cut.

  Returns:
    (loss, means by name): of the own pathways, but for the loss, the leakage
    and 'agreement_of_cuts'.
  """
  n = len(logits)
  classes = [int(np.argmax(row)) for row in logits]
  of_image = [tuple(m[r] for m in masks) for r in range(n)]
  own = {
    'distillation': 0.0,
    'penalty': 0.0,
    'agreement': 0.0,
    'firing_sparsity': 0.0,
  }
  pairs, asked, leaks, price = 0, 0.0, 0, 0.0
  of_cuts = {'distillation': 0.0, 'agreement': 0.0}
  own_rows = [r for r in range(n) if not (counts and counts[r])]
  for r in range(n):
    means = own if r in own_rows else of_cuts
    means['distillation'] += distance(pathway_logits[r], logits[r], task)
    pays = agrees = int(np.argmax(pathway_logits[r])) == classes[r]
    means['agreement'] += agrees
    if classes[(r + 1) % n] != classes[r] and task.gamma:
      pays &= int(np.argmax(swapped_logits[r])) != classes[r]
    if task.charged == 'surer':
      label = classes[r]
      pays &= log_odds(pathway_logits[r], label) > log_odds(logits[r], label)
    if r in own_rows:
      paid = penalty(of_image[r], task.penalty_reduction)
      own['penalty'] += paid
      # A soft mask is on above one half.
      on = [p for mask in of_image[r] for p in mask.ravel()]
      sparsity = sum(p <= 0.5 for p in on) / len(on)
      own['firing_sparsity'] += sparsity
      pays = pays or task.charged == 'all'
      price += paid * (-1 if sparsity > task.sparsity_goal else pays)
    if classes[(r + 1) % n] != classes[r]:
      pairs += 1
      if task.swap == 'own':
        asked += distance(swapped_logits[r], logits[(r + 1) % n], task)
      elif task.swap == 'odds':
        p = math.exp(log_softmax(swapped_logits[r])[classes[r]])
        asked -= math.log(1 - p)
      else:
        asked -= log_softmax(swapped_logits[r]).mean()
      leaks += int(np.argmax(swapped_logits[r])) == classes[r]
  said = own['distillation'] + of_cuts['distillation']
  loss = (task.alpha * said + task.beta * price) / n
  means = {key: float(value) / len(own_rows) for key, value in own.items()}
  if counts:
    means['agreement_of_cuts'] = of_cuts['agreement'] / (n - len(own_rows))
  if task.gamma:
    means['swap_leakage'] = leaks / max(pairs, 1)
    loss += task.gamma * asked / max(pairs, 1)
  means['loss'] = loss
  return loss, means


def sgd(params, gradients, rates, momentum, weight_decay, clip_norm):
  """Nesterov SGD: clip, then decay, then momentum. Returns all iterates."""
  trace, path = np.zeros_like(params), []
  for gradient, rate in zip(gradients, rates):
    gradient = _clip(gradient, clip_norm) + weight_decay * params
    trace = momentum * trace + gradient
    params = params - rate * (gradient + momentum * trace)
    path.append(params)
  return path


def adam(params, gradients, rates, weight_decay, clip_norm):
  """Adam (Kingma & Ba 2015): clip, then decay, then the moments."""
  first, second, path = np.zeros_like(params), np.zeros_like(params), []
  for t, (gradient, rate) in enumerate(zip(gradients, rates), 1):
    gradient = _clip(gradient, clip_norm) + weight_decay * params
    first = 0.9 * first + 0.1 * gradient
    second = 0.999 * second + 0.001 * gradient**2
    unbiased = first / (1 - 0.9**t), second / (1 - 0.999**t)
    params = params - rate * unbiased[0] / (np.sqrt(unbiased[1]) + 1e-8)
    path.append(params)
  return path


def _clip(gradient, norm):
  length = math.sqrt((gradient**2).sum())
  if norm and length > norm:
    return gradient * (norm / length)
  return gradient

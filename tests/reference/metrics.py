"""The metrics again: slow, one image or one pair at a time, by definition."""

import itertools
import math

import numpy as np

MARGIN = 1e-6


class TinyNet:
  """Two ReLU layers and a linear one, in float64 NumPy, for one image [4,4,3].

  `variables` and `apply_fn` are the same network for a Target.
  """

  def __init__(self, seed=0, classes=4):
    rng = np.random.default_rng(seed)
    shapes = {'a': (3, 5), 'b': (5, 6), 'c': (6, classes)}
    self.variables = {k: rng.normal(size=s) for k, s in shapes.items()}
    self.variables |= {
      'bias_' + k: rng.normal(size=s[1]) for k, s in shapes.items()
    }
    self.variables = {
      k: v.astype(np.float32) for k, v in self.variables.items()
    }

  @staticmethod
  def apply_fn(variables, images):
    import jax
    import jax.numpy as jnp

    def dense(x, name):
      bias = variables['bias_' + name]
      bias = bias.reshape((1,) * (x.ndim - 1) + (-1,))
      return jnp.matmul(x, variables[name]) + bias

    x = jax.nn.relu(dense(images, 'a'))
    x = jax.nn.relu(dense(x.mean(axis=(1, 2)), 'b'))
    return dense(x, 'c')

  def logits(self, image, masks=None, off=(0.0, 0.0)):
    v = {k: x.astype(np.float64) for k, x in self.variables.items()}
    x = np.maximum(image.astype(np.float64) @ v['a'] + v['bias_a'], 0)
    if masks is not None:
      x = masks[0] * x + (1.0 - masks[0]) * np.ravel(off[0])
    x = np.maximum(x.mean(axis=(0, 1)) @ v['b'] + v['bias_b'], 0)
    if masks is not None:
      x = masks[1] * x + (1.0 - masks[1]) * np.ravel(off[1])
    return x @ v['c'] + v['bias_c']


def softmax(logits):
  largest = max(logits)
  e = [math.exp(z - largest) for z in logits]
  return [x / sum(e) for x in e]


def faithfulness(logits, pathway_logits, labels, firing_sparsity):
  """Paper, sections 4 and 6.2, in the reading of our docstring."""
  n = len(logits)
  correct = agreed = rose = fell = 0
  increase = decrease = 0.0
  for i in range(n):
    c = int(np.argmax(logits[i]))
    c_hat = int(np.argmax(pathway_logits[i]))
    y = softmax([float(z) for z in logits[i]])[c]
    y_hat = softmax([float(z) for z in pathway_logits[i]])[c]
    agreed += c == c_hat
    correct += labels is not None and c_hat == labels[i]
    if c == c_hat and math.log(y_hat) > math.log(y) + MARGIN:
      rose += 1
      increase += y_hat - y
    if c == c_hat and math.log(y_hat) < math.log(y) - MARGIN:
      fell += 1
      decrease += y - y_hat
  return {
    'accuracy': None if labels is None else correct / n,
    'agreement': agreed / n,
    'increase_rate': rose / n,
    'mean_increase': increase / n,
    'mean_decrease': decrease / n,
    'mean_increase_of_risers': increase / rose if rose else math.nan,
    'mean_decrease_of_fallers': decrease / fell if fell else math.nan,
    'firing_sparsity': sum(firing_sparsity) / n,
  }


def neurons_on(masks, image):
  """The pathway of an image as a set of (layer, place)."""
  return {
    (layer, place)
    for layer, mask in enumerate(masks)
    for place in np.flatnonzero(mask[image])
  }


def jaccard(a, b):
  return len(a & b) / len(a | b) if a | b else 0.0


def by_class(labels):
  """Images of each class."""
  return {
    c: [i for i in range(len(labels)) if labels[i] == c]
    for c in sorted(set(int(c) for c in labels))
  }


def class_mean(values, labels):
  """Mean weighted by class share; classes of one image are left out."""
  groups = {c: len(g) for c, g in by_class(labels).items() if len(g) > 1}
  total = sum(groups.values())
  if not total:
    return math.nan
  return sum(values[c] * size / total for c, size in groups.items())


def pairwise_iou(masks, labels):
  sets = [neurons_on(masks, i) for i in range(len(labels))]
  within, floor = {}, {}
  for c, group in by_class(labels).items():
    pairs = list(itertools.combinations(group, 2))
    if pairs:
      within[c] = np.mean([jaccard(sets[i], sets[j]) for i, j in pairs])
      floor[c] = np.mean([_chance(masks, i, j) for i, j in pairs])
  between = [
    jaccard(sets[i], sets[j])
    for i, j in itertools.combinations(range(len(labels)), 2)
    if labels[i] != labels[j]
  ]
  neurons = sum(mask[0].size for mask in masks)
  q = np.mean([len(s) for s in sets]) / neurons
  return {
    'within': class_mean(within, labels),
    'between': np.mean(between) if between else math.nan,
    'uniform_floor': q / (2 - q),
    'profile_floor': class_mean(floor, labels),
    'per_class': within,
  }


def _chance(masks, i, j):
  """Expected |and| / expected |or| of two masks drawn within each layer."""
  shared = union = 0.0
  for mask in masks:
    size = mask[0].size
    a, b = mask[i].sum() / size, mask[j].sum() / size
    shared += size * a * b
    union += size * (a + b - a * b)
  return shared / union if union else 0.0


def consensus_iou(masks, labels):
  sets = [neurons_on(masks, i) for i in range(len(labels))]
  groups = by_class(labels)
  value = {}
  for c, group in groups.items():
    union = set.union(*[sets[i] for i in group])
    shared = set.intersection(*[sets[i] for i in group])
    value[c] = len(shared) / len(union) if union else 0.0
  between, weight = 0.0, 0
  for c, d in itertools.combinations(groups, 2):
    both = [sets[i] for i in groups[c] + groups[d]]
    union, shared = set.union(*both), set.intersection(*both)
    pairs = len(groups[c]) * len(groups[d])
    between += pairs * (len(shared) / len(union) if union else 0.0)
    weight += pairs
  return {
    'within': class_mean(value, labels),
    'between': between / weight if weight else math.nan,
    'per_class': {c: v for c, v in value.items() if len(groups[c]) > 1},
  }


def leakage(net, images, masks, partners, blank, off=(0.0, 0.0)):
  """Our metric, one image at a time."""
  n = len(images)
  classes = [int(np.argmax(net.logits(image))) for image in images]
  swap, own, on_blank, cut, empty, influence = [], [], [], [], [], []
  for i in range(n):
    mask = [m[i] for m in masks]
    seen = [
      net.logits(images[i], mask, off),
      net.logits(blank, mask, off),
    ]
    if partners[i] >= 0:
      seen.append(net.logits(images[partners[i]], mask, off))
      said = int(np.argmax(seen[-1]))
      swap.append(said == classes[i])
      own.append(said == classes[partners[i]])
      a, b = (z - np.mean(z) for z in (seen[0], seen[2]))
      largest = max(map(abs, a)) + max(map(abs, b))
      moved = max(abs(x - y) for x, y in zip(a, b))
      influence.append(moved / largest if largest else 0.0)
    on_blank.append(int(np.argmax(seen[1])) == classes[i])
    cut.append(all(np.allclose(seen[0], z, rtol=0, atol=1e-9) for z in seen))
    empty.append(any(not m.any() for m in mask))
  return {
    'swap': np.mean(swap) if swap else math.nan,
    'own': np.mean(own) if own else math.nan,
    'blank': np.mean(on_blank),
    'disconnected': np.mean(cut),
    'influence': np.mean(influence) if influence else math.nan,
    'empty_layer': np.mean(empty),
  }


def roap(net, images, masks, labels, off=(0.0, 0.0)):
  right = [
    np.argmax(net.logits(image, [1.0 - m[i] for m in masks], off)) == labels[i]
    for i, image in enumerate(images)
  ]
  return np.mean(right)


def class_variance(embeddings, labels):
  """Shares of the mean squared distance, image by image."""
  rows = [np.ravel(e) for e in embeddings]
  centre = np.mean(rows, axis=0)
  means = {
    c: np.mean([rows[i] for i in g], axis=0)
    for c, g in by_class(labels).items()
  }
  total = np.mean([np.sum((r - centre) ** 2) for r in rows])
  within = np.mean(
    [np.sum((r - means[int(c)]) ** 2) for r, c in zip(rows, labels)]
  )
  between = np.mean([np.sum((means[int(c)] - centre) ** 2) for c in labels])
  return within / total, between / total, total


def transfer(net, images, masks, groups, split, sample, threshold, off):
  """Class pathways on held-out images: counts in loops, images one by one.

  Returns the logits of the target and under the class pathway, the pathways'
  firing sparsities, and a function (image, class) -> class under the pathway.
  """
  pathways = {}
  for c, order in split.builders.items():
    members = [i for i in range(len(groups)) if groups[i] == c]
    drawn = order[: max(1, round((1 - sample) * len(members)))]
    counts = [sum(m[i].astype(int) for i in drawn) for m in masks]
    # Integers: on in more than the threshold's share of the drawn.
    pathways[c] = [count > threshold * len(drawn) for count in counts]
  whole, under, sparsity = [], [], []
  for i in split.held_out:
    mask = pathways[int(groups[i])]
    whole.append(net.logits(images[i]))
    under.append(net.logits(images[i], mask, off))
    on = sum(int(m.sum()) for m in mask)
    sparsity.append(1 - on / sum(m.size for m in mask))

  def said(image, group):
    return int(np.argmax(net.logits(images[image], pathways[group], off)))

  return np.array(whole), np.array(under), sparsity, said

"""The methods in PyTorch, one image at a time, as they are published.

Each takes the shortest way that a loop over images leaves: gates that all
layers share a forward pass for, NeuronIntGrad's passes from the layer on.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from benchmarks import models_torch, steps_torch, worker

SPARSITY = 0.95
ALPHAS = 11


def work(options, name: str, method: str) -> worker.Work:
  """Explains one random image."""
  target = models_torch.target(name).eval().requires_grad_(False)
  target = steps_torch.to_device(target, options)
  options.batch = 1
  image, _ = steps_torch.data(options)
  explain = {
    'neuron_mct': neuron_mct,
    'neuron_int_grad': neuron_int_grad,
    'greedy': greedy,
    'dgr': lambda *given: dgr(*given, options.count or 1000),
    'original_activation': original_activation,
    'random': random,
  }
  if method == 'gencnp':
    _, activations = target.record(image)
    shapes = [tuple(a.shape[1:3]) for a in activations]
    generator = steps_torch.to_device(
      models_torch.GenCnp(shapes).eval(), options
    )

    def run():
      with torch.no_grad():
        generator(target.record(image)[1])
      steps_torch.synchronise()
  else:

    def run():
      explain[method](target, image)
      steps_torch.synchronise()

  return worker.Work(run, 1, {})


def top(scores, kept: int | None = None):
  """Returns masks of the top scores over all layers, exactly as many."""
  flat = torch.cat([s.flatten() for s in scores])
  kept = kept or max(1, round((1 - SPARSITY) * flat.numel()))
  mask = torch.zeros_like(flat, dtype=torch.bool)
  mask[flat.topk(kept).indices] = True
  sizes = [s.numel() for s in scores]
  return [m.view_as(s) for m, s in zip(mask.split(sizes), scores)]


def ones(target, image):
  """Returns gates of one, in the shape of the activations."""
  with torch.no_grad():
    _, activations = target.record(image)
  return [torch.ones_like(a, requires_grad=True) for a in activations]


def effects(target, image, gates):
  """Returns |gate's effect on the class logit|, by layer."""
  logits = target.masked(image, gates)
  found = torch.autograd.grad(logits.max(), gates)
  return [f.abs() for f in found]


def neuron_mct(target, image):
  """One forward and one backward pass."""
  return top(effects(target, image, ones(target, image)))


def neuron_int_grad(target, image):
  """Eleven forward and backward passes a layer, from that layer on."""
  with torch.no_grad():
    logits, activations = target.record(image)
  c = logits.argmax()
  relus = [
    i for i, m in enumerate(target.features) if isinstance(m, torch.nn.ReLU)
  ]
  scores = []
  for place, activation in zip(relus, activations):
    rest, total = target.features[place + 1 :], torch.zeros_like(activation)
    for step in range(ALPHAS):
      x = (activation * (step / (ALPHAS - 1))).requires_grad_()
      logit = target.classifier(rest(x).flatten(1))[0, c]
      total += torch.autograd.grad(logit, x)[0]
    scores.append((activation * total / ALPHAS).abs())
  return top(scores)


def greedy(target, image):
  """A percent at a time, with the scores under the mask."""
  gates = ones(target, image)
  neurons = sum(g.numel() for g in gates)
  for percent in range(1, 100):
    scores = effects(target, image, gates)
    # What is off stays off.
    scores = [
      s.where(g > 0, -torch.ones_like(s)) for s, g in zip(scores, gates)
    ]
    masks = top(scores, max(1, round((1 - percent / 100) * neurons)))
    gates = [m.to(s.dtype).requires_grad_() for m, s in zip(masks, scores)]
    if percent == round(100 * SPARSITY):
      found = masks
  return found


def dgr(target, image, steps: int):
  """SGD with momentum on a gate a neuron."""
  gates = ones(target, image)
  with torch.no_grad():
    logits = target(image)
  wanted, c = logits.softmax(1), logits.argmax()
  optimiser = torch.optim.SGD(gates, 0.01, momentum=0.9)
  lowest, best = float('inf'), gates
  for _ in range(steps):
    masked = target.masked(image, gates)
    loss = functional.cross_entropy(masked, wanted)
    loss = loss + 0.01 * sum(g.abs().sum() for g in gates)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    value = loss.item()
    if value < lowest and masked.argmax() == c:
      lowest, best = value, [g.detach().clone() for g in gates]
    optimiser.step()
    with torch.no_grad():
      for gate in gates:
        gate.clamp_(0, 100)
  return top([g.detach() for g in best])


def original_activation(target, image):
  """The activations themselves."""
  with torch.no_grad():
    return top(target.record(image)[1])


def random(target, image):
  """Lots."""
  with torch.no_grad():
    return top([torch.rand_like(a) for a in target.record(image)[1]])

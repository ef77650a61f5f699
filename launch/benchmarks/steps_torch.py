"""Training steps in PyTorch: fused optimisers, as one would write them."""

from __future__ import annotations

import contextlib

import torch
from torch import nn
from torch.nn import functional

from benchmarks import models_torch, worker

BETA = 0.6


def classification(options, name: str) -> worker.Work:
  """A training step: SGD, Nesterov, weight decay, clipped gradients."""
  model = to_device(models_torch.target(name), options)
  images, labels = data(options)
  optimiser = torch.optim.SGD(
    model.parameters(),
    0.01,
    momentum=0.9,
    nesterov=True,
    weight_decay=5e-4,
    fused=True,
  )

  def loss():
    return functional.cross_entropy(model(images).float(), labels)

  def clip():
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)

  return training(loss, optimiser, options, clip)


def distillation(options, name: str) -> worker.Work:
  """A distillation step: the frozen target twice, GEN-CNP, Adam."""
  frozen = models_torch.target(name).eval().requires_grad_(False)
  frozen = to_device(frozen, options)
  images, _ = data(options)
  with torch.no_grad():
    _, activations = frozen.record(images[:1])
  shapes = [tuple(a.shape[1:3]) for a in activations]
  model = to_device(models_torch.GenCnp(shapes), options)
  optimiser = torch.optim.Adam(model.parameters(), 1e-3, fused=True)

  def loss():
    with torch.no_grad():
      logits, activations = frozen.record(images)
    masks = model(activations)
    masked = frozen.masked(images, masks).float()
    distilled = functional.cross_entropy(masked, logits.float().softmax(1))
    return distilled + BETA * sum((m * m).float().mean() for m in masks)

  return training(loss, optimiser, options)


def training(loss, optimiser, options, clip=lambda: None) -> worker.Work:
  """A step of an optimiser on a loss; `clip` sees the gradients first."""
  loss = compiled(loss, options)

  def step():
    optimiser.zero_grad(set_to_none=True)
    with precision(options):
      value = loss()
    value.backward()
    clip()
    optimiser.step()
    synchronise()

  return worker.Work(step, options.batch, {})


def device() -> str:
  """Returns the device that is measured."""
  return 'cuda' if torch.cuda.is_available() else 'cpu'


def to_device(module: nn.Module, options) -> nn.Module:
  """Moves a module to the device, in the layout that is measured."""
  return module.to(device(), memory_format=memory_format(options))


def data(options) -> tuple[torch.Tensor, torch.Tensor]:
  """Returns normalised images and labels."""
  images = torch.randn(options.batch, 3, 32, 32, device=device())
  images = images.to(memory_format=memory_format(options))
  return images, torch.randint(0, 10, (options.batch,), device=device())


def memory_format(options) -> torch.memory_format:
  """Returns PyTorch's name for a layout."""
  channels_last = options.layout == 'channels_last'
  return torch.channels_last if channels_last else torch.contiguous_format


def compiled(function, options):
  """Compiles forward and backward, where that is measured."""
  return torch.compile(function) if options.compiled else function


def precision(options):
  """Returns the context of a forward pass."""
  if options.dtype == 'float32':
    return contextlib.nullcontext()
  return torch.autocast(device(), dtype=getattr(torch, options.dtype))


def synchronise() -> None:
  """Waits for the device."""
  if torch.cuda.is_available():
    torch.cuda.synchronize()

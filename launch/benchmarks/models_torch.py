"""The same models in PyTorch, as one would write them for it.

Channels first, modules of torch.nn, in-place ReLUs where autograd allows them.
"""

import math

import torch
from torch import nn
from torch.nn import functional

ALEXNET = ((64, 11, 4, 5), 'pool', (192, 5, 1, 2), 'pool', (384, 3, 1, 1))
ALEXNET += ((256, 3, 1, 1), (256, 3, 1, 1), 'pool')
VGG11 = (64, 'pool', 128, 'pool', 256, 256, 'pool', 512, 512, 'pool')
VGG11 += (512, 512, 'pool')


class Net(nn.Module):
  """A target: features with their ReLUs at known places, then one linear."""

  def __init__(self, plan, norm: bool):
    super().__init__()
    layers, channels = [], 3
    for entry in plan:
      if entry == 'pool':
        layers.append(nn.MaxPool2d(2))
        continue
      width, k, stride, pad = (entry, 3, 1, 1) if norm else entry
      layers.append(nn.Conv2d(channels, width, k, stride, pad))
      layers += [nn.BatchNorm2d(width)] if norm else []
      layers.append(nn.ReLU(inplace=True))
      channels = width
    self.features = nn.Sequential(*layers)
    self.classifier = nn.Linear(channels, 10)

  def forward(self, x):
    """Returns logits."""
    return self.classifier(self.features(x).flatten(1))

  def record(self, x):
    """Returns logits and the tuple of post-ReLU activations."""
    activations = []
    for layer in self.features:
      x = layer(x)
      if isinstance(layer, nn.ReLU):
        activations.append(x)
    return self.classifier(x.flatten(1)), activations

  def masked(self, x, masks):
    """Returns logits with every activation multiplied by its mask."""
    masks = iter(masks)
    for layer in self.features:
      x = layer(x)
      if isinstance(layer, nn.ReLU):
        x = x * next(masks)
    return self.classifier(x.flatten(1))


class Recursive(nn.Module):
  """RFE (shrinking, VALID) or RPD (growing, transposed), one shared kernel."""

  def __init__(self, channels: int, size: int, smallest: int, decode: bool):
    super().__init__()
    padded = size == smallest
    passes = 1 if padded else (size - smallest) // 2
    kind = nn.ConvTranspose2d if decode else nn.Conv2d
    self.convolution = kind(
      channels, channels, 3, padding=1 if padded else 0, bias=False
    )
    self.norms = nn.ModuleList(nn.BatchNorm2d(channels) for _ in range(passes))
    self.decode = decode

  def forward(self, x):
    """Shrinks or grows the map."""
    for index, norm in enumerate(self.norms):
      x = norm(self.convolution(x))
      if not (self.decode and index == len(self.norms) - 1):
        x = functional.relu(x, inplace=True)
    return x


class Daq(torch.autograd.Function):
  """One-bit DAQ between -1.5 and 1.5, sigma 2, temperature 2, closed form."""

  @staticmethod
  def forward(ctx, x):
    """Binarises."""
    ctx.save_for_backward(x)
    return (x > 0).to(x.dtype)

  @staticmethod
  def backward(ctx, gradient):
    """The slope of the soft assignment."""
    (x,) = ctx.saved_tensors
    r = (x + 1.5) / 3
    distance = (1 / 4 + (1 - 2 * r).abs()) / 2
    slope = 2 / (2 * math.sinh(2)) / torch.tanh(distance)
    return gradient * (x.abs() <= 1.5) * slope / 3


class GenCnp(nn.Module):
  """RFEs -> PDN -> RPDs -> DAQ."""

  def __init__(self, shapes, hidden: int = 1024):
    super().__init__()
    smallest = min(size for _, size in shapes)
    self.shapes = [(channels, smallest, smallest) for channels, _ in shapes]
    self.widths = [math.prod(shape) for shape in self.shapes]
    self.rfes, self.rpds = (
      nn.ModuleList(Recursive(c, s, smallest, decode) for c, s in shapes)
      for decode in (False, True)
    )
    width = sum(self.widths)
    self.pdn = nn.Sequential(
      nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, width)
    )

  def forward(self, activations):
    """Returns a mask per activation."""
    patterns = [rfe(a) for rfe, a in zip(self.rfes, activations)]
    scores = self.pdn(torch.cat([p.flatten(1) for p in patterns], 1))
    parts = scores.split(self.widths, 1)
    return [
      Daq.apply(rpd(part.unflatten(1, shape)))
      for rpd, part, shape in zip(self.rpds, parts, self.shapes)
    ]


def target(name: str) -> Net:
  """Returns an untrained target."""
  return Net(VGG11, norm=True) if name == 'vgg11' else Net(ALEXNET, norm=False)

"""How large a GEN-CNP is, before it is made.

The PDN has `2 * hidden` weights for each number that the embedders give it,
`h' * w'` for each channel of the target: of a large target on large images it is
thousands of millions.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

from gencnp_jax.model import kernels
from gencnp_jax.model.gencnp import GenCNP

Shapes = Sequence[tuple[int, ...]]

# Arrays like a map that the gradient of one pass keeps: what goes into its
# convolution, and what comes out.
_KEPT_A_PASS = 2
# Arrays like the target's activations that a step holds: recorded, masks,
# scores, and the masked run before and behind its ReLUs. With both, XLA's own
# count for AlexNet and a small ResNet is 1.1 and .8 of this estimate.
_KEPT_A_NEURON = 6
_FLOAT = 4


class Size(NamedTuple):
  """The size of a GEN-CNP, in numbers and in bytes of a training step.

  Attributes:
    blocks: parameters of the embedders and decoders.
    pdn: parameters of the PDN.
    features: numbers that the PDN reads, and writes, for an image.
    state: bytes of parameters, gradients and the optimiser's moments.
    batch: bytes of what a training step keeps of a batch, about.
  """

  blocks: int
  pdn: int
  features: int
  state: int
  batch: int

  @property
  def parameters(self) -> int:
    """All parameters."""
    return self.blocks + self.pdn

  @property
  def training(self) -> int:
    """Bytes that training takes, about."""
    return self.state + self.batch


def measure(
  model: GenCNP,
  shapes: Shapes,
  batch_size: int,
  moments: int = 2,
  classes: int = 0,
) -> Size:
  """Computes the size of a GEN-CNP for a target, without making it.

  Args:
    model: its fields alone are read.
    shapes: of the target's activations of one image.
    batch_size: images of a training step on one device.
    moments: arrays like the parameters that the optimiser keeps.
    classes: of the target, which a model with `class_input` reads.

  Raises:
    ValueError: kernel sizes or an embedding that do not fit the maps.
  """
  blocks, kept, features = 0, 0, []
  for shape, block in zip(shapes, model.plan(shapes)):
    channels = shape[-1]
    if model.skip:
      blocks += 4 * channels
      kept += _KEPT_A_PASS * math.prod(shape)
    if block is None:  # Fully connected, or without embedders.
      bare = model.embedders == 'none'
      size = math.prod(shape)
      blocks += 2 * channels if bare else 2 * (channels + 2) * channels
      features.append(size)
      kept += 2 * _KEPT_A_PASS * size
      continue
    kernel, smallest = block
    passes = kernels.num_passes(shape[:2], smallest, kernel)
    blocks += 2 * channels * (math.prod(kernel) * channels + 2 * passes)
    features.append(math.prod(smallest) * channels)
    # Sides shrink evenly, so that a pass sees the mean of the areas.
    areas = [
      math.prod(a + (b - a) * t / passes for a, b in zip(shape[:2], smallest))
      for t in range(passes)
    ]
    kept += 2 * _KEPT_A_PASS * channels * round(sum(areas))
  groups = [sum(features)] if model.shared_pdn else features
  told = classes if model.class_input else 0
  pdn = sum(_pdn(width, told, model) for width in groups)
  kept += _KEPT_A_NEURON * sum(math.prod(shape) for shape in shapes)
  return Size(
    blocks,
    pdn,
    sum(features),
    (2 + moments) * _FLOAT * (blocks + pdn),
    _FLOAT * batch_size * kept,
  )


def _pdn(width: int, told: int, model: GenCNP) -> int:
  sizes = [width + told, *[model.hidden] * (model.num_fc - 1), width]
  return sum((a + 1) * b for a, b in itertools.pairwise(sizes))


def smaller(
  model: GenCNP,
  shapes: Shapes,
  batch_size: int,
  moments: int,
  limit: float,
  classes: int = 0,
) -> list[tuple[dict[str, object], Size]]:
  """Returns changes of settings that bring the training under a limit.

  Args:
    model: the GEN-CNP that is too large.
    shapes: see `measure`.
    batch_size: see `measure`.
    moments: see `measure`.
    limit: bytes that training may take.
    classes: see `measure`.

  Returns:
    Pairs of changes, such as {'embedding': (2, 2)}, and the size with them: for
    each setting the least change that is enough alone; where none is, the
    least of several at once; empty where nothing is enough.
  """
  choices: dict[str, list] = {
    'embedding': [],
    'hidden': _halves(model.hidden, 8),
    'batch_size': _halves(batch_size, 4),
  }
  maps = [shape[:2] for shape in shapes if len(shape) == 3]
  if model.embedders == 'recursive' and maps:
    now = model.embedding or tuple(min(side) for side in zip(*maps))
    while max(now) > 1:
      now = tuple(-(-side // 2) for side in now)
      choices['embedding'].append(now)

  def fitting(candidates):
    for changes in candidates:
      fields = {k: v for k, v in changes.items() if k != 'batch_size'}
      batch = changes.get('batch_size', batch_size)
      try:
        size = measure(model.clone(**fields), shapes, batch, moments, classes)
      except ValueError:  # Kernel sizes of the user's do not bring maps there.
        continue
      if size.training <= limit:
        return [(changes, size)]
    return []

  found = []
  for field, values in choices.items():
    found += fitting([{field: value} for value in values])
  if not found:
    together = itertools.product(
      *(
        [{}, *({field: v} for v in values)] for field, values in choices.items()
      )
    )
    found = fitting(
      sorted((a | b | c for a, b, c in together), key=_steps(choices))
    )
  return found


def _halves(value: int, least: int) -> list[int]:
  halves = []
  while value // 2 >= least:
    value //= 2
    halves.append(value)
  return halves


def _steps(choices):
  """Returns a key that puts changes of few halvings first."""
  return lambda changes: sum(
    1 + choices[field].index(value) for field, value in changes.items()
  )

"""Arithmetic, parameters and synchronisations of a training step, by formula.

Multiplications and additions of convolutions and products alone, borders
included: what a matrix unit computes. XLA's own count leaves out the taps that
fall on a border, half of all on a map of 2 x 2.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from benchmarks import operations
from benchmarks.synthetic import TARGETS

from gencnp_jax import GenCNP, Target
from gencnp_jax.model import kernels, size


@dataclasses.dataclass(frozen=True)
class Net:
  """What a training step of a net takes.

  Attributes:
    parameters: that are trained.
    flops: of a training step, for an image.
    fewest: BatchNorm synchronisations one behind the other, forward and
      backward, where those of independent layers share an all-reduce.
    most: where each has its own, as in the loops of GPU and TPU.
    moments: arrays like the parameters that the optimiser keeps.
  """

  parameters: int
  flops: float
  fewest: int
  most: int
  moments: int


@functools.cache
def target_of(name: str, side: int, classes: int) -> Target:
  """Returns a target whose variables are shapes."""
  model = TARGETS[name](classes)
  images = jnp.zeros((1, side, side, 3))
  variables = jax.eval_shape(model.init, jax.random.key(0), images)
  return Target(model.apply, variables)


@functools.cache
def forward(name: str, side: int, classes: int) -> float:
  """Returns the operations of a target's forward pass of an image."""
  target = target_of(name, side, classes)
  image = jax.ShapeDtypeStruct((1, side, side, 3), jnp.float32)
  return sum(operations.products(target.apply_fn, target.variables, image))


def target_net(name: str, side: int = 32, classes: int = 10) -> Net:
  """Returns a target's training: forward, and twice that backward."""
  variables = target_of(name, side, classes).variables
  parameters = sum(x.size for x in jax.tree.leaves(variables['params']))
  # One BatchNorm a layer, forward and backward.
  syncs = 2 * len(variables.get('batch_stats', ()))
  flops = 3 * forward(name, side, classes)
  return Net(parameters, flops, syncs, syncs, moments=1)


def gencnp_net(
  model: GenCNP, name: str, side: int = 32, classes: int = 10, relus=None
) -> Net:
  """Returns a distillation from a target.

  Forward through the GEN-CNP, and twice that backward. The target runs to be
  recorded and to be masked, and gradients go back through the masked run.

  Args:
    model: its fields alone are read.
    name: of the target.
    side: of the images, in pixels.
    classes: of the target.
    relus: which activations of the target count; None for all.
  """
  target = target_of(name, side, classes).replace(relus=relus)
  shapes = target.activation_shapes((side, side, 3))
  measured = size.measure(model, shapes, batch_size=1)
  passes = [
    kernels.num_passes(shape[:2], smallest, kernel)
    for shape, (kernel, smallest) in zip(shapes, model.plan(shapes))
  ]
  return Net(
    measured.parameters,
    3 * (operations.generator(model, shapes) + forward(name, side, classes)),
    4 * max(passes),
    4 * sum(passes),
    moments=2,
  )

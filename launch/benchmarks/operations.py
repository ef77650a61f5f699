"""Floors: the arithmetic and the bytes that a piece of work cannot do without.

Multiplications and additions of convolutions and products alone, borders
included. Winograd's algorithm does with fewer, so that more than the whole of a
floor can be reached.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from benchmarks.synthetic import SHAPE
from gencnp_jax import GenCNP, Target, ops
from gencnp_jax.model import kernels

_FLOAT = 4
# Reads and writes of a parameter in a step: forward, backward, and the update
# with its gradient and its one or two moments.
_OF_A_PARAMETER = {'sgd': 7, 'adam': 9}


def products(fn: Callable, *args: Any) -> list[float]:
  """Returns the operations of each convolution and product, in order."""
  with ops.use_lowering('native'):
    jaxpr = jax.make_jaxpr(fn)(*args)
  return list(_walk(jaxpr.jaxpr))


def _walk(jaxpr) -> Iterator[float]:
  for eqn in jaxpr.eqns:
    if eqn.primitive.name == 'conv_general_dilated':
      kernel = eqn.invars[1].aval.shape
      yield 2.0 * math.prod(eqn.outvars[0].aval.shape) * math.prod(kernel[:3])
    elif eqn.primitive.name == 'dot_general':
      ((contracted, _), _) = eqn.params['dimension_numbers']
      taken = math.prod(eqn.invars[0].aval.shape[i] for i in contracted)
      yield 2.0 * math.prod(eqn.outvars[0].aval.shape) * taken
    for value in jax.tree.leaves(list(eqn.params.values()), is_leaf=_is_body):
      if _is_body(value):
        times = eqn.params.get('length', 1)  # Of a scan.
        for operations in _walk(getattr(value, 'jaxpr', value)):
          yield times * operations


def _is_body(value) -> bool:
  return hasattr(value, 'eqns') or hasattr(value, 'jaxpr')


def layers(target: Target, shape: tuple[int, ...] = SHAPE) -> list[float]:
  """Returns the operations of a target's layers for an image.

  A chain: the activation of layer i is the input of product i + 1.
  """
  image = jax.ShapeDtypeStruct((1, *shape), np.uint8)
  return products(
    lambda v, x: target.apply_fn(v, target.preprocess(x)),
    target.variables,
    image,
  )


def blocks(model: GenCNP, shapes) -> tuple[float, float]:
  """Returns the operations of GEN-CNP's embedders, and of their first passes.

  Its decoders have as many: they read what the embedders bring about, and
  spread each number over as many taps.
  """
  passes = []
  for shape, (kernel, smallest) in zip(shapes, model.plan(shapes)):
    number = kernels.num_passes(shape[:2], smallest, kernel)
    taps = 2.0 * math.prod(kernel) * shape[-1] ** 2
    passes.append(
      [
        taps
        * math.prod(a + (b - a) * t // number for a, b in zip(shape, smallest))
        for t in range(1, number + 1)
      ]
    )
  return sum(map(sum, passes)), sum(p[0] for p in passes)


def generator(model: GenCNP, shapes) -> float:
  """Returns the operations of GEN-CNP's forward pass for an image."""
  smallest = model.plan(shapes)[0][1]
  features = sum(math.prod(smallest) * shape[-1] for shape in shapes)
  return 2 * blocks(model, shapes)[0] + 4.0 * features * model.hidden


def training_step(target: Target, model: GenCNP | None = None) -> float:
  """Returns the operations of a step for an image.

  Of the target's training; or of distilling GEN-CNP from it: the target runs
  to be recorded and to be masked, and gradients go through the masked run to
  the masks. No gradient goes to the pixels, nor to recorded activations.
  """
  each = layers(target)
  forward, behind = sum(each), sum(each[1:])
  if model is None:
    return 2 * forward + behind
  shapes = target.activation_shapes(SHAPE)
  first = blocks(model, shapes)[1]
  return 2 * forward + behind + 3 * generator(model, shapes) - first


def training_bytes(
  variables: Any, neurons: int, batch: int, optimiser: str
) -> float:
  """Returns bytes that a step must move, in float32.

  Every parameter as the passes and the optimiser need it, and every neuron
  written once and read once.

  Args:
    variables: with what is trained.
    neurons: of an image that a gradient goes through.
    batch: images.
    optimiser: 'sgd' or 'adam'.
  """
  parameters = sum(
    int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(variables)
  )
  touched = _OF_A_PARAMETER[optimiser] * parameters + 2 * batch * neurons
  return _FLOAT * float(touched)


def methods(target: Target, made: dict[str, Any]) -> dict[str, float]:
  """Returns the operations that each explainer needs for an image."""
  each = layers(target)
  forward, behind = sum(each), sum(each[1:])
  shapes = target.activation_shapes(SHAPE)
  suffixes = sum(sum(each[i + 1 :]) for i in range(len(shapes)))
  more = {
    'neuron_mct': lambda _: behind,
    'neuron_int_grad': lambda e: e.steps * 2 * suffixes,
    'greedy': lambda _: 99 * 2 * behind,
    'dgr': lambda e: e.num_steps * 2 * behind,
    'dgr_r': lambda e: e.num_steps * 2 * behind,
    'gencnp': lambda e: generator(e.model, shapes),
  }
  return {
    name: forward + more.get(name, lambda _: 0.0)(explainer)
    for name, explainer in made.items()
  }

"""What an `apply_fn` must be: logits from images, nothing random, no mixing.

`apply_fn(variables, images) -> logits` is all that is asked of a library. What
breaks it is said here, with the remedy of the library that does it.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from gencnp_jax.program import Program

# Making or folding a key is no draw.
_RANDOM = ('random_bits', 'random_gamma', 'threefry', 'rng_')
# A mean over the axis of a `vmap` is a `psum` of that axis.
_REDUCTIONS = ('reduce_', 'psum', 'pmax', 'pmin')


class TargetError(ValueError):
  """A target whose neurons cannot be told, and why."""


def structs(variables: Any, images: Any) -> tuple[Any, jax.ShapeDtypeStruct]:
  """Returns the shapes and dtypes of the arguments of an `apply_fn`.

  Raises:
    TargetError: a leaf of the variables that is no array.
  """
  return jax.tree_util.tree_map_with_path(_struct, variables), _struct(
    (), images
  )


def _struct(path, x) -> jax.ShapeDtypeStruct:
  try:
    dtype = getattr(x, 'dtype', None) or jax.dtypes.result_type(x)
    return jax.ShapeDtypeStruct(jnp.shape(x), dtype)
  except TypeError as error:
    name = f'variables{jax.tree_util.keystr(path)}'
    raise TargetError(
      f'{name} is {textwrap.shorten(repr(x), 60)}, which is no array. Keep '
      'what is no array in apply_fn: for Equinox, `params, static = '
      'eqx.partition(model, eqx.is_array)`, and `eqx.combine(params, static)` '
      'inside.'
    ) from error


def call(apply_fn: Callable, variables: Any, images: Any) -> Any:
  """Returns the logits `[batch, classes]` that `apply_fn` gives.

  Raises:
    TargetError: it raised an error, or returned something else.
  """
  try:
    out = apply_fn(variables, images)
  except (TargetError, jax.errors.JaxRuntimeError):
    raise
  except Exception as error:
    said = textwrap.shorten(str(error), 300, placeholder=' ...')
    raise TargetError(
      f'apply_fn(variables, images) raised {type(error).__name__} for images '
      f'of shape {images.shape} and type {images.dtype}: {said}\n'
      'It is called with the variables and a batch [batch, h, w, channels], '
      'nothing else:\n'
      '  Flax Linen: model.apply, train=False\n'
      '  Flax NNX: model.eval(); nnx.split outside of apply_fn, nnx.merge '
      'inside\n'
      '  Equinox: jax.vmap(model)(jnp.moveaxis(images, -1, 1))\n'
      '  Haiku: hk.without_apply_rng(hk.transform(net)).apply'
    ) from error
  check_output(out, images)
  return out


def hashable(apply_fn: Callable) -> Callable:
  """Returns a function that `jit` takes as a static argument, itself if so."""
  try:
    hash(apply_fn)
  except TypeError:
    return _ById(apply_fn)
  return apply_fn


class _ById:
  """A function without a hash, the same as itself alone."""

  def __init__(self, fn: Callable):
    self.fn = fn

  def __call__(self, *args):
    return self.fn(*args)

  def __repr__(self):
    return repr(self.fn)

  def __hash__(self):
    return id(self.fn)

  def __eq__(self, other):
    return isinstance(other, _ById) and self.fn is other.fn


def check_output(out: Any, images: Any) -> None:
  """Raises a TargetError where `out` cannot be the logits of the images."""
  if not hasattr(out, 'shape'):
    raise TargetError(
      'apply_fn must return the logits alone, one array [batch, classes]; it '
      f'returned {textwrap.shorten(str(jax.tree.structure(out)), 200)}. A Flax '
      'module that mutates state returns (logits, updates): call it without '
      '`mutable=`, in evaluation mode (train=False). A Haiku or an Equinox '
      'model with state returns (logits, state): `logits, _ = ...`, in '
      'evaluation mode likewise.'
    )
  if len(out.shape) != 2 or out.shape[0] != images.shape[0]:
    raise TargetError(
      f'apply_fn must return logits [batch, classes]; for images of shape '
      f'{images.shape} it returned shape {out.shape}.'
    )


def check_pure(program: Program, other: Program) -> None:
  """Raises where images are mixed or random numbers drawn.

  Args:
    program: the target traced on some batch size.
    other: the same target on another batch size.
  """
  drawn = random_operation(program)
  if drawn is not None:
    raise TargetError(
      f'apply_fn is stochastic: it draws random numbers (`{drawn}`), so a '
      'pathway would explain another function on every call. Switch dropout '
      'and noise off (Flax Linen: train=False, deterministic=True; NNX: '
      'model.eval(); Equinox: eqx.nn.inference_mode(model); Haiku: '
      'is_training=False).'
    )
  mixed = batch_reduction(program, other)
  if mixed is not None:
    raise TargetError(
      f'apply_fn mixes the images of a batch (`{mixed}` over the batch axis), '
      'as BatchNorm does in training mode. Use its running statistics (Flax '
      'Linen: train=False, use_running_average=True; NNX: model.eval(); '
      'Equinox: eqx.nn.inference_mode(model); Haiku: is_training=False).'
    )


def random_operation(program: Program) -> str | None:
  """Names the first operation that draws random numbers, else None."""
  return next(
    (o.name for o in program.walk() if o.name.startswith(_RANDOM)), None
  )


def batch_reduction(program: Program, other: Program) -> str | None:
  """Names a reduction over the batch axis, else None.

  Args:
    program: the target traced on some batch size.
    other: the same target on another batch size; an axis of another length is
      the batch axis.
  """
  # In pairs of one name: a batch of 1 may need fewer of another.
  twins = _by_name(other)
  for name, found in _by_name(program).items():
    for (axes, mine), (_, its) in zip(found, twins.get(name, ())):
      if len(mine) == len(its) and any(mine[i] != its[i] for i in axes):
        return name
  return None


def _by_name(program: Program) -> dict[str, list[tuple[list[int], tuple]]]:
  found: dict[str, list] = {}
  for name, axes, shape in _mixing(program):
    found.setdefault(name, []).append((axes, shape))
  return found


def _mixing(
  program: Program,
) -> Iterator[tuple[str, list[int], tuple[int, ...]]]:
  """Yields each operation along axes: its name, the axes, the shape it takes."""
  for op in program.ops:
    if op.name == 'dot_general':
      axes = op.params['dimension_numbers'][0][0]
    elif op.name.startswith(_REDUCTIONS):
      axes = op.params.get('axes', ())
    elif op.name.startswith('cum') or op.name == 'sort':
      axes = (op.params.get('axis', op.params.get('dimension')),)
    else:
      axes = ()
    if axes:
      # The others are names: of the axes of `pmap`.
      numbers = [i for i in axes if not isinstance(i, str)]
      yield op.name, numbers, program.shapes[op.inputs[0]]
    for body in op.bodies:
      yield from _mixing(body)

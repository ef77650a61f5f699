"""Records and replaces the post-ReLU activations of any JAX function.

The target carries no hooks: `jax.make_jaxpr` traces it, `relus` says which
equations are ReLUs, and `replay` evaluates the jaxpr equation by equation and
hands every ReLU's output to a callback, which returns the array to go on with.
Calls that hold a ReLU are entered, all others are bound as they are. Inside
`jit` the walk costs nothing at run time, and `grad`, `vmap` and `pmap` see a
plain function.

Layout: the batch axis is the one whose length follows the batch size (the
function is traced on two). Callbacks see `[batch, h, w, c]` for images and
`[batch, c]` for fully connected layers, whatever the function computes in.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gencnp_jax import program as program_lib
from gencnp_jax import relus

LAYOUTS = ('auto', 'NHWC', 'NCHW')


class TargetError(ValueError):
  """A target whose neurons cannot be told, and why."""


class Site(NamedTuple):
  """One ReLU: its place in the program and how its output becomes NHWC."""

  path: program_lib.Path
  to_nhwc: tuple[int, ...]
  shape: tuple[int, ...]
  """Shape of one example, `(h, w, c)` or `(c,)`."""


class Traced(NamedTuple):
  """A traced function: its jaxpr, the shape of its result, its ReLUs."""

  jaxpr: Any
  out_tree: Any
  sites: tuple[Site, ...]


def trace(
  fn: Callable, variables: Any, images: Any, layout: str = 'auto'
) -> Traced:
  """Traces `fn(variables, images)` and finds its ReLUs.

  Args:
    fn: a pure function `(variables, images) -> logits [batch, classes]`.
    variables: pytree of arrays or of `jax.ShapeDtypeStruct`.
    images: array or struct `[batch, ...]`.
    layout: 'auto', 'NHWC' or 'NCHW': where the channels of a rank-4 activation
      are. 'auto' asks the convolution upstream, and assumes last without one.

  Returns:
    A `Traced`.

  Raises:
    TargetError: no ReLU; a ReLU inside control flow; a function that is
      stochastic, mixes the images of a batch, or returns more than logits.
  """
  if layout not in LAYOUTS:
    raise TargetError(f'layout={layout!r}: choose one of {", ".join(LAYOUTS)}.')
  variables, images = jax.tree.map(_struct, (variables, images))
  try:
    return _trace(fn, layout, _Static((variables, images)))
  except TypeError as error:
    if 'unhashable' not in str(error):
      raise
    return _trace.__wrapped__(fn, layout, _Static((variables, images)))


def replay(
  traced: Traced, on_relu: Callable[[int, Any], Any], *args: Any
) -> Any:
  """Evaluates a traced function, each ReLU's output passed through `on_relu`.

  Args:
    traced: what `trace` returned for arguments of these shapes.
    on_relu: `(index, activation) -> activation`, in call order, in NHWC.
    *args: the arguments, as traced.

  Returns:
    What the function returns.
  """
  places = {site.path: i for i, site in enumerate(traced.sites)}

  def rewrite(path, value):
    index = places[path]
    to_nhwc = traced.sites[index].to_nhwc
    back = tuple(to_nhwc.index(i) for i in range(len(to_nhwc)))
    new = on_relu(index, jnp.transpose(value, to_nhwc))
    return jnp.transpose(new, back).astype(value.dtype)

  jaxpr, consts = program_lib.open_jaxpr(traced.jaxpr)
  outputs = _evaluate(jaxpr, consts, jax.tree.leaves(args), (), places, rewrite)
  return jax.tree.unflatten(traced.out_tree, outputs)


class _Static:
  """A pytree of shape structs as a hashable key."""

  def __init__(self, tree):
    self.tree = tree
    leaves, treedef = jax.tree.flatten(tree)
    # A jaxpr fixes the matmul precision and the mesh under which it was traced:
    # inside pmap it holds the name and the size of pmap's axis.
    settings = (
      jax.config.jax_default_matmul_precision,
      jax.config.jax_enable_x64,
      jax.sharding.get_abstract_mesh(),
    )
    self._key = treedef, tuple((x.shape, x.dtype) for x in leaves), settings

  def __hash__(self):
    return hash(self._key)

  def __eq__(self, other):
    return self._key == other._key


def _struct(x) -> jax.ShapeDtypeStruct:
  dtype = getattr(x, 'dtype', None) or jax.dtypes.result_type(x)
  return jax.ShapeDtypeStruct(jnp.shape(x), dtype)


@functools.lru_cache(maxsize=64)
def _trace(fn, layout, arguments: _Static) -> Traced:
  variables, images = arguments.tree
  jaxpr, out = jax.make_jaxpr(fn, return_shape=True)(variables, images)
  check_output(out, images)
  # The axis that follows the batch size is the batch axis.
  larger = jax.ShapeDtypeStruct(
    (images.shape[0] + 1, *images.shape[1:]), images.dtype
  )
  program = relus.flatten(jaxpr)
  other = relus.flatten(jax.make_jaxpr(fn)(variables, larger))
  _check_pure(program, other)
  found, again = relus.find(program), relus.find(other)
  sites = []
  for relu, twin in zip(found, again):
    shape, its = program.shapes[relu.output], other.shapes[twin.output]
    batch = [i for i, (a, b) in enumerate(zip(shape, its)) if a != b]
    if len(batch) != 1:  # A ReLU of weights is no activation.
      continue
    length = shape[batch[0]]
    if length != images.shape[0]:
      raise TargetError(
        f'ReLU {len(sites)} sees {images.shape[0]} images as an axis of length '
        f'{length}: the target merges the batch with another axis, so the '
        'neurons of an image cannot be told. Keep the batch an axis of its own.'
      )
    order = _nhwc(program, relu, batch[0], layout)
    sites.append(Site(relu.path, order, tuple(shape[i] for i in order)[1:]))
  inside = relus.hidden_relu(program)
  if inside is not None:
    raise TargetError(
      f'The target has a ReLU inside `{inside}`: its activations of different '
      'iterations or branches share one equation and cannot be told apart. '
      'Write the loop in Python (unrolled), or take the ReLU out of it.'
    )
  if not sites:
    raise TargetError(
      'The target has no ReLU, so there are no neurons to explain. ReLU6, '
      'leaky ReLU, GELU and the like are not ReLUs.'
    )
  return Traced(jaxpr, jax.tree.structure(out), tuple(sites))


def _nhwc(program, relu, batch: int, layout: str) -> tuple[int, ...]:
  """Returns the permutation that brings an activation to NHWC."""
  rank = len(program.shapes[relu.output])
  rest = [i for i in range(rank) if i != batch]
  if rank == 4:
    channels = {'NHWC': rest[-1], 'NCHW': rest[0]}.get(layout)
    if channels is None:
      seen = program_lib.channel_axis(program, relu.input)
      channels = rest[-1] if seen is None or seen == batch else seen
    rest = [i for i in rest if i != channels] + [channels]
  return (batch, *rest)


def check_output(out: Any, images: Any) -> None:
  """Raises a TargetError where `out` cannot be the logits of the images."""
  if not hasattr(out, 'shape'):
    raise TargetError(
      'apply_fn must return the logits alone, one array [batch, classes]; it '
      f'returned {jax.tree.structure(out)}. A Flax module that mutates state '
      'returns (logits, updates): call it without `mutable=`, in evaluation '
      'mode (train=False).'
    )
  if len(out.shape) != 2 or out.shape[0] != images.shape[0]:
    raise TargetError(
      f'apply_fn must return logits [batch, classes]; for images of shape '
      f'{images.shape} it returned shape {out.shape}.'
    )


def _check_pure(program, other) -> None:
  drawn = relus.random_operation(program)
  if drawn is not None:
    raise TargetError(
      f'apply_fn is stochastic: it draws random numbers (`{drawn}`), so a '
      'pathway would explain another function on every call. Switch dropout '
      'and noise off (train=False, deterministic=True).'
    )
  mixed = relus.batch_reduction(program, other)
  if mixed is not None:
    raise TargetError(
      f'apply_fn mixes the images of a batch (`{mixed}` over the batch axis), '
      'as BatchNorm does in training mode. Use its running statistics '
      '(train=False, use_running_average=True).'
    )


def _evaluate(jaxpr, consts, args, path, places, rewrite) -> list:
  """Evaluates a jaxpr, entering only the calls that hold a site."""
  env: dict = dict(zip(jaxpr.constvars, consts))
  env.update(zip(jaxpr.invars, args))

  for i, eqn in enumerate(jaxpr.eqns):
    here = (*path, i)
    values = [env[v] if _is_var(v) else v.val for v in eqn.invars]
    deeper = any(p[: len(here)] == here and p != here for p in places)
    if deeper:
      inner, inner_consts = program_lib.open_jaxpr(program_lib.body(eqn))
      outputs = _evaluate(inner, inner_consts, values, here, places, rewrite)
    else:
      with eqn.ctx.manager:
        outputs = eqn.primitive.bind(
          *values, **eqn.primitive.get_bind_params(eqn.params)
        )
      if not eqn.primitive.multiple_results:
        outputs = [outputs]
    if here in places:
      outputs = [rewrite(here, outputs[0])]
    env.update(zip(eqn.outvars, outputs))
  return [env[v] if _is_var(v) else v.val for v in jaxpr.outvars]


def _is_var(atom) -> bool:
  return not hasattr(atom, 'val')

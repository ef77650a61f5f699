"""Records and replaces the activations of any JAX function.

The target carries no hooks: `jax.make_jaxpr` traces it, `activations` says
which equations are activation functions, and `replay` evaluates the jaxpr
equation by equation and hands the output of every tapped one to a callback,
which returns the array to go on with. Calls that hold one are entered, all
others are bound as they are. Inside `jit` the walk costs nothing at run time,
and `grad`, `vmap` and `pmap` see a plain function.

Layout: the batch axis is the one whose length follows the batch size (the
function is traced on two). Callbacks see `[batch, h, w, c]` for images and
`[batch, c]` for fully connected layers, whatever the function computes in.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.interpreters import partial_eval

from gencnp_jax import activations, contract
from gencnp_jax import layout as layout_lib
from gencnp_jax import program as program_lib

TargetError = contract.TargetError


class Site(NamedTuple):
  """One tapped activation: its place and how it becomes NHWC."""

  path: program_lib.Path
  to_nhwc: tuple[int, ...]
  shape: tuple[int, ...]
  """Shape of one example, `(h, w, c)` or `(c,)`."""
  kind: str
  """'relu', or the name by which it is tapped."""


class Traced(NamedTuple):
  """A traced function: its jaxpr, the shape of its result, its activations."""

  jaxpr: Any
  out_tree: Any
  sites: tuple[Site, ...]
  untapped: dict[str, int]
  """Activation functions that are not tapped: how many of each kind."""


def trace(
  fn: Callable,
  variables: Any,
  images: Any,
  layout: str = 'auto',
  tap: tuple[str, ...] = (activations.RELU,),
) -> Traced:
  """Traces `fn(variables, images)` and finds its activations.

  Args:
    fn: a pure function `(variables, images) -> logits [batch, classes]`.
    variables: pytree of arrays or of `jax.ShapeDtypeStruct`.
    images: array or struct `[batch, ...]`.
    layout: 'auto', 'NHWC' or 'NCHW': where the channels of a rank-4 activation
      are. 'auto' asks the convolution upstream, and assumes last without one.
    tap: names of the activation functions to tap: 'relu' for what computes a
      ReLU, any other for calls of that name (see `activations`).

  Returns:
    A `Traced`.

  Raises:
    TargetError: a kind of activation that is not there, or is inside control
      flow; a function that raises an error, is stochastic, mixes the images of
      a batch, or returns more than logits.
  """
  if layout not in layout_lib.LAYOUTS:
    raise TargetError(
      f'layout={layout!r}: choose one of {", ".join(layout_lib.LAYOUTS)}.'
    )
  arguments = _Static(contract.structs(variables, images))
  try:
    return _trace(fn, layout, tap, arguments)
  except TypeError as error:
    if 'unhashable' not in str(error):
      raise
    return _trace.__wrapped__(fn, layout, tap, arguments)


def replay(
  traced: Traced, replace: Callable[[int, Any], Any], *args: Any
) -> Any:
  """Evaluates a traced function, each activation passed through `replace`.

  Args:
    traced: what `trace` returned for arguments of these shapes.
    replace: `(index, activation) -> activation`, in call order, in NHWC.
    *args: the arguments, as traced.

  Returns:
    What the function returns.
  """
  places = {site.path: i for i, site in enumerate(traced.sites)}

  def rewrite(path, value):
    index = places[path]
    to_nhwc = traced.sites[index].to_nhwc
    back = tuple(to_nhwc.index(i) for i in range(len(to_nhwc)))
    new = replace(index, jnp.transpose(value, to_nhwc))
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


@functools.lru_cache(maxsize=64)
def _trace(fn, layout, tap, arguments: _Static) -> Traced:
  variables, images = arguments.tree
  call = functools.partial(contract.call, fn)
  jaxpr, out = jax.make_jaxpr(call, return_shape=True)(variables, images)
  jaxpr = _live(jaxpr)
  # The axis that follows the batch size is the batch axis.
  larger = jax.ShapeDtypeStruct(
    (images.shape[0] + 1, *images.shape[1:]), images.dtype
  )
  kinds = activations.kinds(tap)
  program = activations.flatten(jaxpr, kinds)
  twin_jaxpr = _live(jax.make_jaxpr(call)(variables, larger))
  other = activations.flatten(twin_jaxpr, kinds)
  contract.check_pure(program, other)
  sites, untapped = [], activations.count_hidden(program)
  found, again = (activations.find(p, kinds) for p in (program, other))
  for one, twin in zip(found, again):
    shape, its = program.shapes[one.output], other.shapes[twin.output]
    batch = [i for i, (a, b) in enumerate(zip(shape, its)) if a != b]
    if len(batch) != 1:  # A ReLU of weights is no activation.
      continue
    if one.kind not in kinds:
      untapped[one.kind] += 1
      continue
    length = shape[batch[0]]
    if length != images.shape[0]:
      raise TargetError(
        f'{_title(one.kind)} {len(sites)} sees {images.shape[0]} images as an '
        f'axis of length {length}: the target merges the batch with another '
        'axis, so the neurons of an image cannot be told. Keep the batch an '
        'axis of its own.'
      )
    order = layout_lib.nhwc(program, one.output, batch[0], layout)
    shape = tuple(shape[i] for i in order)[1:]
    sites.append(Site(one.path, order, shape, one.kind))
  _check_tapped(program, tap, sites, untapped)
  out_tree = jax.tree.structure(out)
  return Traced(jaxpr, out_tree, tuple(sites), dict(untapped))


def _live(jaxpr: Any) -> Any:
  """Leaves out what the logits do not depend on, such as auxiliary heads."""
  outputs = [True] * len(jaxpr.jaxpr.outvars)
  live, _ = partial_eval.dce_jaxpr(jaxpr.jaxpr, outputs, instantiate=True)
  return jaxpr.replace(jaxpr=live)


def _check_tapped(program, tap, sites, untapped) -> None:
  """Raises where a kind to tap is out of reach or not there."""
  kinds = activations.kinds(tap)
  hidden = activations.find_hidden(program, kinds)
  if hidden is not None:
    kind, inside = hidden
    raise TargetError(
      f'The target has a {_title(kind)} inside `{inside}`: its activations of '
      'different iterations or branches share one equation and cannot be told '
      f'apart. Write the loop in Python (unrolled), or take the {_title(kind)} '
      'out of it.'
    )
  found = collections.Counter(site.kind for site in sites)
  missing = tuple(kind for kind in kinds if kind not in found)
  if missing:
    named = '' if tap == (activations.RELU,) else f'tap={tap}: '
    raise TargetError(
      f'{named}The target has no {" and no ".join(map(_title, missing))}, so '
      'there are no such neurons to explain. '
      + activations.advice(program, missing, {**found, **untapped})
    )


def _title(kind: str) -> str:
  return 'ReLU' if kind == activations.RELU else kind


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
      # A wrapper of `jax.jit` may return more than the activation.
      outputs = [
        rewrite(here, x) if jnp.issubdtype(x.dtype, jnp.floating) else x
        for x in outputs
      ]
    env.update(zip(eqn.outvars, outputs))
  return [env[v] if _is_var(v) else v.val for v in jaxpr.outvars]


def _is_var(atom) -> bool:
  return not hasattr(atom, 'val')

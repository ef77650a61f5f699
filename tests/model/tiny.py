"""Small activations, and a GEN-CNP of them that is compiled once."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from gencnp_jax.model import GenCNP

SHAPES = ((4, 4, 3), (2, 2, 2), (5,))
BARE = {'embedders': 'none', 'shared_pdn': False}


def activations(shapes=SHAPES, batch=4, seed=0):
  rng = np.random.default_rng(seed)
  return tuple(
    jnp.asarray(np.maximum(rng.normal(size=(batch, *s)), 0), jnp.float32)
    for s in shapes
  )


def shapes(tree):
  return jax.tree.map(lambda a: a.shape, tree)


@functools.cache
def init(shapes=SHAPES, **options):
  module = GenCNP(**{'hidden': 16, **options})
  variables = jax.jit(module.init)(jax.random.key(1), activations(shapes))
  return module, variables


def spread(masks, seed=2):
  """A weighted sum of all neurons, for a gradient that reaches each."""
  rng = np.random.default_rng(seed)
  weights = [jnp.asarray(rng.normal(size=m.shape), jnp.float32) for m in masks]
  return sum((w * m).sum() for w, m in zip(weights, masks))


def step(module, variables, activations, axis_name=None):
  """Returns (generated, new statistics, gradients) of a training step."""

  def loss(params):
    generated, new = module.apply(
      {**variables, 'params': params},
      activations,
      train=True,
      mutable=['batch_stats'],
    )
    return spread([m.mean(0) for m in generated.masks]), (generated, new)

  (_, (generated, new)), grads = jax.value_and_grad(loss, has_aux=True)(
    variables['params']
  )
  if axis_name is not None:
    grads = jax.lax.pmean(grads, axis_name)
  return generated, new, grads


@functools.cache
def stepped(**options):
  module, variables = init(**options)
  return jax.jit(functools.partial(step, module))(variables, activations())

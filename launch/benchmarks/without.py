"""Each thing that was done for speed, taken away again."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from gencnp_jax import ops, selection
from gencnp_jax.ops import products, winograd

TRICKS = {
  'lowering': "XLA's own convolution everywhere",
  'winograd': 'patches where there are fewer products',
  'pooling': "reduce_window's maximum",
  'two_axes': 'products over several leading axes',
  'bisection': "the cut by XLA's sort",
}


@contextlib.contextmanager
def without(trick: str) -> Iterator[None]:
  """Takes one of `TRICKS` away; '' takes none."""
  if trick in ('lowering', 'winograd'):
    names = {'lowering': 'native', 'winograd': 'patches'}
    with ops.use_lowering(names[trick]):
      yield
    return
  with contextlib.ExitStack() as stack:
    for module, name, other in _REPLACED.get(trick, ()):
      stack.enter_context(mock.patch.object(module, name, other))
    yield


def _max_pool(x: jax.Array) -> jax.Array:
  return nn.max_pool(x, (2, 2), (2, 2))


def _kth_by_sorting(rows: jax.Array, count) -> jax.Array:
  place = rows.shape[1] - jnp.broadcast_to(count, rows.shape[:1])
  return jnp.take_along_axis(lax.sort(rows), place[:, None], axis=1)[:, 0]


_REPLACED = {
  'pooling': [(ops, 'max_pool', _max_pool)],
  'two_axes': [(m, 'matmul', jnp.matmul) for m in (products, winograd)],
  'bisection': [(selection, '_kth_largest', _kth_by_sorting)],
}

"""Cuts scores to pathways: exactly the top neurons of each image.

One global cut over all layers of an image, exact for any number of ties.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gencnp_jax import pathway


def kept_count(sparsity: float, neurons: int) -> int:
  """Returns how many neurons an image keeps: max(1, round((1 - s) * N)).

  Raises:
    ValueError: a sparsity outside (0, 1).
  """
  if not isinstance(sparsity, numbers.Real) or not 0.0 < sparsity < 1.0:
    raise ValueError(
      f'sparsity={sparsity}: the share of neurons switched off must lie '
      f'strictly between 0 and 1. With {neurons} neurons it may go from '
      f'{0.5 / neurons:.2g} to {1 - 0.5 / neurons:.6g}.'
    )
  kept = max(1, round((1.0 - sparsity) * neurons))
  if kept == neurons:
    raise ValueError(
      f'sparsity={sparsity} keeps all {neurons} neurons; raise it to at least '
      f'{1 / neurons:.2g} to switch one off.'
    )
  return kept


def keep_top(
  scores: Sequence[jax.Array],
  count: int | jax.Array,
  seed: jax.Array,
  index: jax.Array,
) -> tuple[tuple[jax.Array, ...], jax.Array]:
  """Switches on the `count` neurons of highest score, over all layers at once.

  Exact for any ties: neurons whose score equals the cut's are chosen by a draw
  keyed on (seed, image index), never by their position. The cut is found by
  bisection on the bits of the float, 32 passes over the scores, because XLA's
  sort on CPU takes 20 to 40 times as long.

  Args:
    scores: per layer, float32 `[n, ...]`; larger is more important, no NaN.
    count: neurons to keep an image, from 1 to all; may be traced.
    seed: int32 scalar.
    index: int32 `[n]`, the number of each image in its data set.

  Returns:
    masks: per layer bool, exactly `count` on an image.
    tied: int32 `[n]`, how many of them the draw chose among equals.
  """
  rows = _ordered_bits(pathway.flat(scores))
  cut = _kth_largest(rows, count)
  above = rows > cut[:, None]
  missing = count - above.sum(1, dtype=jnp.int32)
  equal = rows == cut[:, None]
  tied = jnp.where(equal.sum(1, dtype=jnp.int32) > missing, missing, 0)

  def draw():
    lots = jnp.where(equal, _lots(rows.shape[1], seed, index), 0)
    return equal & (lots >= _kth_largest(lots, missing)[:, None])

  # Only a real tie needs the draw: all equals fit otherwise.
  chosen = jax.lax.cond((tied > 0).any(), draw, lambda: equal)
  return pathway.split(above | chosen, [s.shape[1:] for s in scores]), tied


def above_kth(
  scores: Sequence[jax.Array], k: int | jax.Array
) -> tuple[jax.Array, ...]:
  """Switches on the neurons of higher score than the k-th highest.

  With ties at the cut they are fewer than k - 1; see `keep_top` for exactly k.

  Args:
    scores: per layer, float32 `[n, ...]`, no NaN.
    k: from 1 to all; may be traced.

  Returns:
    Per layer bool `[n, ...]`.
  """
  rows = _ordered_bits(pathway.flat(scores))
  on = rows > _kth_largest(rows, k)[:, None]
  return pathway.split(on, [s.shape[1:] for s in scores])


def kth_score(scores: Sequence[jax.Array], k: jax.Array) -> jax.Array:
  """Returns the k-th highest score of each image, over all layers at once.

  Args:
    scores: per layer, float32 `[n, ...]`, no NaN.
    k: from 1 to all; an integer or int32 `[n]`.

  Returns:
    float32 `[n]`.
  """
  bits = _kth_largest(_ordered_bits(pathway.flat(scores)), k)
  sign = jnp.uint32(1 << 31)
  bits = jnp.where(bits >= sign, bits ^ sign, ~bits)
  return jax.lax.bitcast_convert_type(bits, jnp.float32)


def top_share(scores: jax.Array, share: float) -> jax.Array:
  """Returns the top share of each image's scores of one layer.

  Args:
    scores: float32 `[n, ...]`, no NaN.
    share: in (0, 1]; a part of a neuron counts as one.

  Returns:
    bool `[n, ...]`.
  """
  rows = scores.reshape(scores.shape[0], -1)
  # Rounded first: .07 * 100 is a little more than 7.
  count = max(1, math.ceil(round(share * rows.shape[1], 6)))
  # One draw for all images, or a tie would depend on an image's row.
  index = jnp.zeros(rows.shape[0], jnp.int32)
  (top,), _ = keep_top((rows,), count, jnp.int32(0), index)
  return top.reshape(scores.shape)


def raised(
  scores: Sequence[jax.Array], first: Sequence[jax.Array]
) -> tuple[jax.Array, ...]:
  """Raises the scores of some neurons above those of all others of an image.

  Args:
    scores: per layer, float32 `[n, ...]`, no NaN.
    first: per layer bool `[n, ...]`, the neurons to raise.

  Returns:
    Per layer float32 `[n, ...]`.
  """
  rows, chosen = pathway.flat(scores), pathway.flat(first)
  above = 2 * jnp.abs(rows).max(1, keepdims=True) + 1
  rows = jnp.where(chosen, rows + above, rows)
  return pathway.split(rows, [s.shape[1:] for s in scores])


def _ordered_bits(x: jax.Array) -> jax.Array:
  """Maps float32 to uint32 such that order is kept (-0 equals +0)."""
  sign = jnp.uint32(1 << 31)
  bits = jax.lax.bitcast_convert_type(x.astype(jnp.float32), jnp.uint32)
  # Compared as integers: XLA on CPU takes subnormal floats for zero.
  bits = jnp.where(bits == sign, 0, bits)
  return jnp.where(bits >= sign, ~bits, bits | sign)


def _kth_largest(rows: jax.Array, k: Any) -> jax.Array:
  """Returns the k-th largest of each row of uint32, `[n]`; k is int or [n]."""
  k = jnp.broadcast_to(k, rows.shape[:1])
  if jax.default_backend() == 'cpu':
    # A row stays in the cache for all of its passes: three times as fast.
    return jax.lax.map(lambda row_and_k: _kth_of_row(*row_and_k), (rows, k))
  return jax.vmap(_kth_of_row)(rows, k)


def _kth_of_row(row: jax.Array, k: jax.Array) -> jax.Array:
  # Floats are summed twice as fast on CPU, and exactly up to 2^24.
  count = jnp.float32 if row.size <= 1 << 24 else jnp.int32

  def refine(i, found):
    candidate = found | (jnp.uint32(1 << 31) >> i.astype(jnp.uint32))
    enough = (row >= candidate).sum(dtype=count) >= k
    return jnp.where(enough, candidate, found)

  return jax.lax.fori_loop(0, 32, refine, jnp.uint32(0))


def _lots(neurons: int, seed: jax.Array, index: jax.Array) -> jax.Array:
  """Draws distinct uint32 lots for the neurons of each image, `[n, neurons]`.

  A bijection of the neuron's number (keyed mixing rounds) makes every lot
  distinct, so that a draw needs no second tie-break.
  """
  keys = jax.vmap(
    lambda i: jax.random.bits(_image_key(seed, i), (3,), jnp.uint32)
  )(index)
  x = jnp.arange(1, neurons + 1, dtype=jnp.uint32)[None]
  for r, multiplier in enumerate((0x85EBCA6B, 0xC2B2AE35, 0x27D4EB2F)):
    x = (x ^ keys[:, r, None]) * jnp.uint32(multiplier)
    x = x ^ (x >> 15)
  return x


def _image_key(seed: jax.Array, index: jax.Array) -> jax.Array:
  return jax.random.fold_in(jax.random.key(seed), index)

"""Batches as a pure function of (seed, step).

Two streams come from the seed. The first, folded with the epoch, shuffles;
the second, folded with the step and with the GLOBAL row of the example in the
batch, augments. So nothing has to be saved to go on from a step, and no draw
depends on how rows are spread over processes and devices.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Int32, Key, UInt8

# Folded into a step's key; no row of a batch has that number.
_MIX = 2**31 - 1


def _streams(seed: int | Int[Array, '']) -> Key[Array, '2']:
  """(order, augmentation) keys."""
  # The generator is named so that no global setting changes the draws.
  return jax.random.split(jax.random.key(seed, impl='threefry2x32'))


def _augmentation(
  seed: int | Int[Array, ''], step: int | Int[Array, '']
) -> Key[Array, '']:
  """The key of a step's augmentation."""
  return jax.random.fold_in(_streams(seed)[1], step)


def _row_keys(key: Key[Array, ''], rows: Int[Array, ' b']) -> Key[Array, ' b']:
  """A key for each row."""
  return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, rows)


@functools.lru_cache(maxsize=4)
def order(seed: int, epoch: int, n: int) -> Int32[np.ndarray, ' n']:
  """The order in which an epoch visits the training examples.

  Args:
    seed: of the run.
    epoch: counted from 0.
    n: number of training examples.

  Returns:
    int32 [n], a permutation of 0..n-1; read-only, since it is kept.
  """
  key = jax.random.fold_in(_streams(seed)[0], epoch)
  # A copy: what JAX hands out may be a view of its own buffer.
  permutation = np.array(jax.random.permutation(key, n), np.int32)
  permutation.flags.writeable = False
  return permutation


def indices(
  seed: int, step: int, batch_size: int, n: int
) -> Int32[np.ndarray, ' batch']:
  """The training examples of a step.

  An epoch has n // batch_size steps; what remains of its permutation is left
  out, and is among the others in the next one.

  Args:
    seed: of the run.
    step: counted from 0 over the whole run.
    batch_size: of all devices together.
    n: number of training examples.

  Returns:
    int32 [batch_size], row r of it being the global row r of the batch.

  Raises:
    ValueError: batch_size is not in 1..n.
  """
  if not 1 <= batch_size <= n:
    raise ValueError(
      f'batch_size is {batch_size}, but there are {n} training examples; it '
      f'must be 1..{n}: lower it, or raise data.limit'
    )
  epoch, place = divmod(step, n // batch_size)
  start = place * batch_size
  return order(seed, epoch, n)[start : start + batch_size]


def draws(
  seed: int | Int[Array, ''],
  step: int | Int[Array, ''],
  rows: Int[Array, ' b'],
  pad: int,
  flip: bool,
) -> tuple[Int[Array, ' b'], Int[Array, ' b'], Array]:
  """What `augment` draws for each row.

  Args:
    seed: of the run; may be traced.
    step: counted from 0; may be traced.
    rows: int32 [b], the global row of each example in its batch.
    pad: crops are shifted by up to that many pixels.
    flip: whether half of the images are mirrored.

  Returns:
    (down, right, mirrored): int32 [b] and int32 [b] in -pad..pad, the shift of
    the window on the image; bool [b].
  """
  keys = _row_keys(_augmentation(seed, step), rows)
  bits = jax.vmap(lambda key: jax.random.bits(key, (3,), jnp.uint16))(keys)
  bits = bits.astype(jnp.int32)
  # Scaling 16 bits is uniform to 2 ** -16 and needs no rejection.
  shift = (bits[:, :2] * (2 * pad + 1) >> 16) - pad
  mirrored = (bits[:, 2] >= 1 << 15) & flip
  return shift[:, 0], shift[:, 1], mirrored


def augment(
  images: UInt8[Array, 'b h w c'],
  seed: int | Int[Array, ''],
  step: int | Int[Array, ''],
  rows: Int[Array, ' b'],
  pad: int = 4,
  flip: bool = True,
) -> UInt8[Array, 'b h w c']:
  """Crops at random from the zero-padded images and mirrors half of them.

  Meant for use inside jit; `seed`, `step` and `rows` may be traced.

  Args:
    images: uint8 [b, h, w, c].
    seed: of the run.
    step: counted from 0 over the whole run.
    rows: int32 [b], the global row of each image in its batch.
    pad: zeros around the image, in pixels; 0 = no crop.
    flip: whether half of the images are mirrored left to right.

  Returns:
    uint8 [b, h, w, c]; the images themselves for pad 0 without flip.
  """
  if pad == 0 and not flip:
    return images
  down, right, mirrored = draws(seed, step, rows, pad, flip)
  count, height, width, _ = images.shape
  # One gather by index arithmetic, with the border zeroed afterwards instead
  # of padded before: the fastest of ten ways measured on CPU (0.1 ms for 128
  # images of 32x32 on one core; shifting by selects takes 13).
  y = jnp.arange(height)[None, :] + down[:, None]
  x = jnp.arange(width)[None, :]
  x = jnp.where(mirrored[:, None], width - 1 - x, x) + right[:, None]
  inside = _within(y, height)[:, :, None] & _within(x, width)[:, None, :]
  cropped = images[
    jnp.arange(count)[:, None, None],
    jnp.clip(y, 0, height - 1)[:, :, None],
    jnp.clip(x, 0, width - 1)[:, None, :],
  ]
  return jnp.where(inside[..., None], cropped, jnp.zeros((), images.dtype))


def mix(
  images: Array,
  others: Array,
  seed: int | Int[Array, ''],
  step: int | Int[Array, ''],
  rows: Int[Array, ' b'],
  share: float,
) -> Array:
  """Mixes some images with others: images between classes, of doubtful class.

  `w * image + (1 - w) * other`, w uniform in (0, 1); each image is mixed with
  probability `share`. Meant for use inside jit.

  Args:
    images: uint8 or float [b, h, w, c].
    others: likewise.
    seed: of the run.
    step: counted from 0 over the whole run.
    rows: int32 [b], the global row of each image in its batch.
    share: in [0, 1].

  Returns:
    Array like images; uint8 is rounded.
  """
  # A stream of its own beside that of `draws`.
  key = jax.random.fold_in(_augmentation(seed, step), _MIX)
  keys = _row_keys(key, rows)
  chosen, weight = jax.vmap(lambda key: jax.random.uniform(key, (2,)))(keys).T
  weight = jnp.where(chosen < share, weight, 1.0)[:, None, None, None]
  mixed = weight * images + (1 - weight) * others
  if images.dtype == jnp.uint8:
    mixed = jnp.round(mixed)
  return mixed.astype(images.dtype)


def _within(position: Int[Array, 'b p'], extent: int) -> Array:
  return (position >= 0) & (position < extent)

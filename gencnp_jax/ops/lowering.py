"""Which lowering a convolution gets.

XLA's CPU convolution is fast on large maps and collapses on small ones: 3x3,
512 -> 512 on a 2x2 map runs at 2 GFLOP/s, a hundredth of a matrix product.
"""

import contextlib
import math
from collections.abc import Iterator

import jax

from gencnp_jax.ops import winograd

LOWERINGS = ('auto', 'native', 'patches', 'winograd', 'products')

# Measured on two cores, batch 128, float32, all three products of a training
# step together. Winograd's transforms cost as much as they save below:
_WINOGRAD_CHANNELS = 48
# and its transformed kernel is dear for fewer rows of data than:
_WINOGRAD_ROWS = 16
# The native lowering loses to patches up to this many outputs a channel:
_SMALL_MAP = 36
# and everywhere if a patch has no more numbers than (a first 3x3 layer):
_SMALL_PATCH = 64

_forced = 'auto'


@contextlib.contextmanager
def use_lowering(name: str) -> Iterator[None]:
  """Forces a lowering for what is traced inside the block.

  A function that was jitted and called before keeps the one it has. Where
  the forced one does not apply (Winograd's with strides), the native runs.

  Args:
    name: 'auto' (by backend and shape), 'native', 'patches', 'winograd', or
      'products' (as 'auto' on CPU, but never the native one).

  Raises:
    ValueError: an unknown name.
  """
  global _forced
  if name not in LOWERINGS:
    raise ValueError(f'lowering={name!r} is not one of {LOWERINGS}.')
  before, _forced = _forced, name
  try:
    yield
  finally:
    _forced = before


@contextlib.contextmanager
def inside_loop() -> Iterator[None]:
  """Keeps native convolutions out of what is traced inside the block, on CPU.

  Their gradient runs 50 times slower inside a loop than outside. A lowering
  that is forced stays.
  """
  if _forced != 'auto' or jax.default_backend() != 'cpu':
    yield
    return
  with use_lowering('products'):
    yield


def select(x_shape, kernel_shape, padding, strides) -> str:
  """Returns the lowering for here and now; arguments as in `choose`."""
  if min(_outputs(x_shape, kernel_shape, padding, strides)) < 1:
    return 'native'
  if min(min(pads) for pads in padding) < 0:
    return 'native'
  if _forced == 'winograd':
    planned = winograd.plan(x_shape, kernel_shape, padding)
    return _forced if strides == (1, 1) and planned else 'native'
  if _forced == 'products':
    found = choose(x_shape, kernel_shape, padding, strides)
    return 'patches' if found == 'native' else found
  if _forced != 'auto':
    return _forced
  if jax.default_backend() != 'cpu':
    return 'native'
  return choose(x_shape, kernel_shape, padding, strides)


def choose(
  x_shape: tuple[int, ...],
  kernel_shape: tuple[int, ...],
  padding: tuple[tuple[int, int], tuple[int, int]],
  strides: tuple[int, int],
) -> str:
  """Returns which lowering is fastest on CPU.

  Args:
    x_shape: (n, h, w, c_in).
    kernel_shape: (k_h, k_w, c_in, c_out).
    padding: ((top, bottom), (left, right)).
    strides: (down, right).
  """
  height, width, c_in, c_out = kernel_shape
  wide = min(c_in, c_out) >= _WINOGRAD_CHANNELS
  planned = winograd.plan(x_shape, kernel_shape, padding)
  if planned and wide and strides == (1, 1):
    rows = x_shape[0] * math.prod(side.tiles for side in planned)
    if rows >= _WINOGRAD_ROWS:
      return 'winograd'
  outputs = _outputs(x_shape, kernel_shape, padding, strides)
  if (
    height == width == 1
    or height * width * c_in <= _SMALL_PATCH
    or math.prod(outputs) <= _SMALL_MAP
    or (wide and strides != (1, 1))
  ):
    return 'patches'
  return 'native'


def _outputs(x_shape, kernel_shape, padding, strides) -> tuple[int, ...]:
  return tuple(
    (size + sum(pads) - k) // stride + 1
    for size, k, pads, stride in zip(
      x_shape[1:3], kernel_shape[:2], padding, strides
    )
  )

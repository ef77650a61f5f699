"""Which kernel sizes bring an activation to the shared size, in how many passes.

Paper, section 3.1: l_i = (h_i - h') / (k_i - 1), the same for both sides.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MAX_PASSES = 16


def legal_kernels(size: int, smallest: int) -> tuple[int, ...]:
  """Returns the kernel sizes that bring a side from `size` to `smallest`."""
  gap = size - smallest
  if gap == 0:
    return (3,)
  return tuple(k for k in range(2, gap + 2) if gap % (k - 1) == 0)


def choose_kernel(
  size: tuple[int, int], smallest: tuple[int, int]
) -> tuple[int, int]:
  """Chooses k_i per side: the smallest k >= 3 of at most 16 passes.

  Both sides take the same number of passes; k = 2 is taken last.

  Args:
    size: (h_i, w_i) of the activation.
    smallest: (h', w') of the shared embedding.

  Raises:
    ValueError: an activation smaller than the embedding.
  """
  gaps = _gaps(size, smallest)
  kernels = []
  for passes in range(1, MAX_PASSES + 1):
    if all(gap % passes == 0 for gap in gaps):
      kernels.append(tuple(gap // passes + 1 if gap else 3 for gap in gaps))
  wide = [k for k in kernels if min(k) >= 3]
  return min(wide or kernels, key=max)


def num_passes(
  size: tuple[int, int], smallest: tuple[int, int], kernel: tuple[int, int]
) -> int:
  """Returns l_i = (h_i - h') / (k_i - 1), or 1 where the sizes are equal.

  Raises:
    ValueError: a kernel that does not divide; lists those that do. An
      activation smaller than the embedding.
  """
  _gaps(size, smallest)
  passes = set()
  for s, small, k in zip(size, smallest, kernel):
    if s == small:
      continue
    if k < 2 or (s - small) % (k - 1):
      raise ValueError(
        f'kernel size {k} does not bring a side of {s} to {small}: k - 1 must '
        f'divide {s - small}. Legal: {legal_kernels(s, small)}.'
      )
    passes.add((s - small) // (k - 1))
  if len(passes) > 1:
    raise ValueError(
      f'kernel {kernel} needs {sorted(passes)} passes for the two sides of '
      f'{size}; both must take the same number. One that does: '
      f'{choose_kernel(size, smallest)}.'
    )
  return passes.pop() if passes else 1


def _gaps(size, smallest) -> list[int]:
  """Returns h_i - h' and w_i - w'."""
  gaps = [a - b for a, b in zip(size, smallest)]
  if min(gaps) < 0:
    raise ValueError(
      f'An activation of {size[0]}x{size[1]} is smaller than the embedding '
      f"h' x w' = {smallest[0]}x{smallest[1]}; choose a smaller embedding."
    )
  return gaps


def plan(
  shapes: Sequence[tuple[int, ...]],
  kernel_sizes: Sequence[Any],
  embedding: tuple[int, int] | None,
) -> list[tuple[tuple[int, int], tuple[int, int]] | None]:
  """Returns how each activation is brought to the shared size.

  Args:
    shapes: of the activations of one image, `(h_i, w_i, c_i)` or `(c_i,)`.
    kernel_sizes: of each k, (k_h, k_w), or 0 to choose; empty chooses all.
    embedding: (h', w'), or None for the smallest map.

  Returns:
    For each, (k_h, k_w) and (h', w'); None for fully connected layers.

  Raises:
    ValueError: kernel sizes or an embedding that do not fit the maps.
  """
  sizes = [shape[:2] for shape in shapes if len(shape) == 3]
  smallest = embedding or tuple(min(side) for side in zip(*sizes))
  chosen = kernel_sizes or (0,) * len(shapes)
  if len(chosen) != len(shapes):
    raise ValueError(
      f'kernel_sizes has {len(chosen)} entries; the target has '
      f'{len(shapes)} activations. Use 0 where one is to be chosen.'
    )
  steps = []
  for i, (shape, k) in enumerate(zip(shapes, chosen)):
    if len(shape) == 1:
      steps.append(None)
      continue
    size = shape[:2]
    k = k or choose_kernel(size, smallest)
    kernel = (k, k) if isinstance(k, int) else tuple(k)
    try:
      num_passes(size, smallest, kernel)
    except ValueError as error:
      raise ValueError(f'kernel_sizes[{i}]={k}: {error}') from error
    steps.append((kernel, smallest))
  return steps

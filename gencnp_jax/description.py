"""A target in words: what is tapped in it, and what it is made of."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from gencnp_jax.activations import RELU
from gencnp_jax.neurons import Traced


def table(traced: Traced, chosen: Sequence[int]) -> str:
  """Returns a line an activation, the total, and what does not count.

  Args:
    traced: a target with all its tapped activations.
    chosen: indices of those that count.
  """
  rows = [('index', 'kind', 'shape', 'neurons')]
  sizes = [math.prod(site.shape) for site in traced.sites]
  for i in chosen:
    site = traced.sites[i]
    shape = ' x '.join(map(str, site.shape))
    rows.append((str(i), site.kind, shape, f'{sizes[i]:,}'))
  rows.append(('total', '', '', f'{sum(sizes[i] for i in chosen):,}'))
  widths = [max(map(len, column)) for column in zip(*rows)]
  lines = [
    f'{index:>{widths[0]}}  {kind:<{widths[1]}}  {shape:<{widths[2]}}  '
    f'{neurons:>{widths[3]}}'
    for index, kind, shape, neurons in rows
  ]
  left_out = [i for i in range(len(sizes)) if i not in chosen]
  if left_out:
    lines.append(f'left out by relus=: {", ".join(map(str, left_out))}')
  if traced.untapped:
    counts = ', '.join(f'{k} x {n}' for k, n in traced.untapped.items())
    which = '' if RELU in traced.untapped else 'not ReLUs; '
    lines.append(f'not tapped: {counts} ({which}name them in tap=)')
  return '\n'.join(lines)


def in_words(value: Any) -> str:
  """Returns a module or a function as text: all but where in memory it lies."""
  return re.sub(r' at 0x[0-9a-f]+', '', ' '.join(repr(value).split()))

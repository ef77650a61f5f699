"""Says which axis of an activation holds the channels.

The convolution upstream knows. The way up to it is walked with a name for every
axis: where an operation moves, splits or merges axes, the names follow. So it
is seen through pooling, normalisation, `vmap`, residual sums, resizing and
fully connected layers over the channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gencnp_jax.program import Op, Program

LAYOUTS = ('auto', 'NHWC', 'NCHW')

Names = tuple[int | None, ...]
"""For each axis of a value the axis of the activation that it becomes."""

# Axes may grow or shrink, and stay in their places.
_IN_PLACE = ('reduce_window', 'reduce_window_max', 'reduce_window_sum', 'pad')
_IN_PLACE += ('slice', 'dynamic_slice', 'split', 'concatenate')


def nhwc(
  program: Program, output: int, batch: int, layout: str
) -> tuple[int, ...]:
  """Returns the permutation that brings an activation to NHWC.

  Args:
    program: the program.
    output: number of the activation.
    batch: its batch axis.
    layout: 'auto', 'NHWC' or 'NCHW': where the channels of a rank-4 activation
      are. 'auto' asks the convolution upstream, and assumes last without one.
  """
  rank = len(program.shapes[output])
  rest = [i for i in range(rank) if i != batch]
  if rank == 4:
    channels = {'NHWC': rest[-1], 'NCHW': rest[0]}.get(layout)
    if channels is None:
      seen = channel_axis(program, output)
      channels = rest[-1] if seen is None or seen == batch else seen
    rest = [i for i in rest if i != channels] + [channels]
  return (batch, *rest)


def channel_axis(program: Program, value: int) -> int | None:
  """Returns the axis that holds the channels of the nearest convolution.

  None where there is none upstream, or none whose channels are kept apart from
  other axes on the way.
  """
  queue = [(value, tuple(range(len(program.shapes[value]))))]
  seen = {*queue}
  for current, names in queue:
    op = program.producer.get(current)
    if op is None:
      continue
    if op.name == 'conv_general_dilated':
      axis = names[op.params['dimension_numbers'].out_spec[1]]
      if axis is not None:
        return axis
      continue
    for i, v in enumerate(op.inputs):
      item = (v, _before(program, op, i, names))
      if any(name is not None for name in item[1]) and item not in seen:
        seen.add(item)
        queue.append(item)
  return None


def _before(program: Program, op: Op, side: int, names: Names) -> Names:
  """Carries the names of an operation's output over to one of its inputs."""
  before = program.shapes[op.inputs[side]]
  after = program.shapes[op.outputs[0]]
  if op.name == 'transpose':
    order = tuple(op.params['permutation'])
    return tuple(names[order.index(i)] for i in range(len(before)))
  if op.name in ('reshape', 'squeeze', 'expand_dims'):
    return _before_reshape(before, after, names)
  if op.name == 'broadcast_in_dim':
    return tuple(names[i] for i in op.params['broadcast_dimensions'])
  if op.name == 'dot_general':
    return _before_product(op, side, len(before), names)
  if op.name == 'gather':
    return _before_gather(op, len(before), names) if side == 0 else ()
  if op.name.startswith('reduce_') and 'axes' in op.params:
    kept = iter(names)
    gone = op.params['axes']
    return tuple(None if i in gone else next(kept) for i in range(len(before)))
  in_place = op.name in _IN_PLACE and len(before) == len(after)
  return names if before == after or in_place else ()


def _before_reshape(
  before: Sequence[int], after: Sequence[int], names: Names
) -> Names:
  """Follows axes that are split or merged, and unit axes that come and go."""
  carried: list[int | None] = [None] * len(before)
  for mine, its in _runs(before, after):
    if len(mine) == len(its) == 1:
      carried[mine[0]] = names[its[0]]
      continue
    distinct = {names[j] for j in its if after[j] != 1} - {None}
    if len(distinct) == 1:
      (name,) = distinct
      for i in mine:
        carried[i] = name if before[i] != 1 else None
  return tuple(carried)


def _runs(
  before: Sequence[int], after: Sequence[int]
) -> Iterator[tuple[range, range]]:
  """Yields the shortest runs of axes with as many elements on both sides."""
  i = j = 0
  while i < len(before) and j < len(after):
    start, m, n = (i, j), before[i], after[j]
    i, j = i + 1, j + 1
    while m != n:
      if m < n:
        m, i = m * before[i], i + 1
      else:
        n, j = n * after[j], j + 1
    yield range(start[0], i), range(start[1], j)


def _before_product(op: Op, side: int, rank: int, names: Names) -> Names:
  """Takes an axis that weights contract for the axis that they put there."""
  contracted, batched = (p[side] for p in op.params['dimension_numbers'])
  free = [i for i in range(rank) if i not in (*contracted, *batched)]
  carried = dict(zip(batched, names))
  rest = names[len(batched) :]
  mine = rest[: len(free)] if side == 0 else rest[len(rest) - len(free) :]
  its = rest[len(free) :] if side == 0 else rest[: len(rest) - len(free)]
  carried.update(zip(free, mine))
  if len(contracted) == len(its) == 1:
    carried[contracted[0]] = its[0]
  return tuple(carried.get(i) for i in range(rank))


def _before_gather(op: Op, rank: int, names: Names) -> Names:
  """Follows the axes that a lookup keeps, and the one that it looks up."""
  numbers = op.params['dimension_numbers']
  looked_up = numbers.collapsed_slice_dims
  kept = [
    i
    for i in range(rank)
    if i not in (*looked_up, *numbers.operand_batching_dims)
  ]
  carried = dict(zip(kept, (names[i] for i in numbers.offset_dims)))
  rest = [n for i, n in enumerate(names) if i not in numbers.offset_dims]
  if len(looked_up) == len(rest) == 1:
    carried[looked_up[0]] = rest[0]
  return tuple(carried.get(i) for i in range(rank))

"""Tables and words of transferability; `transferability.py` measures."""

from __future__ import annotations

from typing import Any

from gencnp_jax.experiments import paper
from gencnp_jax.report import Column, Table, pivot

TRUE, PREDICTED = 'true class', 'predicted class'
_OF_CLASSES = (
  Column('accuracy', 'Accuracy', 'higher'),
  Column('agreement', 'Agreement', 'higher'),
  Column('mean_increase_of_risers', 'mIC*', 'higher'),
  Column('mean_decrease_of_fallers', 'mDC*', 'lower'),
  Column('swap', 'Swap leak', 'lower'),
  Column('firing_sparsity', 'Firing sparsity', fmt='percent2'),
)


def accuracy_table(
  rows: list[dict[str, Any]], by: str, threshold: float, data: str, model: str
) -> Table:
  """Returns Table 6: accuracy by sample sparsity, a row a method."""
  # The paper's 100 % can only come from choosing by the image's own class.
  printed = paper.transfer_accuracy(data, model) if by == TRUE else {}
  chosen = [
    row
    for row in rows
    if row['by'] == by and row['class_sparsity'] == threshold
  ]
  key = 'accuracy' if chosen[0]['accuracy'] is not None else 'agreement'
  title = f'{key.title()} of class pathways by sample sparsity, by {by}'
  whole = chosen[0]['target_accuracy']
  note = f'At a class-relevant sparsity of {100 * threshold:g} %.'
  if whole is not None:
    note += (
      f' The whole target is right on {100 * whole:.1f} % of these images.'
    )
  if printed:
    note += ' The paper does not say at which class-relevant sparsity.'
  return pivot(
    title + (' beside Table 6 of the paper' if printed else ''),
    chosen,
    'sample_sparsity',
    Column(key, key.title(), 'higher'),
    printed,
    note,
  )


def class_tables(
  rows: list[dict[str, Any]], by: str, fixed: float
) -> tuple[Table, ...]:
  """Returns a table a metric: methods by class-relevant sparsities.

  Args:
    rows: of `measure`.
    by: which of them.
    fixed: the sample sparsity.
  """
  chosen = [
    row for row in rows if row['by'] == by and row['sample_sparsity'] == fixed
  ]
  return tuple(
    pivot(
      f'{column.title} of class pathways by class-relevant sparsity, by {by}',
      chosen,
      'class_sparsity',
      column,
      note=f'At a sample sparsity of {100 * fixed:g} %.',
    )
    for column in _OF_CLASSES
    if any(row[column.key] is not None for row in chosen)
  )


def long_table(rows: list[dict[str, Any]]) -> Table:
  """Returns every number, a row a method, reading and pair of sparsities."""
  words = ('method', 'by')
  numbers = [key for key in rows[0] if key not in words]
  return Table(
    'Transfer in full',
    (
      *(Column(key, key, fmt='text') for key in words),
      *(Column(key, key, fmt='float') for key in numbers),
    ),
    rows,
  )


def nearest(rows: list[dict[str, Any]], key: str, value: float) -> float:
  """Returns the measured share next to a value."""
  return min({row[key] for row in rows}, key=lambda v: abs(v - value))


def warnings(rows, by: str, fixed: float, threshold: float) -> tuple[str, ...]:
  """Says which methods' class pathways give their class to any image."""
  trivial = [
    f'{row["method"]} ({100 * row["swap"]:.0f} %)'
    for row in rows
    if row['by'] == by
    and row['sample_sparsity'] == fixed
    and row['class_sparsity'] == threshold
    and row['agreement'] > 0.5
    and (row['swap'] or 0) > 0.5
  ]
  if not trivial:
    return ()
  return (
    f'Worn by images of other classes, class pathways of {", ".join(trivial)} '
    'still give their own class: that they transfer is largely the mask '
    'speaking.',
  )


def reading(rows, by: str, fixed: float, threshold: float) -> str:
  """Says what GEN-CNP's and the best baseline's class pathways keep."""
  at = [
    row
    for row in rows
    if row['by'] == by
    and row['sample_sparsity'] == fixed
    and row['class_sparsity'] == threshold
    and row['method'] != 'Random'
  ]
  own = next(row for row in at if row['method'] == 'GEN-CNP')
  said = f'GEN-CNP keeps the class of {100 * own["agreement"]:.0f} %'
  others = [row for row in at if row is not own]
  if others:
    best = max(others, key=lambda row: row['agreement'])
    said += f', {best["method"]} of {100 * best["agreement"]:.0f} %'
  if own['swap'] is not None:
    said += f'; under the swap GEN-CNP leaks {100 * own["swap"]:.0f} %'
  return f'{said}.'

"""Tables of methods side by side, at one sparsity and over the curve.

Rows are flat mappings, as `Evaluation.row` returns them, perhaps read back from
JSON; the paper's number for a key stands under `key + '_paper'`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gencnp_jax.report.column import Column
from gencnp_jax.report.pivot import pivot
from gencnp_jax.report.table import Table

_METHOD = Column('method', 'Method', fmt='text')
_SPARSITY = Column('firing_sparsity', 'Sparsity')
_AGREEMENT = Column('agreement', 'Agreement', 'higher')
_SWAP = Column('swap', 'Swap leak', 'lower')
_DISCONNECTED = Column('disconnected', 'Disconnected', 'lower')
_INFLUENCE = Column('influence', 'Influence', 'higher')
_NO_SPARSITY = (
  ' The paper does not say at which firing sparsity its numbers were taken.'
)
CURVE = (
  _AGREEMENT,
  Column('increase_rate', 'ICr', 'higher'),
  Column('mean_decrease_of_fallers', 'mDC*', 'lower'),
  Column('within', 'Class IoU within', 'higher'),
  Column('between', 'Class IoU between', 'lower'),
  _SWAP,
  _DISCONNECTED,
  _INFLUENCE,
)
"""What is shown over the sparsities of the curve."""


def tables(
  measured: Sequence[Mapping[str, Any]], printed: str = 'Table 5'
) -> tuple[Table, ...]:
  """Returns the tables of faithfulness, class IoU, leakage and speed.

  Args:
    measured: one row a method.
    printed: the paper's table of faithfulness, where rows hold its numbers.
  """
  joined = list(measured)
  faithful = any('accuracy_paper' in row for row in joined)
  overlapping = any('within_paper' in row for row in joined)
  faithfulness = Table(
    'Faithfulness' + (f' beside {printed} of the paper' if faithful else ''),
    (
      _METHOD,
      _SPARSITY,
      _AGREEMENT,
      Column('accuracy', 'Accuracy', 'higher', paper=faithful),
      Column(
        'increase_rate',
        'ICr',
        'higher',
        paper=any('increase_rate_paper' in row for row in joined),
      ),
      Column('mean_increase_of_risers', 'mIC*', 'higher', paper=faithful),
      Column('mean_decrease_of_fallers', 'mDC*', 'lower', paper=faithful),
      Column('mean_increase', 'mIC', 'higher', 'percent2'),
      Column('mean_decrease', 'mDC', 'lower', 'percent2'),
      _SWAP,
    ),
    joined,
    'mIC* and mDC*: mean over the images whose confidence rises or falls with '
    'the same class, the reading that fits the paper; mIC and mDC: its formulas '
    'as printed, over all images. Read them beside agreement: a pathway that '
    'flips the class has no mDC.' + (_NO_SPARSITY if faithful else ''),
  )
  overlap = Table(
    'Class IoU' + (' beside Table 3 of the paper' if overlapping else ''),
    (
      _METHOD,
      _SPARSITY,
      Column('within', 'Within', 'higher', paper=overlapping),
      Column('between', 'Between', 'lower'),
      Column('within_predicted', 'Within, predicted', 'higher'),
      Column('between_predicted', 'Between, predicted', 'lower'),
      Column('uniform_floor', 'Uniform floor'),
      Column('profile_floor', 'Profile floor'),
      Column('consensus_within', 'Consensus', 'higher'),
      Column('tied', 'Drawn at ties'),
    ),
    joined,
    'Mean Jaccard index of pathways of the same class (acIOU) and of different '
    'classes: by true class, and by the class that the target predicts, which '
    'is the one a pathway explains. Floors: what random masks score that keep as many neurons, and as '
    'many in each layer. Consensus: neurons on in all images of a class over '
    'neurons on in any. Drawn at ties: share of kept neurons chosen by lot among '
    'equal scores.',
  )
  leakage = Table(
    'Does the mask itself carry the answer?',
    (
      _METHOD,
      _SPARSITY,
      _AGREEMENT,
      _SWAP,
      Column('own', 'Own', 'higher'),
      Column('blank', 'Blank leak', 'lower'),
      _DISCONNECTED,
      _INFLUENCE,
      Column('empty_layer', 'Empty layer', 'lower'),
    ),
    joined,
    "Swap leak: another image of another class, run under this image's pathway, "
    "is given this image's class; own: it keeps its own. Blank: the mean image "
    'likewise. Disconnected: the image cannot reach the output. Influence: how '
    'far the logits move under the other image (0: a constant, 100: to the '
    'opposite).',
  )
  speed = Table(
    'Speed of explaining',
    (
      _METHOD,
      Column('images', 'Images', fmt='count'),
      Column('seconds', 'Time', 'lower', 'seconds'),
      Column('images_per_second', 'Images a second', 'higher', 'float'),
    ),
    joined,
    'From images to masks, without compilation and without the metrics.',
  )
  return faithfulness, overlap, leakage, speed


def curve_tables(
  measured: Sequence[Mapping[str, Any]], keys: Sequence[str] = ()
) -> tuple[Table, ...]:
  """Returns one table a metric of `CURVE`: methods by sparsities.

  Args:
    measured: one row a method and sparsity, with the sparsity as `cut`; empty
      for no table.
    keys: of the metrics; empty for all.
  """
  return tuple(
    pivot(f'{column.title} over firing sparsity', measured, 'cut', column)
    for column in (curve_columns(keys) if measured else ())
  )


def curve_columns(keys: Sequence[str] = ()) -> tuple[Column, ...]:
  """Returns the columns of `CURVE` with these keys; all of them for none."""
  return tuple(c for c in CURVE if not keys or c.key in keys)

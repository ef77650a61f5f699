"""Does the mask itself carry the answer? Past the paper.

Swap and blank leakage and disconnected pathways of all methods over firing
sparsity, off neurons at zero and at their mean, and GEN-CNP with and without
what keeps the answer out of the mask (`settings.OBJECTIVES`, 'evidence').
"""

from __future__ import annotations

from typing import Any

from gencnp_jax import settings
from gencnp_jax.experiments import faithfulness, methods, paper, variants
from gencnp_jax.experiments.result import NamedFigure, Result
from gencnp_jax.experiments.run import Run
from gencnp_jax.report import Column, Table, comparison, plot

OFF = {'zero': 'off = zero', 'mean': 'off = mean'}
EVIDENCE = 'GEN-CNP, evidence'


def settled(run: Run) -> dict[str, Any]:
  """Returns what the numbers depend on."""
  section = run.config.evaluate
  names = ('methods', 'sparsities', 'sparsity', 'split', 'limit', 'batch_size')
  return {name: section[name] for name in names} | {
    'evidence': settings.OBJECTIVES['evidence']
  }


def measure(run: Run) -> dict[str, Any]:
  """Returns 'rows' and 'curve', each row with its 'setting'."""
  rows, curve = [], []
  for off, setting in OFF.items():
    plain = variants.trained(run, f'off_{off}', off=off, gamma=0.0)
    evidence = variants.trained(
      run, f'evidence_{off}', **settings.OBJECTIVES['evidence'] | {'off': off}
    )
    # Baselines stand at the sparsity of the form that the setting is for.
    mine, other = (plain, evidence) if off == 'zero' else (evidence, plain)
    if mine is run.generative:
      found = run.evaluated
    else:
      found = methods.measure(run, mine, run.folder('leakage') / off)
    compared = run.compare([other], methods.curve(run.config))
    names = [methods.TITLES['gencnp'], EVIDENCE]
    for name, first, over in (
      (names[mine is evidence], found['rows'], found['curve']),
      (names[other is evidence], compared.rows(), compared.curve_rows()),
    ):
      rows += _named(first, name, setting)
      curve += _named(over, name, setting)
  return {'rows': rows, 'curve': curve}


def _named(rows, name, setting) -> list[dict[str, Any]]:
  """Returns rows with their setting, GEN-CNP's under the name of its form."""
  own = methods.TITLES['gencnp']
  return [
    row
    | {'setting': setting}
    | ({'method': name} if row['method'] == own else {})
    for row in rows
  ]


def present(run: Run, content: dict[str, Any] | None) -> Result:
  """Shows what was measured; at least the leakage of the evaluation."""
  _, _, leakage, _ = faithfulness.tables(
    run.evaluated['rows'], paper.data_set(run), run.config.target.model
  )
  said = (
    'A pathway can encode the class by its shape alone. Then agreement '
    'measures the mask, not the evidence in the image. Swap leak: an image of '
    'another class wears the pathway, and the target names the class that the '
    'pathway was made for.'
  )
  if content is None:
    return Result(
      'Does the mask itself carry the answer?',
      said,
      (leakage,),
    )
  curve = content['curve']
  figures = [
    NamedFigure(
      'leakage_over_firing_sparsity',
      'Agreement, leakage and disconnected pathways over firing sparsity. '
      f'{_reading(curve)}',
      plot.leakage_curves(curve),
    )
  ]
  # A target that gives all images one class leaves no pair to swap.
  if any(row['swap'] is not None for row in curve):
    figures.append(
      NamedFigure(
        'leakage_tradeoff',
        'Agreement against swap leakage, a line through the firing '
        'sparsities of each method.',
        plot.leakage_tradeoff(curve),
      )
    )
  return Result(
    'Does the mask itself carry the answer?',
    f'{said} Shown with off neurons at zero, as in the paper, and at their '
    'mean over the training images; GEN-CNP as the run has it, and asked for '
    'evidence: no other image may be given the class under the swap.',
    (table(content['rows']),),
    tuple(figures),
    tuple(
      faithfulness.warnings(content['rows'], of_leaks=False, beside='setting')
    ),
  )


def table(rows: list[dict[str, Any]]) -> Table:
  """Returns leakage by setting and method, at the methods' own sparsity."""
  return Table(
    'Leakage, off neurons at zero and at their mean',
    (
      Column('method', 'Method', fmt='text'),
      Column('setting', 'Setting', fmt='text'),
      Column('firing_sparsity', 'Sparsity'),
      Column('agreement', 'Agreement', 'higher'),
      Column('swap', 'Swap leak', 'lower'),
      Column('own', 'Own', 'higher'),
      Column('blank', 'Blank leak', 'lower'),
      *comparison.curve_columns(('disconnected', 'influence')),
      Column('empty_layer', 'Empty layer', 'lower'),
      Column('increase_rate', 'ICr', 'higher'),
      Column('within', 'Class IoU', 'higher'),
    ),
    rows,
    'Own: the image that wears the pathway keeps its own class. Disconnected: '
    'the image cannot reach the output. Influence: how far the logits move '
    'under the other image. Sparsities differ between settings, see the figures.',
  )


def _reading(curve: list[dict[str, Any]]) -> str:
  """Says the least leakage among pathways that agree, for each setting."""
  said = []
  for setting in dict.fromkeys(row['setting'] for row in curve):
    faithful = [
      row
      for row in curve
      if row['setting'] == setting
      and row['agreement'] >= 0.9
      and row['swap'] is not None
    ]
    if faithful:
      least = min(faithful, key=lambda row: row['swap'])
      said.append(
        f'{setting}: {least["method"]} at {100 * least["cut"]:g} % leaks '
        f'{100 * least["swap"]:.0f} %'
      )
  if not said:
    return ''
  return f'Least leak with 90 % agreement or more, {"; ".join(said)}.'

"""What each part of GEN-CNP is for (Table 2)."""

from __future__ import annotations

from typing import Any

from gencnp_jax.experiments import faithfulness, methods, paper, variants
from gencnp_jax.experiments.result import Result
from gencnp_jax.experiments.run import Run
from gencnp_jax.report import Column, Table, comparison

FULL = 'Ours (full)'
_FULL = {'embedders': 'recursive', 'shared_pdn': True, 'quantiser': 'daq'}
FORMS = {
  FULL: ('full', _FULL),
  'w/o RFEs': ('no_rfes', _FULL | {'embedders': 'none', 'shared_pdn': False}),
  'l.-w. PDNs': ('layerwise_pdns', _FULL | {'shared_pdn': False}),
  # Soft masks have no floor.
  'w/o DAQ': ('no_daq', _FULL | {'quantiser': 'sigmoid', 'layer_floor': 0.0}),
}
"""The paper's row -> folder, and fields of the section gencnp."""
OWN, ONE = 'each image its own', 'one for all images'
_PRINTED_AT = {'w/o DAQ': ONE}  # Its sparsity is "global"; the others' are not.


def settled(run: Run) -> dict[str, Any]:
  """Returns what the numbers depend on."""
  section = run.config.evaluate
  return {name: section[name] for name in ('split', 'limit', 'batch_size')}


def measure(run: Run) -> dict[str, Any]:
  """Returns 'rows', two a form: own sparsities, and one for all images."""
  forms = {
    name: variants.trained(run, place, **fields)
    for name, (place, fields) in FORMS.items()
  }
  mean = run.compare([forms[FULL]])[0].faithfulness.firing_sparsity
  cut = methods.possible(run, mean)
  rows = []
  for name, generative in forms.items():
    compared = run.compare([generative], (cut,))
    for sparsities, (row,) in (
      (OWN, compared.rows()),
      (ONE, compared.curve_rows()),
    ):
      rows.append(row | {'method': name, 'sparsities': sparsities})
  return {'rows': rows}


def present(run: Run, content: dict[str, Any] | None) -> Result | None:
  """Shows Table 2; nothing where it was not measured."""
  if content is None:
    return None
  data, model = paper.data_set(run), run.config.target.model
  return Result(
    'What each part is for',
    'Each form is trained like the full one, with the same target, settings '
    'and length. w/o RFEs: a PDN a layer on the raw activations, no embedder '
    'and no decoder. l.-w. PDNs: a PDN a layer between embedder and decoder. '
    'w/o DAQ: trained with soft masks `sigmoid(D)`. Each form comes to a '
    'sparsity of its own, on which all metrics depend: so all of them are '
    'shown as well with their scores cut at one firing sparsity for all '
    'images, the mean of the full form.',
    (table(content['rows'], data, model),),
    warnings=tuple(
      faithfulness.warnings(
        content['rows'], of_leaks=False, beside='sparsities'
      )
    ),
  )


def table(rows: list[dict[str, Any]], data: str, model: str) -> Table:
  """Returns Table 2, the paper's numbers beside the form they are of.

  Args:
    rows: of `measure`.
    data: the paper's name of the data set, or ''.
    model: name of the target.
  """
  printed = paper.ablations(data, model)
  lines = []
  for row in rows:
    name = row['method']
    if row['sparsities'] == _PRINTED_AT.get(name, OWN):
      row = row | {f'{k}_paper': v for k, v in printed.get(name, {}).items()}
    lines.append(row)
  there = bool(printed)
  return Table(
    'Ablations of GEN-CNP' + (' beside Table 2 of the paper' if there else ''),
    (
      Column('method', 'Form', fmt='text'),
      Column('sparsities', 'Sparsity', fmt='text'),
      Column('firing_sparsity', 'Mean'),
      Column('agreement', 'Agreement', 'higher'),
      Column('accuracy', 'Accuracy', 'higher', paper=there),
      Column('increase_rate', 'ICr', 'higher'),
      Column('mean_increase_of_risers', 'mIC*', 'higher', paper=there),
      Column('mean_decrease_of_fallers', 'mDC*', 'lower', paper=there),
      Column('within', 'Class IoU', 'higher'),
      Column('between', 'between', 'lower'),
      *comparison.curve_columns(('swap', 'disconnected', 'influence')),
    ),
    lines,
    'mIC* and mDC* as in the table of faithfulness. The paper does not say at '
    'which sparsity each form was measured; w/o DAQ it is one for all images.'
    if there
    else 'mIC* and mDC* as in the table of faithfulness.',
  )

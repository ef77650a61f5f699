"""What there is to say of one explained image, in JSON values and in a line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gencnp_jax import pathway
from gencnp_jax.report.prediction import softmax

_TOP = 5


def describe(
  explanation: pathway.Explanation, row: int, class_names: Sequence[str]
) -> dict[str, Any]:
  """Returns what there is to say of one explained image, as JSON values.

  Args:
    explanation: of some images.
    row: which of them.
    class_names: names of all classes.
  """
  before, after = (
    softmax(logits[row])
    for logits in (explanation.logits, explanation.pathway_logits)
  )
  masks = [m[row] for m in explanation.masks]
  layers = [
    {
      'shape': list(m.shape),
      'neurons_on': int(m.sum()),
      'firing_sparsity': 1 - float(m.mean()),
    }
    for m in masks
  ]
  said = {
    key: {
      'class': class_names[p.argmax()],
      'number': int(p.argmax()),
      'probability': float(p.max()),
    }
    for key, p in (('target', before), ('pathway', after))
  }
  warnings = [
    f'No neuron of layer {i + 1} is on: in a plain chain of layers the image cannot '
    'reach the output, and what the target says is in the mask alone.'
    for i, m in enumerate(masks)
    if not m.any()
  ]
  return {
    **said,
    'same_class': bool(before.argmax() == after.argmax()),
    'top': [
      {
        'class': class_names[c],
        'number': int(c),
        'probability': float(before[c]),
        'probability_with_pathway': float(after[c]),
      }
      for c in np.argsort(-before, kind='stable')[:_TOP]
    ],
    'firing_sparsity': float(explanation.firing_sparsity[row]),
    'neurons': int(sum(m.size for m in masks)),
    'neurons_on': int(sum(m.sum() for m in masks)),
    'layers': layers,
    'warnings': warnings,
  }


def line(path: Any, record: Mapping[str, Any]) -> str:
  """Returns a record in a line; `path` is where its picture lies."""
  target, under = record['target'], record['pathway']
  return (
    f'{path}: {target["class"]} {100 * target["probability"]:.1f} %, with the '
    f'pathway {under["class"]} {100 * under["probability"]:.1f} %; '
    f'{100 * record["firing_sparsity"]:.1f} % of the neurons are off.'
  )

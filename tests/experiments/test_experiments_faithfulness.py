"""The comparison: rows, tables beside the paper's numbers, warnings."""

import dataclasses
import json
import math

import numpy as np
import pytest

import gencnp_jax
from gencnp_jax.experiments import faithfulness, paper
from gencnp_jax.explainers import NeuronMCT, Random
from tests import tiny
from tests.training.conftest import compile_once  # noqa: F401


@pytest.fixture(scope='module')
def measured():
  target, images = tiny.target(), tiny.images(12)
  labels = np.arange(12) % 4
  return gencnp_jax.evaluate(
    [NeuronMCT(target, 0.6), Random(target, 0.6)], images, labels
  )


def _row(method='GEN-CNP', **changes):
  row = {
    'method': method,
    'baseline': method == 'Random',
    'images': 100,
    'firing_sparsity': 0.95,
    'agreement': 0.98,
    'accuracy': 0.77,
    'increase_rate': 0.1,
    'mean_increase': 0.01,
    'mean_decrease': 0.02,
    'mean_increase_of_risers': 0.1,
    'mean_decrease_of_fallers': 0.05,
    'swap': 0.3,
    'own': 0.6,
    'blank': 0.2,
    'disconnected': 0.0,
    'empty_layer': 0.0,
    'within': 0.5,
    'between': 0.3,
    'within_predicted': 0.6,
    'between_predicted': 0.2,
    'uniform_floor': 0.03,
    'profile_floor': 0.05,
    'consensus_within': 0.1,
    'consensus_between': 0.05,
    'tied': 0.0,
    'seconds': 2.0,
    'images_per_second': 50.0,
  }
  return row | changes


def test_rows_hold_what_was_measured(measured):
  rows = measured.rows()
  for row, found in zip(rows, measured):
    assert row['method'] == found.method
    for part in (found.faithfulness, found.class_iou, found.leakage):
      for field in dataclasses.fields(part):
        if field.name in row:
          value = getattr(part, field.name)
          undefined = isinstance(value, float) and math.isnan(value)
          assert row[field.name] == (None if undefined else value)
    assert row['consensus_within'] == found.consensus_iou.within
    assert row['within_predicted'] == found.predicted_iou.within
    assert row['between_predicted'] == found.predicted_iou.between
    assert row['consensus_between'] == found.consensus_iou.between
    assert row['firing_sparsity_std'] == found.faithfulness.firing.std
    assert row['within_per_layer'] == list(found.class_iou.per_layer)
    assert row['tied'] == found.tied
  assert [row['baseline'] for row in rows] == [False, True]
  # What is shown is what is stored: tables are made from JSON again.
  again = json.loads(json.dumps(rows, allow_nan=False))
  assert again == rows
  texts = [
    [t.to_text() for t in faithfulness.tables(r, 'digits', 'alexnet')]
    for r in (rows, again)
  ]
  assert texts[0] == texts[1]


def test_what_is_undefined_is_null_in_json():
  """One image: no pair of a class, so not even the layers have an overlap."""
  blank = np.zeros((8, 8, 3), np.uint8)
  explainers = [Random(tiny.target(), 0.6)]
  found = gencnp_jax.evaluate(explainers, tiny.images(1), blank=blank)
  (row,) = found.rows()
  json.dumps(row, allow_nan=False)
  assert row['within'] is None and row['within_per_layer'] == [None, None]
  assert row['swap'] is None and row['accuracy'] is None
  for table in faithfulness.tables([row], 'cifar10', 'alexnet'):
    table.to_text()
  assert faithfulness.warnings([row]) == []


def test_every_column_finds_its_value(measured):
  rows = measured.rows()
  for table in faithfulness.tables(rows, 'cifar10', 'alexnet'):
    for column in table.columns:
      assert column.key in rows[0], column.key
      if column.paper:
        assert f'{column.key}_paper' in table.rows[0]


@pytest.mark.parametrize('model', ['alexnet', 'vgg11'])
def test_tables_join_the_numbers_of_the_paper(model):
  methods = ('GEN-CNP', 'NeuronMCT', 'Original Activation', 'Random')
  rows = [_row(method) for method in methods]
  faithful, overlap, leakage, speed = faithfulness.tables(
    rows, 'cifar10', model
  )
  printed = paper.faithfulness('cifar10', model)
  for row in faithful.rows:
    for key, value in printed[row['method']].items():
      assert row[f'{key}_paper'] == value
      assert row[key] == _row()[key]  # Measured ones are left as they are.
  ious = paper.class_iou('cifar10', model)
  for row in overlap.rows:
    assert row['within_paper'] == ious[row['method']]
  assert 'Table 5' in faithful.title and 'Table 3' in overlap.title
  for table in (leakage, speed):
    assert not any(column.paper for column in table.columns)
  assert '_paper' not in str(rows)  # The input is left alone.
  text = faithful.to_text()
  gen_cnp = printed['GEN-CNP']['mean_decrease_of_fallers']
  assert f'{100 * gen_cnp:.1f}' in text


def test_other_data_have_no_columns_of_the_paper():
  for data, model in (('digits', 'alexnet'), ('cifar10', 'resnet')):
    assert paper.target_accuracy(data, model) is None
    for table in faithfulness.tables([_row()], data, model):
      assert not any(column.paper for column in table.columns)
      assert 'Table' not in table.title and 'paper' not in table.title


def test_random_does_not_compete():
  """It wins the decrease by breaking the prediction."""
  rows = [
    _row(mean_decrease=0.05),
    _row('NeuronMCT', mean_decrease=0.07),
    _row('Random', mean_decrease=0.001),
  ]
  faithful, *_ = faithfulness.tables(rows, 'digits', 'alexnet')
  (column,) = [c for c in faithful.columns if c.key == 'mean_decrease']
  assert faithful.best(column) == {0}


def test_directions_of_the_columns():
  found = {
    column.key: column.direction
    for table in faithfulness.tables([_row()], 'cifar10', 'alexnet')
    for column in table.columns
  }
  higher = {k for k, v in found.items() if v == 'higher'}
  lower = {k for k, v in found.items() if v == 'lower'}
  assert higher == {
    *('agreement', 'accuracy', 'increase_rate', 'mean_increase', 'own'),
    'influence',
    *('mean_increase_of_risers', 'within', 'within_predicted'),
    *('consensus_within', 'images_per_second'),
  }
  assert lower == {
    'seconds',
    *('mean_decrease', 'mean_decrease_of_fallers', 'between'),
    *('between_predicted', 'swap', 'blank', 'disconnected', 'empty_layer'),
  }


@pytest.mark.parametrize(
  'changes, expected',
  [
    ({}, None),
    ({'disconnected': 0.01}, None),
    ({'disconnected': 0.011}, 'disconnected, GEN-CNP 1.1 %'),
    ({'disconnected': 1.0, 'swap': 0.9}, 'disconnected, GEN-CNP 100.0 %'),
    ({'swap': 0.98}, 'still give their own class, GEN-CNP 98.0 %'),
    ({'influence': 0.01}, None),
    (
      {'influence': 0.0096},
      'hardly anything of the image through, GEN-CNP 1.0 %',
    ),
    # The same thing is not said twice.
    ({'influence': 0.001, 'disconnected': 0.6}, 'disconnected, GEN-CNP 60.0 %'),
    ({'influence': None}, None),
    ({'influence': 0.001, 'agreement': 0.1}, None),
    # Leaks of a mask that breaks the prediction are no finding.
    ({'swap': 0.98, 'agreement': 0.1}, None),
    # One class only: there is nobody to swap with.
    ({'swap': None}, None),
  ],
)
def test_warnings(changes, expected):
  said = faithfulness.warnings([_row(**changes), _row('Random')])
  if expected is None:
    assert said == []
  else:
    assert len(said) == 1
    assert expected in said[0] and 'Random' not in said[0]


def test_one_warning_a_kind_names_all_methods():
  rows = [
    _row(disconnected=0.5),
    _row('NeuronMCT', swap=0.9),
    _row('DGR', swap=0.8),
    _row('Greedy', disconnected=0.25),
  ]
  first, second = faithfulness.warnings(rows)
  assert 'disconnected, GEN-CNP 50.0 %, Greedy 25.0 %: ' in first
  assert 'own class, NeuronMCT 90.0 %, DGR 80.0 %: ' in second
  assert faithfulness.warnings(rows, of_leaks=False) == [first]

"""The paper's numbers, against its own text."""

import pathlib
import re

import pytest

from gencnp_jax.experiments import paper

MODELS = ('alexnet', 'vgg11')
PAPER = pathlib.Path('../shared/paper.txt')
HEADS = ('Method', 'Sample Sparsity ϵ_{ss}', 'path sparsity')
NAMES = {  # The paper's -> ours.
  'Ori. Act.': 'Original Activation',
  'NeuronGrad': 'NeuronIntGrad',
  'Ours': 'GEN-CNP',
}


def _printed(number):
  """Rows of a table in the paper's text: method -> cells."""
  if not PAPER.exists():
    pytest.skip(f'{PAPER} is not here')
  _, _, text = re.sub(r'\*\*', '', PAPER.read_text()).partition(
    f'\nTable {number}: '
  )
  rows = {}
  for line in text.split('\n\n')[1].splitlines():
    method, *cells = line.split('\t')
    method = re.sub(r' \(ours\)| \[\d+\]', '', method).strip()
    if method and method not in HEADS:
      rows[NAMES.get(method, method)] = [float(c) / 100 for c in cells if c]
  return rows


def test_table_5_is_the_papers():
  columns = ('increase_rate', 'mean_increase_of_risers')
  columns += ('mean_decrease_of_fallers', 'accuracy')
  printed = _printed(5)
  assert len(printed) == 8
  for method, cells in printed.items():
    for model, part in (('alexnet', cells[:4]), ('vgg11', cells[4:])):
      ours = paper.faithfulness('cifar10', model)[method]
      assert [ours[c] for c in columns] == pytest.approx(part), method


def test_table_3_is_the_papers():
  printed = _printed(3)
  assert len(printed) == 8
  for method, cells in printed.items():
    places = [(d, m) for d in ('cifar10', 'imagenet') for m in MODELS]
    for (data, model), value in zip(places, cells, strict=True):
      assert paper.class_iou(data, model)[method] == pytest.approx(value)


def test_the_accuracies_of_the_targets_are_the_papers():
  _printed(5)
  (line,) = [
    line
    for line in PAPER.read_text().splitlines()
    if line.startswith('Table 5: ')
  ]
  printed = [float(x) / 100 for x in re.findall(r'([\d.]+)%', line)]
  assert printed == [
    paper.target_accuracy('cifar10', model) for model in MODELS
  ]


def test_table_1_is_the_papers():
  columns = ('mean_increase_of_risers', 'mean_decrease_of_fallers', 'accuracy')
  printed = _printed(1)
  assert len(printed) == 8
  for method, cells in printed.items():
    for model, part in (('alexnet', cells[:3]), ('vgg11', cells[3:])):
      ours = paper.faithfulness('imagenet', model)[method]
      assert [ours[c] for c in columns] == pytest.approx(part), method
      assert 'increase_rate' not in ours
  assert paper.faithfulness_table('imagenet') == 'Table 1'


def test_table_2_is_the_papers():
  columns = ('mean_increase_of_risers', 'mean_decrease_of_fallers', 'accuracy')
  ours = paper.ablations('cifar10', 'alexnet')
  printed = _printed(2)
  assert len(printed) == len(ours) == 4
  for form, cells in printed.items():
    form = 'Ours (full)' if form == 'GEN-CNP' else form
    assert [ours[form][c] for c in columns] == pytest.approx(cells), form


def test_tables_6_and_7_are_the_papers():
  transfer = paper.transfer_accuracy('cifar10', 'alexnet')
  roap = paper.roap('imagenet', 'vgg11')
  for number, ours, count in ((6, transfer, 6), (7, roap, 7)):
    printed = _printed(number)
    assert printed.keys() == ours.keys()
    for method, cells in printed.items():
      assert list(ours[method].values()) == pytest.approx(cells), method
      assert len(cells) == count
  assert list(transfer['DGR']) == [0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
  assert list(roap['DGR']) == [0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]

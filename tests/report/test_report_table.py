import csv
import io
import json
import math

import numpy as np
import pytest

from gencnp_jax.report import Column, Table
from tests.report import demo

NAME = Column('method', 'Method', fmt='text')


def _table(values, direction='higher', fmt='percent', **columns):
  rows = [{'method': f'm{i}', 'x': value} for i, value in enumerate(values)]
  return Table('T', [NAME, Column('x', 'X', direction, fmt, **columns)], rows)


def _best(table):
  return [row[1].text for row in table.cells() if row[1].best]


@pytest.mark.parametrize(
  'fmt, value, text',
  [
    ('percent', 0.98124, '98.1'),
    ('percent', 0, '0.0'),
    ('percent', -0.0001, '0.0'),
    ('percent', -0.02, '−2.0'),
    ('percent', np.float32(0.5), '50.0'),
    ('percent2', 0.13201, '13.20'),
    ('percent', 1, '100.0'),
    ('count', 10752, '10,752'),
    ('count', 0, '0'),
    ('seconds', 61.66, '61.7'),
    ('seconds', 1079.2, '1,079'),
    ('float', 0.0012345, '0.00123'),
    ('float', 12345.6, '12,346'),
    ('float', math.inf, '∞'),
    ('text', 'GEN-CNP', 'GEN-CNP'),
  ],
)
def test_formats(fmt, value, text):
  assert Column('x', 'X', fmt=fmt).show(value) == text


@pytest.mark.parametrize('value', [None, math.nan, np.float32('nan'), ''])
@pytest.mark.parametrize('fmt', ['percent', 'count', 'float', 'text'])
def test_missing_is_a_dash_and_never_zero(value, fmt):
  assert Column('x', 'X', fmt=fmt).show(value) == '–'


def test_absent_key_is_missing_everywhere():
  table = Table('T', [NAME, Column('x', 'X', 'higher')], [{'method': 'a'}])
  assert table.cells()[0][1].text == '–'
  assert '0' not in table.to_text()
  assert table.to_csv() == 'method,x\na,\n'


@pytest.mark.parametrize(
  'direction, values, best',
  [
    ('higher', [0.1, 0.9, 0.5], ['90.0']),
    ('lower', [0.1, 0.9, 0.5], ['10.0']),
    ('', [0.1, 0.9, 0.5], []),
    ('higher', [0.9, None, 0.9], ['90.0', '90.0']),
    ('lower', [math.nan, 0.3, 0.4], ['30.0']),
    # Equal as shown is a tie; no reader could see why one is better.
    ('higher', [0.90041, 0.90012, 0.3], ['90.0', '90.0']),
    # Nothing to compare with.
    ('higher', [0.9, None, None], []),
    ('higher', [None, None], []),
    ('lower', [0.0, 0.2], ['0.0']),
  ],
)
def test_best_value(direction, values, best):
  assert _best(_table(values, direction)) == best


def test_a_baseline_row_and_the_paper_do_not_compete():
  rows = [
    {'method': 'a', 'x': 0.3, 'x_paper': 0.01},
    {'method': 'b', 'x': 0.4},
    {'method': 'Random', 'x': 0.1, 'baseline': True},
  ]
  table = Table('T', [NAME, Column('x', 'X', 'lower', paper=True)], rows)
  assert [[c.best for c in row] for row in table.cells()] == [
    [False, True, False],
    [False, False, False],
    [False, False, False],
  ]


def test_text_is_aligned():
  lines = demo.table().to_text().splitlines()
  assert lines[0] == demo.table().title
  rule = next(i for i, line in enumerate(lines) if line.startswith('─'))
  ends, end = [], 0
  for part in lines[rule].split('  '):
    end += len(part)
    ends.append(end)
    end += 2
  assert len(ends) == 10 + 5
  for line in lines[rule + 1 : rule + 1 + len(demo.METHODS)]:
    assert len(line) <= ends[-1]
    padded = line.ljust(ends[-1] + 1)
    # A gap of two blanks after every column.
    assert all(padded[e : e + 2] == '  ' for e in ends[:-1]), line
  # Digits stay in line whether or not a star hangs on them.
  one, two = (line for line in lines if line[:8] in ('GEN-CNP ', 'NeuronMC'))
  assert '77.12 ' in one and '78.64*' in two
  assert one.index('77.12') == two.index('78.64')


def test_ten_columns_fit_a_console():
  wide = demo.table()
  columns = [NAME] + [
    Column(c.key, c.title, c.direction, c.fmt) for c in wide.columns[1:]
  ]
  lines = Table(wide.title, columns, wide.rows, wide.note).to_text()
  assert max(map(len, lines.splitlines())) <= 120


def test_text_shows_units_arrows_and_paper():
  text = demo.table().to_text()
  assert text.count('↑') == 5
  assert text.count('↓') == 4
  assert text.count('paper') == 5
  assert '\N{NO-BREAK SPACE}' not in text
  assert '59.1*   18.0' in text


def test_empty_table_has_a_head():
  text = Table('T', [NAME, Column('x', 'X')], []).to_text()
  assert 'Method' in text and 'X %' in text


def test_csv_holds_unrounded_values_and_the_papers():
  rows = list(csv.DictReader(io.StringIO(demo.table().to_csv())))
  assert [row['method'] for row in rows] == list(demo.METHODS)
  assert float(rows[0]['accuracy']) == 0.7712
  assert float(rows[0]['increase_rate_paper']) == 0.1320
  assert rows[2]['mean_increase_of_risers'] == ''
  assert 'agreement_paper' not in rows[0]


def test_json_round_trip():
  table = demo.table()
  text = table.to_json()
  assert Table.from_json(text) == table
  assert json.loads(text)['columns'][1]['direction'] == 'higher'


def test_json_is_strict():
  table = _table([np.float32(0.5), math.nan, np.int64(1)])
  values = [row['x'] for row in json.loads(table.to_json())['rows']]
  assert values == [0.5, None, 1]


def test_html_fragment():
  table = _table([0.5, None, 0.7], paper=True)
  html = table.to_html()
  assert html == table._repr_html_()
  assert '<strong>70.0</strong>' in html
  assert '>–</td>' in html
  assert 'title="higher is better">% ↑</td>' in html
  assert html.count('>paper<') == 1


def test_html_escapes():
  html = Table('T', [NAME], [{'method': '<b>&'}]).to_html()
  assert '&lt;b&gt;&amp;' in html and '<b>' not in html


@pytest.mark.parametrize(
  'make, words',
  [
    (lambda: Column('x', 'X', 'up'), ["'x'", 'direction', "'up'", "'higher'"]),
    (lambda: Column('x', 'X', fmt='int'), ["'x'", 'fmt', "'int'", "'count'"]),
    (lambda: _table([98.1]), ["'x'", '98.1', 'divide', '100']),
    (lambda: _table(['high']), ["'x'", "'high'", "fmt='text'"]),
    (lambda: Table('T', [NAME, NAME], []), ["'T'", 'method', 'twice']),
    (lambda: Table('T', [], []), ["'T'", 'no columns']),
  ],
)
def test_bad_input_names_field_value_and_remedy(make, words):
  with pytest.raises(ValueError) as error:
    make()
  for word in words:
    assert word in str(error.value)

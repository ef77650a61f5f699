"""Where heat peaks: shares counted by hand."""

import numpy as np
import pytest

from gencnp_jax.experiments import heat_peaks


def _map(place, shape=(2, 3), value=1.0):
  heat = np.full(shape, 0.1 * value)
  heat[place] = value
  return heat


def test_the_most_frequent_position_is_counted():
  cams = np.stack(
    [_map((0, 1)), _map((1, 2)), _map((0, 1), value=7), _map((0, 0))]
  )
  assert heat_peaks.peaks(cams) == {'same': 0.5, 'no_heat': 0.0}


def test_maps_without_heat_do_not_count_as_peaks():
  cams = np.stack([_map((0, 1)), np.zeros((2, 3)), np.zeros((2, 3))])
  found = heat_peaks.peaks(cams)
  assert found['same'] == 1.0
  assert found['no_heat'] == pytest.approx(2 / 3)
  assert heat_peaks.peaks(cams[1:]) == {'same': None, 'no_heat': 1.0}


def test_a_habit_stands_out_from_heat_that_follows_the_image():
  rng = np.random.default_rng(0)
  following = heat_peaks.peaks(rng.random((400, 4, 4)))
  habit = rng.random((400, 4, 4))
  habit[:, 2, 2] += 0.9
  assert following['same'] < 0.12
  assert heat_peaks.peaks(habit)['same'] > 0.5


def test_the_table_has_a_row_a_method():
  rows = [
    {'method': 'Full target', 'sparsity': 0.0, 'same': 0.2, 'no_heat': 0.0},
    {'method': 'Random', 'sparsity': 0.9, 'same': None, 'no_heat': 1.0},
  ]
  text = heat_peaks.table(rows, 16).to_text()
  assert '20.0' in text and 'of 16' in text

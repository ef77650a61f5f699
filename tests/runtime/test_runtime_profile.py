"""Profiles: which dispatches are recorded, and what the summary says."""

import jax
import jax.numpy as jnp
import pytest

from gencnp_jax.runtime import profile
from tests.training import tiny


@jax.jit
def _double(x):
  return jnp.sin(x @ x)


def _work(count, directory, dispatches):
  x = jnp.ones((64, 64)) / 64
  with profile.recorded(directory, dispatches):
    for _ in range(count):
      profile.step(x)
      x = _double(x)
      # The record may end in the middle of the next one.
      jax.block_until_ready(x)


def test_a_record_leaves_the_first_out_and_counts(tmp_path, caplog):
  caplog.set_level('INFO', logger='absl')
  _work(9, tmp_path, 3)
  found = profile.summarise(tmp_path)
  # Four devices are there, and one of them computes.
  assert {o.count for o in found.operations} == {3}
  assert 0 < found.busy <= found.wall
  seconds = [o.seconds for o in found.operations]
  assert seconds == sorted(seconds, reverse=True)
  assert (tmp_path / profile.SUMMARY).read_text() == f'{found}\n'
  assert str(found) in caplog.text
  assert all(o.name in str(found) for o in found.operations[:3])


def test_work_that_ends_early_is_recorded_to_its_end(tmp_path):
  _work(4, tmp_path, 30)
  assert {o.count for o in profile.summarise(tmp_path).operations} == {2}


def test_too_few_dispatches_are_a_word(tmp_path, caplog):
  _work(2, tmp_path, 3)
  assert '2 dispatches are too few' in caplog.text
  with pytest.raises(ValueError, match='holds no trace'):
    profile.summarise(tmp_path)


def test_none_is_asked_for(tmp_path):
  _work(5, tmp_path, 0)
  profile.step()
  assert not list(tmp_path.iterdir())


def test_an_error_leaves_no_recorder_behind(tmp_path):
  with pytest.raises(ZeroDivisionError), profile.recorded(tmp_path, 2):
    for _ in range(3):
      profile.step()
    raise ZeroDivisionError
  # Another record can begin.
  _work(5, tmp_path / 'next', 2)
  assert profile.summarise(tmp_path / 'next').operations


def test_the_busy_share_is_the_union_of_intervals():
  spans = [(0, 2), (1, 3), (1, 2), (5, 6), (6, 8)]
  assert profile._covered(spans) == 6


def test_a_training_is_recorded(tmp_path):
  with profile.recorded(tmp_path / 'profile', 2):
    tiny.run(tmp_path / 'run', every=0, epochs=2.0)
  found = profile.summarise(tmp_path / 'profile')
  # Of four devices in two steps each.
  assert 8 in {o.count for o in found.operations}

"""The sums of an epoch, and the steps of a dispatch."""

import json
import types

import jax.numpy as jnp
import numpy as np
import pytest

from gencnp_jax.training import epoch as epoch_lib
from gencnp_jax.training import pace as pace_lib


def _sums(*losses):
  count = np.full(len(losses), 8.0, np.float32)
  return {'loss': (8 * np.asarray(losses, np.float32), count)}


def test_sums_travel_through_a_checkpoint_exactly():
  whole, first = epoch_lib.Epoch({}), epoch_lib.Epoch({})
  whole.add(0, _sums(0.1, 0.2, 0.3))
  first.add(0, _sums(0.1))
  stored = json.loads(json.dumps(first.progress()))
  second = epoch_lib.Epoch(stored)
  second.add(1, _sums(0.2, 0.3))
  assert second.sums == whole.sums
  assert second.close()['loss'] == whole.close()['loss']
  assert second.sums == {}


def test_the_rate_is_that_of_this_start():
  epoch = epoch_lib.Epoch({'sums': {'loss': [80.0, 800.0]}})
  epoch.add(100, _sums(1.0))
  epoch._since -= 1.0
  assert epoch.close()['images_per_second'] == pytest.approx(8, rel=0.1)


@pytest.mark.parametrize('bad', [np.nan, np.inf])
def test_a_bad_step_is_named_and_those_before_are_kept(bad):
  epoch = epoch_lib.Epoch({})
  with pytest.raises(epoch_lib.NonFiniteLoss, match='at step 13') as raised:
    epoch.add(10, _sums(1.0, 2.0, bad, 4.0))
  assert raised.value.step == 13
  assert epoch.close()['loss'] == 1.5
  state = types.SimpleNamespace(
    variables={'a': jnp.ones(2), 'b': jnp.array([1, jnp.nan])}, training={}
  )
  named = raised.value.with_leaf(state)
  assert "['b'] is the first leaf that is not finite" in str(named)
  assert named.step == 13 and 'learning rate' in str(named)


def test_the_optimiser_is_looked_at_too():
  with pytest.raises(epoch_lib.NonFiniteLoss, match=r"\['mu'\].*step 7"):
    epoch_lib.check_finite(7, {'w': np.ones(2)}, {'mu': np.float32(np.inf)})
  epoch_lib.check_finite(7, {'w': np.ones(2, int)}, {'on': np.array([True])})


@pytest.fixture
def clock(monkeypatch):
  now = [0.0]
  monkeypatch.setattr(pace_lib.time, 'monotonic', lambda: now[0])
  monkeypatch.setattr(pace_lib.jax, 'default_backend', lambda: 'gpu')
  return now


def _runtime(steps=0):
  return types.SimpleNamespace(steps_per_dispatch=steps, dispatch_seconds=5.0)


def _dispatch(pace, clock, seconds, steps=None):
  clock[0] += seconds
  pace.done(steps or pace.steps)


def test_long_dispatches_are_shortened_once(clock):
  pace = pace_lib.Pace(_runtime(), {})
  assert pace.steps == 50 and pace.progress() == {}
  _dispatch(pace, clock, 100)  # Compilation.
  _dispatch(pace, clock, 20)
  assert pace.steps == 12  # 12.5 x .4 s
  _dispatch(pace, clock, 20)
  assert pace.steps == 12
  # A resumed run computes in the same portions.
  assert pace_lib.Pace(_runtime(), pace.progress()).steps == 12


def test_short_ones_stay(clock):
  pace = pace_lib.Pace(_runtime(), {})
  _dispatch(pace, clock, 100)
  _dispatch(pace, clock, 0.2)
  _dispatch(pace, clock, 60)
  assert pace.steps == 50 and pace.progress() == {'steps_per_dispatch': 50}


def test_what_is_no_whole_dispatch_is_not_measured(clock):
  pace = pace_lib.Pace(_runtime(), {})
  _dispatch(pace, clock, 100)
  _dispatch(pace, clock, 60, steps=3)
  _dispatch(pace, clock, 60)
  pace.pause()
  _dispatch(pace, clock, 60)
  assert pace.steps == 50
  _dispatch(pace, clock, 500)
  assert pace.steps == 1


def test_what_the_user_sets_stays(clock):
  pace = pace_lib.Pace(_runtime(8), {'steps_per_dispatch': 3})
  for _ in range(4):
    _dispatch(pace, clock, 100)
  assert pace.steps == 8

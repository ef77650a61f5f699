"""Schedules and optimisers against their formulas; the train state."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gencnp_jax import settings
from gencnp_jax.training import state
from tests.reference import losses


def _config(**fields):
  config = settings.defaults().target
  config.update(fields)
  return config


def test_one_cycle_peaks_at_the_share_of_warmup():
  schedule = state.learning_rate(
    _config(schedule='one_cycle', learning_rate=0.4, warmup=0.25), 200
  )
  rates = np.array([float(schedule(i)) for i in range(201)])
  assert np.argmax(rates) == 50
  np.testing.assert_allclose(rates[50], 0.4, rtol=1e-6)
  assert (np.diff(rates[:51]) > 0).all() and (np.diff(rates[50:]) < 0).all()
  assert 0 < rates[0] < 0.04 and rates[-1] < 1e-4
  # Cosine: half way up, half of the height.
  np.testing.assert_allclose(rates[25], (rates[0] + 0.4) / 2, rtol=1e-5)


@pytest.mark.parametrize('total', [1, 2, 3, 7])
def test_one_cycle_of_a_short_run_is_finite(total):
  schedule = state.learning_rate(_config(learning_rate=0.4), total)
  rates = [float(schedule(i)) for i in range(total)]
  assert np.isfinite(rates).all() and 0 < max(rates) < 0.401


def test_steps_drop_at_half_and_at_three_quarters():
  schedule = state.learning_rate(
    _config(schedule='steps', learning_rate=2.0), 40
  )
  for step, rate in ((0, 2), (19, 2), (21, 0.2), (29, 0.2), (31, 0.02)):
    np.testing.assert_allclose(float(schedule(step)), rate, rtol=1e-6)


def test_constant_is_constant():
  schedule = state.learning_rate(
    _config(schedule='constant', learning_rate=0.3), 10
  )
  rates = [float(schedule(i)) for i in range(11)]
  np.testing.assert_allclose(rates, 0.3, rtol=1e-6)


@pytest.mark.parametrize('clip_norm', [0.0, 1.0])
@pytest.mark.parametrize('weight_decay', [0.0, 0.1])
@pytest.mark.parametrize('name', ['sgd', 'adam'])
def test_optimiser_clips_then_decays_then_moves(name, weight_decay, clip_norm):
  """Another order gives other numbers: decay is not clipped, and has inertia."""
  config = _config(
    optimiser=name,
    learning_rate=0.2,
    momentum=0.8,
    weight_decay=weight_decay,
    clip_norm=clip_norm,
  )
  rng = np.random.default_rng(0)
  start = rng.normal(size=7)
  # Some longer than the limit, some shorter.
  sizes = np.array([3.0, 0.1, 1.0, 0.01, 2.0, 0.3])
  gradients = rng.normal(size=(6, 7)) * sizes[:, None]
  schedule = state.learning_rate(config, 6)
  rates = [float(schedule(i)) for i in range(6)]
  if name == 'sgd':
    expected = losses.sgd(start, gradients, rates, 0.8, weight_decay, clip_norm)
  else:
    expected = losses.adam(start, gradients, rates, weight_decay, clip_norm)
  optimiser = state.optimiser(config, 6)
  # Two leaves: the norm is that of all parameters together.
  cut = lambda x: {'a': jnp.asarray(x[:3]), 'b': jnp.asarray(x[3:])}  # noqa: E731
  params = cut(start)
  opt_state = optimiser.init(params)
  for gradient, wanted in zip(gradients, expected):
    updates, opt_state = optimiser.update(cut(gradient), opt_state, params)
    params = optax.apply_updates(params, updates)
    found = np.concatenate([params['a'], params['b']])
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=5e-6)


@pytest.mark.parametrize('batch_stats', [{}, {'bn': {'mean': jnp.zeros(2)}}])
def test_a_state_is_its_variables_and_its_training(batch_stats):
  variables = {'params': {'w': jnp.ones(2)}}
  if batch_stats:
    variables['batch_stats'] = batch_stats
  optimiser = state.optimiser(_config(), 4)
  made = state.TrainState.create(variables, optimiser)
  assert made.step == 0 and made.step.dtype == jnp.int32
  assert jax.tree.structure(made.variables) == jax.tree.structure(variables)
  again = state.TrainState.join(made.variables, made.training)
  assert jax.tree.structure(again) == jax.tree.structure(made)

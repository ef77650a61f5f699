"""Devices: shares of a batch, rings over devices, replicas."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gencnp_jax.runtime import devices


def test_the_suite_has_four_devices():
  assert jax.device_count() == 4


def test_share_divides_or_names_what_would():
  assert devices.share(12) == 3
  for wrong, legal in (
    (6, (4, 8)),
    (1, (4, 8)),
    (0, (4, 8)),
    (129, (128, 132)),
  ):
    with pytest.raises(ValueError, match=f'batch_size={wrong}') as error:
      devices.share(wrong)
    assert all(f' {size}' in str(error.value) for size in legal)
    for size in legal:
      devices.share(size)
  with pytest.raises(ValueError, match=r'target\.batch_size=2'):
    devices.share(2, 'target.batch_size')


def test_split_rows_puts_devices_first():
  rows = np.arange(3 * 8).reshape(3, 8)  # Three steps of a batch of eight.
  cut = devices.split_rows(rows, axis=1)
  assert cut.shape == (4, 3, 2)
  for device in range(4):
    np.testing.assert_array_equal(
      cut[device], rows[:, 2 * device : 2 * device + 2]
    )
  first = devices.split_rows(np.arange(8))
  np.testing.assert_array_equal(first.ravel(), np.arange(8))


@pytest.mark.parametrize('processes', [1, 2, 4])
def test_processes_share_the_rows_of_a_batch(processes, monkeypatch):
  monkeypatch.setattr(jax, 'process_count', lambda: processes)
  rows = []
  for index in range(processes):
    monkeypatch.setattr(jax, 'process_index', lambda i=index: i)
    rows += list(range(8))[devices.process_rows(8)]
  assert rows == list(range(8))


@pytest.mark.parametrize('rows', [1, 3])
def test_rows_are_numbered_and_shifted_over_the_global_batch(rows):
  x = np.random.default_rng(0).normal(size=(4, rows, 2)).astype(np.float32)

  def fn(x):
    return devices.global_row_numbers(rows), devices.next_row(x)

  numbers, shifted = devices.data_parallel(fn, (0,), (0, 0))(x)
  np.testing.assert_array_equal(np.ravel(numbers), np.arange(4 * rows))
  np.testing.assert_array_equal(
    np.reshape(shifted, (-1, 2)), np.roll(x.reshape(-1, 2), -1, axis=0)
  )


def test_next_row_has_a_gradient():
  """Of row r it goes to row r + 1, also over the border of a device."""
  x = np.arange(8, dtype=np.float32).reshape(4, 2)
  weights = np.arange(10, 18, dtype=np.float32).reshape(4, 2)

  def fn(x, w):
    return jax.grad(lambda x: jnp.sum(devices.next_row(x) * w))(x)

  gradient = devices.data_parallel(fn, (0, 0))(x, weights)
  np.testing.assert_array_equal(np.ravel(gradient), np.roll(weights.ravel(), 1))


def _step(reduce, state, x):
  """A step on replicated state, with or without its pmean."""
  gradient = x.mean()
  if reduce:
    gradient = jax.lax.pmean(gradient, devices.AXIS)
  return {'w': state['w'] - gradient, 'n': state['n'] + 1}


@pytest.mark.parametrize('reduce', [True, False])
def test_a_forgotten_pmean_is_noticed(reduce):
  state = devices.replicate({'w': jnp.ones(3), 'n': jnp.int32(0)})
  step = devices.data_parallel(
    functools.partial(_step, reduce), (None, 0), None
  )
  state = step(state, np.arange(8, dtype=np.float32).reshape(4, 2))
  if reduce:
    devices.assert_replicas_equal(state)
    np.testing.assert_allclose(devices.to_host(state)['w'], 1 - 3.5)
  else:
    with pytest.raises(AssertionError, match=r"\['w'\]"):
      devices.assert_replicas_equal(state)


def test_equal_replicas_may_hold_nan_and_any_type():
  devices.assert_replicas_equal(
    devices.replicate(
      {
        'nan': jnp.full(2, jnp.nan),
        'low': jnp.full(2, jnp.nan, jnp.bfloat16),
        'bits': jnp.array([True]),
        'number': 3,
        'host': np.zeros(2),
      }
    )
  )


def test_to_host_copies_the_first_device():
  tree = {'a': jnp.arange(3, dtype=jnp.bfloat16), 'b': (2.5, None)}
  host = devices.to_host(devices.replicate(tree))
  assert isinstance(host['a'], np.ndarray) and host['a'].dtype == jnp.bfloat16
  np.testing.assert_array_equal(host['a'], np.arange(3))
  assert host['b'] == (2.5, None)


def test_what_is_on_the_host_outlives_donation():
  """A checkpoint is written while the next step takes the state's memory."""
  step = devices.data_parallel(
    lambda s, x: s + jax.lax.psum(x.sum(), devices.AXIS),
    (None, 0),
    None,
    donate_argnums=(0,),
  )
  state = devices.replicate(jnp.zeros(1000))
  ones = np.ones((4, 1), np.float32)
  state = step(state, ones)
  kept = devices.to_host(state)
  for _ in range(3):
    state = step(state, ones)
  np.testing.assert_array_equal(kept, np.full(1000, 4.0))
  np.testing.assert_array_equal(devices.to_host(state), np.full(1000, 16.0))

"""The loop: it learns, counts every image once, and stops at a bad loss."""

import dataclasses
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gencnp_jax import data
from gencnp_jax.runtime import checkpoints, devices, run_log
from gencnp_jax.training import feed, loop
from gencnp_jax.training import tasks as tasks_lib
from tests.reference import losses
from tests.training import tiny


def _log(path, split='train'):
  records = run_log.read(path / 'log.jsonl')
  return [r for r in records if r['split'] == split]


def _steps(path):
  names = [p.name for p in (path / 'checkpoints').iterdir()]
  return sorted(int(name) for name in names if name.isdigit())


def _assert_same(a, b):
  """Bit for bit."""
  assert checkpoints.checksums(devices.to_host(a)) == checkpoints.checksums(
    devices.to_host(b)
  )


def test_a_target_learns(tmp_path):
  state = tiny.run(tmp_path, every=0, epochs=12.0, schedule='one_cycle')
  log = _log(tmp_path)
  assert [r['step'] for r in log] == [4 * e for e in range(1, 13)]
  assert log[-1]['loss'] < 0.5 * log[0]['loss']
  assert _log(tmp_path, 'validation')[-1]['accuracy'] > 0.9
  assert _steps(tmp_path) == [44, 48]
  assert int(state.step) == 48
  # That of the last step done, at the end of its cycle.
  assert 0 < log[-1]['learning_rate'] < 1e-3
  assert all(r['images_per_second'] > 0 for r in log)


def test_a_gencnp_learns_and_its_target_stays_bit_for_bit(
  tmp_path, monkeypatch
):
  """What the step had on the devices is looked at, not the caller's copy."""
  replicate, seen = devices.replicate, []

  def note(tree):
    seen.append(replicate(tree))
    return seen[-1]

  monkeypatch.setattr(devices, 'replicate', note)
  target = tiny.target()
  tiny.run(
    tmp_path,
    'gencnp',
    frozen=(target, None),
    every=0,
    epochs=6.0,
    learning_rate=0.02,
  )
  log = _log(tmp_path)
  assert log[-1]['loss'] < 0.9 * log[0]['loss']
  # The first thing on the devices is (state, frozen).
  _, (used, _) = seen[0]
  devices.assert_replicas_equal(used)
  _assert_same(used.variables, tiny.target().variables)
  _assert_same(target.variables, tiny.target().variables)


def test_validation_counts_each_image_once(tmp_path):
  """13 images on four devices, one batch of all and batches of four."""
  state = tiny.run(tmp_path)
  held_out = tiny.splits().validation
  logits = tiny.Net().apply(
    devices.to_host(state.variables), tiny.PREPROCESS(held_out.images)
  )
  loss, correct = losses.classification(logits, held_out.labels)
  expected = {'loss': loss.mean(), 'accuracy': correct.mean()}
  logged = _log(tmp_path, 'validation')[-1]
  assert logged['step'] == 4
  task = tiny.classification()
  small = loop.evaluate(task, state, None, held_out, batch_size=4)
  for key, value in expected.items():
    np.testing.assert_allclose(logged[key], value, rtol=1e-5)
    np.testing.assert_allclose(small[key], value, rtol=1e-5)


def test_an_epoch_logs_the_mean_over_its_images(tmp_path):
  tiny.run(tmp_path / 'steps', epochs=2.0)
  tiny.run(tmp_path / 'epochs', every=0, epochs=2.0)
  each = _log(tmp_path / 'steps')
  for e, record in enumerate(_log(tmp_path / 'epochs')):
    part = each[4 * e : 4 * e + 4]
    for key in ('loss', 'accuracy'):
      mean = np.mean([r[key] for r in part])
      np.testing.assert_allclose(record[key], mean, rtol=1e-6)
    assert record['learning_rate'] == part[-1]['learning_rate']


def test_several_steps_a_dispatch_are_the_same_steps(tmp_path):
  """Three and one, since a dispatch ends where an epoch does."""
  one = tiny.run(tmp_path / 'one', every=0, epochs=2.0)
  three = tiny.run(tmp_path / 'three', every=0, dispatch=3, epochs=2.0)
  assert int(three.step) == 8
  for a, b in zip(_log(tmp_path / 'one'), _log(tmp_path / 'three')):
    np.testing.assert_allclose(a['loss'], b['loss'], rtol=1e-5)
  for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(three)):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_images_on_the_host_are_the_same_training(tmp_path, monkeypatch):
  on_device = tiny.run(tmp_path / 'device')
  monkeypatch.setattr(feed, 'fits', lambda size: False)
  on_host = tiny.run(tmp_path / 'host')
  # Two programs, which need not round alike.
  for a, b in zip(jax.tree.leaves(on_device), jax.tree.leaves(on_host)):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
  np.testing.assert_allclose(
    [r['loss'] for r in _log(tmp_path / 'device')],
    [r['loss'] for r in _log(tmp_path / 'host')],
    rtol=1e-5,
  )


@pytest.mark.parametrize('on_device', [True, False])
def test_the_augmentation_is_that_of_the_global_rows(
  on_device, tmp_path, monkeypatch
):
  """What four devices are fed, put together, is what one would be fed."""
  monkeypatch.setattr(feed, 'fits', lambda size: on_device)
  seen = {}

  class Look(tasks_lib.Classification):
    def loss(self, params, batch_stats, frozen, batch, progress=1.0):
      images, labels = batch
      first = devices.global_row_numbers(len(images))[0]
      jax.debug.callback(
        lambda r, x, y: seen.update({int(r): (x, y)}), first, images, labels
      )
      return super().loss(params, batch_stats, frozen, batch, progress)

  task = Look(tiny.Net(devices.AXIS), tiny.PREPROCESS)
  tiny.run(tmp_path, task=task, epochs=0.25)
  jax.effects_barrier()
  train = tiny.splits().train
  rows = data.indices(3, 0, tiny.BATCH, 36)
  expected = data.augment(
    train.images[rows], 3, 0, jnp.arange(tiny.BATCH), pad=1, flip=True
  )
  assert sorted(seen) == [0, 2, 4, 6]
  found = np.concatenate([seen[r][0] for r in sorted(seen)])
  np.testing.assert_array_equal(found, expected)
  labels = np.concatenate([seen[r][1] for r in sorted(seen)])
  np.testing.assert_array_equal(labels, train.labels[rows])


def test_another_seed_is_another_run(tmp_path):
  a = tiny.run(tmp_path / 'a')
  b = tiny.run(tmp_path / 'b', seed=4)
  assert checkpoints.checksums(devices.to_host(a.params)) != (
    checkpoints.checksums(devices.to_host(b.params))
  )


def test_distillation_needs_no_labels(tmp_path):
  loaded = tiny.splits()
  blind = data.Splits(*(dataclasses.replace(s, labels=None) for s in loaded))
  a = tiny.run(tmp_path / 'a', 'gencnp', loaded=loaded)
  b = tiny.run(tmp_path / 'b', 'gencnp', loaded=blind)
  _assert_same(a, b)


def test_no_validation_share_logs_training_alone(tmp_path):
  tiny.run(tmp_path, loaded=tiny.splits(validation=0))
  assert len(_log(tmp_path)) == 4 and not _log(tmp_path, 'validation')


def test_bfloat16_computes_and_float32_keeps(tmp_path):
  state = tiny.run(tmp_path, task=tiny.classification('bfloat16'))
  assert {x.dtype for x in jax.tree.leaves(state.params)} == {np.dtype('f4')}
  assert {x.dtype for x in jax.tree.leaves(state.batch_stats)} == {
    np.dtype('f4')
  }
  assert np.isfinite([r['loss'] for r in _log(tmp_path)]).all()
  # It did compute in bfloat16: the same run differs by about its precision.
  tiny.run(tmp_path / 'wide')
  wide, low = _log(tmp_path / 'wide')[0]['loss'], _log(tmp_path)[0]['loss']
  assert 0 < abs(wide - low) < 0.05
  kept = checkpoints.read_variables(tmp_path / 'checkpoints', state.variables)
  assert {x.dtype for x in jax.tree.leaves(kept)} == {np.dtype('f4')}


def test_bfloat16_distillation_gives_float32(tmp_path):
  task = tiny.distillation(axis_name=None, dtype='bfloat16')
  frozen = (tiny.target(), None)
  images = jnp.asarray(tiny.splits().train.images[:4])

  def step(key):
    variables = task.init(key, frozen, images)
    gradient = jax.value_and_grad(task.loss, has_aux=True)
    return variables, gradient(
      variables['params'], variables['batch_stats'], frozen, (images, None)
    )

  shapes = jax.eval_shape(step, jax.random.key(0))
  assert {x.dtype for x in jax.tree.leaves(shapes)} == {np.dtype('f4')}


class _Poisoned(tasks_lib.Classification):
  """A loss of NaN in the batch that has an all-white image."""

  def loss(self, params, batch_stats, frozen, batch, progress=1.0):
    loss, (stats, sums) = super().loss(
      params, batch_stats, frozen, batch, progress
    )
    white = (batch[0].min(axis=(1, 2, 3)) == 255).any()
    value, count = sums['loss']
    sums['loss'] = jnp.where(white, jnp.nan, value), count
    return jnp.where(white, jnp.nan, loss), (stats, sums)


@pytest.mark.parametrize(('every', 'dispatch'), [(1, 0), (0, 3)])
def test_a_bad_loss_names_its_step_and_keeps_the_good(
  tmp_path, every, dispatch, monkeypatch
):
  # No crop, or the black border would hide what is white.
  monkeypatch.setattr(data, 'augment', lambda images, *_, **__: images)
  loaded = tiny.splits()
  order = [set(data.indices(3, s, tiny.BATCH, 36)) for s in range(8)]
  # An image that the first epoch leaves out, and the second does not.
  white = min(set.union(*order[4:]) - set.union(*order[:4]))
  loaded.train.images[white] = 255
  bad = next(s for s in range(4, 8) if white in order[s]) + 1
  task = _Poisoned(tiny.Net(devices.AXIS), tiny.PREPROCESS)
  options = {'every': every, 'dispatch': dispatch, 'epochs': 2.0}
  with pytest.raises(
    loop.NonFiniteLoss, match=f'nan at step {bad}\\.'
  ) as ended:
    tiny.run(tmp_path, task=task, loaded=loaded, **options)
  # This loss passes no gradient on.
  assert 'All leaves are finite' in str(ended.value)
  # What was measured before it is in the log.
  assert _log(tmp_path)[-1]['step'] == bad - 1
  good = bad - 1 if every else 4
  assert _steps(tmp_path)[-1] == good
  assert all(np.isfinite(r['loss']) for r in _log(tmp_path))
  # From there the same run without the bad image goes on.
  state = tiny.run(tmp_path, task=task, loaded=tiny.splits(), **options)
  assert int(state.step) == 8
  assert np.isfinite(_log(tmp_path)[-1]['loss'])


def test_a_rate_that_explodes_stops(tmp_path):
  with pytest.raises(
    loop.NonFiniteLoss, match=r'step [23].*first leaf.*learning rate'
  ):
    tiny.run(
      tmp_path,
      learning_rate=1e30,
      clip_norm=0.0,
      epochs=2.0,
    )


class _BadGradient(tasks_lib.Classification):
  """A finite loss with a gradient of NaN."""

  def loss(self, params, batch_stats, frozen, batch, progress=1.0):
    loss, aux = super().loss(params, batch_stats, frozen, batch, progress)
    return loss + jnp.sqrt(jnp.sum(params['Dense_0']['bias'] * 0.0)), aux


def test_parameters_that_are_not_finite_are_not_saved(tmp_path):
  """The loss of the step that spoils them is finite still."""
  task = _BadGradient(tiny.Net(devices.AXIS), tiny.PREPROCESS)
  with pytest.raises(loop.NonFiniteLoss, match=r'bias.*at step 1\.'):
    tiny.run(tmp_path, task=task)
  assert _steps(tmp_path) == []


class _Total(Exception):
  pass


@pytest.mark.parametrize(
  ('epochs', 'images', 'steps'),
  [(1.0, 36, 4), (0.3, 36, 2), (0.01, 36, 1), (1.1, 80, 11), (2.5, 36, 10)],
)
def test_epochs_may_be_fractional(tmp_path, monkeypatch, epochs, images, steps):
  """Rounded up to whole steps, but not by the last bit of a product."""

  def total_is(config, total):
    raise _Total(total)

  monkeypatch.setattr(loop.state_lib, 'optimiser', total_is)
  with pytest.raises(_Total) as raised:
    tiny.run(tmp_path, epochs=epochs, loaded=tiny.splits(images))
  assert raised.value.args == (steps,)


@pytest.mark.parametrize(
  ('batch_size', 'message'),
  [
    (6, '4 devices must divide it; 4 or 8'),
    (40, 'larger than the 36 training images'),
  ],
)
def test_batch_sizes_that_will_not_do(tmp_path, batch_size, message):
  with pytest.raises(ValueError, match=f'batch_size={batch_size}.*{message}'):
    tiny.run(tmp_path, batch_size=batch_size)


def test_tensorboard_without_its_package_stops_at_once(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'tensorboardX', None)
  with pytest.raises(ValueError, match='tensorboardX'):
    tiny.run(tmp_path, tensorboard=True)
  assert _steps(tmp_path) == []


def test_fits_asks_the_device(monkeypatch):
  class Device:
    def memory_stats(self):
      return {'bytes_limit': 1000}

  assert feed.fits(10**15)  # A CPU does not say.
  monkeypatch.setattr(jax, 'local_devices', lambda: [Device()])
  assert feed.fits(200) and not feed.fits(400)

"""`fit`: a GEN-CNP for a target that no config knows."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gencnp_jax
from gencnp_jax import settings
from gencnp_jax.choices import SettingsError
from gencnp_jax.target import Preprocess, Target
from tests import tiny

QUICK = {'epochs': 1, 'batch_size': 16, 'hidden': 8}
IMAGES = tiny.images(48)


def _same(one, other):
  a, b = (e(IMAGES[:5]) for e in (one, other))
  for x, y in zip(a.masks, b.masks, strict=True):
    np.testing.assert_array_equal(x, y)


@pytest.fixture(scope='module')
def fitted(tmp_path_factory):
  """A fitted explainer, and its workdir."""
  path = tmp_path_factory.mktemp('fitted')
  return gencnp_jax.fit(tiny.target(), IMAGES, QUICK, workdir=path), path


def test_it_explains(fitted):
  explain, _ = fitted
  found = explain(IMAGES)
  assert found.method == 'GEN-CNP'
  assert [m.shape[1:] for m in found.masks] == list(tiny.SHAPES)
  assert ((found.firing_sparsity > 0) & (found.firing_sparsity < 1)).all()
  np.testing.assert_allclose(found.logits, tiny.target()(IMAGES), atol=1e-5)


def test_a_finished_one_returns_at_once_and_opens_by_path(fitted, capsys):
  explain, path = fitted
  before = tiny.files(path)
  _same(explain, gencnp_jax.fit(tiny.target(), IMAGES, QUICK, workdir=path))
  assert tiny.files(path) == before
  assert 'Trained' not in capsys.readouterr().out
  _same(explain, gencnp_jax.load_explainer(path, tiny.target()))
  _same(explain, gencnp_jax.load_explainer(path, target=tiny.target()))


def test_an_interrupted_one_goes_on(fitted, tmp_path, monkeypatch):
  explain, _ = fitted
  from gencnp_jax.training import loop

  save, saved = loop.checkpoints_lib.Checkpoints.save, []

  def once(self, step, *trees):
    save(self, step, *trees)
    saved.append(step)
    if len(saved) == 1:
      raise KeyboardInterrupt

  monkeypatch.setattr(loop.checkpoints_lib.Checkpoints, 'save', once)
  config = settings.defaults()
  config.runtime.checkpoint_every = 2
  config.gencnp.update(QUICK)
  with pytest.raises(KeyboardInterrupt):
    gencnp_jax.fit(tiny.target(), IMAGES, config, workdir=tmp_path)
  again = gencnp_jax.fit(tiny.target(), IMAGES, config, workdir=tmp_path)
  assert saved == [2, 3]
  _same(explain, again)


def test_it_says_its_size_and_what_came_of_it(capsys):
  gencnp_jax.fit(tiny.target(), IMAGES, QUICK)
  said = capsys.readouterr().out
  assert 'GEN-CNP for 2 activations of 384 neurons: 4.86 k parameters' in said
  assert 'Trained in' in said and 'agreement' in said


def test_floats_and_mean_ablation_of_a_target_without_preprocess():
  target = tiny.target(preprocess=False)
  floats = tiny.target().preprocess(IMAGES)
  explain = gencnp_jax.fit(target, floats, QUICK | {'off': 'mean'})
  means = [a.mean(0) for a in target.record(jnp.asarray(floats))[1]]
  for found, expected in zip(explain.off, means, strict=True):
    np.testing.assert_allclose(found, expected, atol=1e-5)
  assert explain(floats[:2]).masks[0].shape == (2, 8, 8, 4)


def test_grey_rectangles_fully_connected_layers_and_keys():
  """One channel, 12 x 8, a ReLU without a map, a random state in variables."""

  def net(variables, images):
    x = jnp.maximum(images @ variables['a'], 0)
    x = x.reshape(-1, 6, 2, 4, 2, 3).mean((2, 4))
    x = jnp.maximum(x - 0.1, 0).reshape(x.shape[0], -1)
    return jnp.maximum(x @ variables['b'], 0) @ variables['c']

  rng = np.random.default_rng(0)
  variables = {
    'a': rng.normal(size=(1, 3)).astype(np.float32),
    'b': rng.normal(size=(72, 9)).astype(np.float32),
    'c': rng.normal(size=(9, 4)).astype(np.float32),
    'state': jax.random.key(1),
  }
  target = Target(net, variables)
  images = rng.random((32, 12, 8, 1), np.float32)
  explain = gencnp_jax.fit(target, images, QUICK)
  shapes = [m.shape for m in explain(images).masks]
  assert shapes == [(32, 12, 8, 3), (32, 6, 4, 3), (32, 9)]


def test_a_target_of_fully_connected_layers_alone():
  def net(variables, images):
    x = images.reshape(images.shape[0], -1)
    return jnp.maximum(x @ variables, 0) @ variables.T[:, :4]

  weights = np.random.default_rng(0).normal(size=(12, 6)).astype(np.float32)
  images = np.random.default_rng(1).random((32, 2, 2, 3), np.float32)
  explain = gencnp_jax.fit(Target(net, weights), images, QUICK)
  assert explain(images).masks[0].shape == (32, 6)


@pytest.mark.parametrize(
  'config, message',
  [
    ({'epoch': 2}, "config: 'epoch' is unknown.* Did you mean 'epochs'"),
    ({'epochs': 'a'}, r"config\['epochs'\]='a'"),
    ('evidence', r"config is str.*settings\.OBJECTIVES\['evidence'\]"),
    (np.zeros(48, int), 'config is ndarray.*No labels are needed'),
    ({'beta': -1.0}, 'config.gencnp.beta=-1.0'),
    ({'dtype': 'float16'}, "'float16' is unknown"),
    ({'kernel_sizes': (4, 0)} | QUICK, r'kernel_sizes\[0\]=4'),
  ],
)
def test_settings_that_are_not_legal(config, message):
  error = ValueError if 'kernel_sizes' in config else SettingsError
  with pytest.raises(error, match=message):
    gencnp_jax.fit(tiny.target(), IMAGES, config)


def test_a_batch_that_is_larger_than_the_images():
  with pytest.raises(ValueError, match='batch_size=128 is larger than the 48'):
    gencnp_jax.fit(tiny.target(), IMAGES)


def test_a_call_that_trained_nothing_binds_no_later_one(tmp_path):
  with pytest.raises(ValueError, match='larger than the 48'):
    gencnp_jax.fit(tiny.target(), IMAGES, {'hidden': 8}, workdir=tmp_path)
  gencnp_jax.fit(tiny.target(), IMAGES, QUICK, workdir=tmp_path)
  with pytest.raises(ValueError, match='made by another config'):
    gencnp_jax.fit(tiny.target(), IMAGES, {'hidden': 4}, workdir=tmp_path)


def test_arguments_of_another_kind_are_named():
  with pytest.raises(ValueError, match=r'target is function; pass Target\('):
    gencnp_jax.fit(lambda v, x: x, IMAGES)
  with pytest.raises(ValueError, match="memory_gb='1': must be above 0"):
    gencnp_jax.fit(tiny.target(), IMAGES, QUICK, memory_gb='1')


def test_too_large_is_refused_with_what_fits():
  with pytest.raises(ValueError) as error:
    gencnp_jax.fit(tiny.target(), IMAGES, memory_gb=0.003)
  said = str(error.value)
  assert 'memory_gb=0.003' in said
  assert 'hidden=' in said and "h' x w'" in said and 'relus=' in said
  with pytest.raises(ValueError, match='No hidden, embedding'):
    gencnp_jax.fit(tiny.target(), IMAGES, memory_gb=1e-5)


def test_another_target_is_not_taken_for_the_one(fitted):
  _, path = fitted
  with pytest.raises(ValueError, match=r'load_explainer\(workdir, target='):
    gencnp_jax.load_explainer(path)
  moved = tiny.target().replace(
    variables=jax.tree.map(lambda x: x + 1, tiny.target().variables)
  )
  with pytest.raises(ValueError, match='variables are not those'):
    gencnp_jax.load_explainer(path, moved)
  fewer = tiny.target().replace(relus=(0,))
  with pytest.raises(ValueError, match='its activations are'):
    gencnp_jax.load_explainer(path, fewer)
  with pytest.raises(ValueError, match=r'target\.checksum'):
    gencnp_jax.fit(moved, IMAGES, QUICK, workdir=path)


def test_other_images_are_another_run(fitted):
  _, path = fitted
  with pytest.raises(ValueError, match=r'images\.checksum'):
    gencnp_jax.fit(tiny.target(), tiny.images(48, 1), QUICK, workdir=path)


def test_the_target_is_known_by_more_than_its_variables(fitted):
  _, path = fitted
  other = tiny.target().replace(preprocess=Preprocess((0,) * 3, (1,) * 3))
  with pytest.raises(ValueError, match='target: preprocess='):
    gencnp_jax.load_explainer(path, other)


def test_integers_are_not_taken_for_floats():
  with pytest.raises(ValueError, match='images are int32'):
    gencnp_jax.fit(tiny.target(), IMAGES.astype(np.int32), QUICK)
  for memory in (0, -1.0):
    with pytest.raises(ValueError, match='memory_gb='):
      gencnp_jax.fit(tiny.target(), IMAGES, QUICK, memory_gb=memory)


def test_images_that_the_target_does_not_take():
  target = Target(tiny.TinyNet().apply, {}, Preprocess((0.5,), (0.5,)))
  with pytest.raises(ValueError, match='3 channels'):
    gencnp_jax.fit(target, IMAGES, QUICK)
  with pytest.raises(ValueError, match='images'):
    gencnp_jax.fit(tiny.target(), IMAGES[0], QUICK)

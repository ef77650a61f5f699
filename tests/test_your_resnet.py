"""The script with a model of a user's own, at a toy size."""

import csv
import dataclasses
import importlib.util
import pathlib
import sys

import jax
import numpy as np
import pytest
from flax import nnx

import gencnp_jax
from gencnp_jax import data, explainers, settings

PATH = pathlib.Path(__file__).parent.parent / 'launch/your_resnet.py'


@pytest.fixture(scope='module')
def script():
  spec = importlib.util.spec_from_file_location(PATH.stem, PATH)
  module = importlib.util.module_from_spec(spec)
  sys.modules[PATH.stem] = module  # Where dataclasses look names up.
  spec.loader.exec_module(module)
  yield module
  del sys.modules[PATH.stem]


def _digits(limit=4):
  config = settings.defaults().data
  config.name, config.image_size, config.limit = 'digits', 8, limit
  return data.load(config).train


def test_it_trains_fits_compares_and_goes_on(
  script, tmp_path, capsys, monkeypatch
):
  # Maps of 8, 4 and 2, and one pass each: what compiles fast.
  gencnp = {'hidden': 4, 'epochs': 1, 'kernel_sizes': (7,) * 3 + (3,) * 4}
  small = {'side': 8, 'width': 2, 'gencnp': gencnp, 'sparsities': ()}
  monkeypatch.setattr(
    script, 'SMOKE', dataclasses.replace(script.SMOKE, **small)
  )
  monkeypatch.setattr(script, 'BASELINES', (explainers.NeuronMCT,))
  monkeypatch.setattr(script.compilation, 'use_cache', lambda: None)
  monkeypatch.setattr(script.console, 'set_up', lambda: None)
  options = ['--smoke', '--epochs=1', '--blocks=1', '--limit=12']
  monkeypatch.setattr(sys, 'argv', ['x', *options, f'--workdir={tmp_path}'])
  script.main()
  said = capsys.readouterr().out
  assert '7 activations of 576 neurons' in said and 'Class IoU' in said
  results = tmp_path / 'results'
  assert (results / 'pathways.png').stat().st_size > 0
  with (results / 'faithfulness.csv').open() as file:
    rows = list(csv.DictReader(file))
  assert [row['method'] for row in rows] == ['GEN-CNP', 'NeuronMCT']
  # A baseline keeps as many neurons as GEN-CNP does on average.
  own, other = (float(row['firing_sparsity']) for row in rows)
  np.testing.assert_allclose(other, own, atol=1 / 576)

  # A second start takes the model from its file; `load_explainer` refuses a
  # target whose parameters are not those that were fitted.
  monkeypatch.setattr(script, 'train', None)
  images = _digits(limit=0)
  model = script.ResNet(1, 2, 10, nnx.Rngs(5))
  path = tmp_path / 'resnet8.npz'
  script.load_or_train(model, images, script.SMOKE, path)
  target = script.as_target(model, images)
  gencnp_jax.load_explainer(tmp_path / 'gencnp', target)


def test_the_target_says_what_the_model_says(script):
  images = _digits()
  model = script.ResNet(2, 2, 10, nnx.Rngs(1))
  target = script.as_target(model, images)
  shapes = ((8, 8, 2),) * 5 + ((4, 4, 4),) * 4 + ((2, 2, 8),) * 4
  assert target.activation_shapes((8, 8, 3)) == shapes
  x = (images.images / np.float32(255) - images.mean) / images.std
  expected = model(x.astype(np.float32))
  found, activations = jax.jit(lambda t, x: t.record(x))(target, images.images)
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
  for activation in activations:
    assert (activation >= 0).all() and (activation > 0).any()

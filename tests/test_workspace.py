"""Checkpoints opened by path alone: golden, of other device counts, missing."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest

import gencnp_jax
from gencnp_jax import workspace
from gencnp_jax.runtime.checkpoints import CheckpointError
from tests import compilation, tiny

GOLDEN = pathlib.Path(__file__).parent / 'golden' / 'run_2026_11_23.zip'
"""A tiny run of the code of 2026-11-23, trained on four devices, and what it
said of `tiny.images(4)`."""


@pytest.fixture(scope='module')
def golden(tmp_path_factory):
  folder = tmp_path_factory.mktemp('golden')
  with zipfile.ZipFile(GOLDEN) as archive:
    archive.extractall(folder)
  return folder


def _check(found, expected):
  np.testing.assert_allclose(found.logits, expected.logits, atol=1e-4)
  differ = [
    np.mean(a != b) for a, b in zip(found.masks, expected.masks, strict=True)
  ]
  assert max(differ) < 0.01  # Scores within rounding of a bound.


def test_a_checkpoint_of_an_earlier_version_opens(golden):
  with tiny.in_the_zoo():
    explain = gencnp_jax.load_explainer(golden)
  expected = gencnp_jax.Explanation.load(golden / 'explanation.npz')
  _check(explain(tiny.images(4)), expected)
  about = gencnp_jax.about(golden)
  assert about['class_names'] == [str(i) for i in range(10)]
  assert about['image_shape'] == [8, 8, 3]


def test_a_checkpoint_of_four_devices_opens_on_one(golden, tmp_path):
  code = f"""
import jax, gencnp_jax
from tests import tiny
assert jax.device_count() == 1
with tiny.in_the_zoo():
  explain = gencnp_jax.load_explainer({str(golden)!r})
explain(tiny.images(4)).save({str(tmp_path / 'one.npz')!r})
"""
  env = os.environ | {
    'XLA_FLAGS': compilation.QUICK,
    'JAX_PLATFORMS': 'cpu',
    'PYTHONPATH': str(pathlib.Path(__file__).parents[1]),
  }
  subprocess.run([sys.executable, '-c', code], check=True, env=env)
  _check(
    gencnp_jax.Explanation.load(tmp_path / 'one.npz'),
    gencnp_jax.Explanation.load(golden / 'explanation.npz'),
  )


@pytest.mark.parametrize(
  'part', ['', 'gencnp', 'gencnp/checkpoints', 'gencnp/checkpoints/4']
)
def test_any_folder_of_a_run_down_to_a_checkpoint_opens_it(golden, part):
  assert workspace.find(golden / part, 'gencnp') == golden
  assert gencnp_jax.about(golden / part)['name'] == 'tiny'


def test_a_path_without_a_checkpoint_lists_what_is_there(golden, tmp_path):
  runs = tmp_path / 'runs'
  (runs / 'cifar').mkdir(parents=True)
  (runs / 'notes.txt').write_text('')
  for load in (gencnp_jax.load_explainer, gencnp_jax.load_target):
    with pytest.raises(CheckpointError, match=r'holds cifar, notes\.txt\.'):
      load(runs)
    with pytest.raises(CheckpointError, match=r'runs exists, and holds cifar'):
      load(runs / 'cifra')
    with pytest.raises(CheckpointError, match=r'cifar: .* is empty'):
      load(runs / 'cifar')
  near = golden.parent
  with pytest.raises(CheckpointError, match=f'Trained ones are in .*{golden}'):
    gencnp_jax.load_explainer(near)
  with pytest.raises(CheckpointError, match='there is no checkpoint'):
    gencnp_jax.about(runs)


def test_many_entries_are_not_all_listed(tmp_path):
  for i in range(12):
    (tmp_path / f'{i:02}').mkdir()
  with pytest.raises(CheckpointError, match='06, 07 and 4 more'):
    gencnp_jax.load_target(tmp_path)


def test_another_format_is_said(golden, tmp_path):
  copy = tmp_path / 'copy'
  with zipfile.ZipFile(GOLDEN) as archive:
    archive.extractall(copy)
  path = copy / 'target' / 'checkpoints' / '8' / 'about' / 'metadata'
  about = json.loads(path.read_text())
  path.write_text(json.dumps(about | {'format': 99}))
  for load in (gencnp_jax.load_target, gencnp_jax.about):
    with pytest.raises(CheckpointError, match='format 99; this version reads'):
      load(copy)


def test_a_target_alone_does_not_take_the_gencnp_around_it(golden, tmp_path):
  outer = tmp_path / 'outer'
  shutil.copytree(golden, outer)
  shutil.copytree(golden / 'target', outer / 'inner' / 'target')
  assert workspace.find(outer / 'inner', 'target') == outer / 'inner'
  with pytest.raises(CheckpointError, match='no checkpoint here of a GEN-CNP'):
    workspace.find(outer / 'inner', 'gencnp')


def test_a_new_folder_in_a_run_is_a_run_of_its_own(golden, tmp_path):
  outer = shutil.copytree(golden, tmp_path / 'outer')
  (outer / 'new').mkdir()
  for stage in ('target', 'gencnp'):
    with pytest.raises(CheckpointError, match='there is no checkpoint here'):
      workspace.find(outer / 'new', stage)


def test_a_run_of_its_own_target_takes_no_other(golden):
  with tiny.in_the_zoo():
    target = gencnp_jax.load_target(golden)
    with pytest.raises(ValueError, match='holds its own target'):
      gencnp_jax.load_explainer(golden, target)

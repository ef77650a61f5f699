"""A trained workdir copied for others."""

import json
import pathlib
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gencnp_jax
from gencnp_jax import workspace
from gencnp_jax.runtime import checkpoint_files, checkpoints
from gencnp_jax.runtime.checkpoints import CheckpointError
from tests import tiny


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """A finished run whose off neurons are at their mean."""
  path = tmp_path_factory.mktemp('run') / 'tiny'
  stages = 'target,gencnp'
  tiny.run(path, stages=stages, **{'gencnp.off': 'mean', 'gencnp.hidden': 64})
  return path


def _variables(path, stage):
  directory = workspace.checkpoint_directory(path, stage)
  step = checkpoint_files.newest(directory)
  return checkpoint_files.read(directory / str(step), 'variables')


def _bytes(path):
  return sum(
    p.stat().st_size for p in pathlib.Path(path).rglob('*') if p.is_file()
  )


@pytest.mark.parametrize('dtype', ['bfloat16', 'float32'])
def test_parameters_are_rounded_and_nothing_else(trained, tmp_path, dtype):
  out = gencnp_jax.share_workdir(trained, tmp_path / 'out', dtype)
  for stage in ('target', 'gencnp'):
    there, copy = _variables(trained, stage), _variables(out, stage)
    expected = there | {
      'params': jax.tree.map(
        lambda x: np.asarray(jnp.asarray(x, dtype), np.float32), there['params']
      )
    }
    jax.tree.map(np.testing.assert_array_equal, copy, expected)
  assert _bytes(out) < _bytes(trained) / (2 if dtype == 'float32' else 3)
  assert not list(pathlib.Path(out).rglob('training'))


def test_the_copy_explains_like_the_run(trained, tmp_path):
  images = tiny.images(16)
  with tiny.in_the_zoo():
    expected = gencnp_jax.load_explainer(trained)(images)
    same = gencnp_jax.share_workdir(trained, tmp_path / 'same', 'float32')
    half = gencnp_jax.share_workdir(trained, tmp_path / 'half')
    again = gencnp_jax.share_workdir(half / 'gencnp', tmp_path / 'again')
    exact = gencnp_jax.load_explainer(same)(images)
    found = [gencnp_jax.load_explainer(path)(images) for path in (half, again)]
  jax.tree.map(np.testing.assert_array_equal, exact.masks, expected.masks)
  np.testing.assert_array_equal(exact.pathway_logits, expected.pathway_logits)
  for explanation in found:
    differ = [
      np.mean(a != b) for a, b in zip(explanation.masks, expected.masks)
    ]
    assert max(differ) < 0.05
    np.testing.assert_allclose(explanation.logits, expected.logits, atol=0.1)
  np.testing.assert_array_equal(found[0].logits, found[1].logits)
  about = gencnp_jax.about(half)
  assert about['stored'] == 'bfloat16'
  assert about['class_names'] == gencnp_jax.about(trained)['class_names']


def test_the_later_stages_run_in_the_copy(trained, tmp_path):
  out = gencnp_jax.share_workdir(trained, tmp_path / 'out')
  tiny.run(
    out,
    **{'gencnp.off': 'mean', 'gencnp.hidden': 64, 'evaluate.methods': 'gencnp'},
  )
  results = json.loads((out / 'evaluate' / 'results.json').read_text())
  assert results['rows'][0]['method'] == 'GEN-CNP'
  assert (out / 'report.html').exists()


def test_a_fitted_explainer_goes_without_its_model(tmp_path):
  target, path = tiny.target(), tmp_path / 'fitted'
  config = {'epochs': 1.0, 'batch_size': 16, 'hidden': 8}
  explain = gencnp_jax.fit(target, tiny.images(32), config, workdir=path)
  out = gencnp_jax.share_workdir(path, tmp_path / 'out', 'float32')
  images = tiny.images(4)
  found = gencnp_jax.load_explainer(out, target)(images)
  jax.tree.map(
    np.testing.assert_array_equal, found.masks, explain(images).masks
  )
  assert not (out / 'target').exists()


def test_what_cannot_be_shared_is_said(trained, tmp_path):
  with pytest.raises(CheckpointError, match='no checkpoint here of a GEN-CNP'):
    gencnp_jax.share_workdir(tmp_path, tmp_path / 'out')
  with pytest.raises(ValueError, match="'float16' is unknown"):
    gencnp_jax.share_workdir(trained, tmp_path / 'out', 'float16')
  (tmp_path / 'note').write_text('mine')
  for out in (tmp_path, tmp_path / 'note', trained):
    with pytest.raises(ValueError, match='not an empty folder; name a new one'):
      gencnp_jax.share_workdir(trained, out)
  assert (tmp_path / 'note').read_text() == 'mine'
  half = shutil.copytree(trained, tmp_path / 'half')
  (half / 'gencnp' / 'done.json').unlink()
  with pytest.raises(ValueError, match='its training was interrupted'):
    gencnp_jax.share_workdir(half, tmp_path / 'out')
  assert not (tmp_path / 'out').exists()


def test_a_copy_that_was_interrupted_is_no_run(trained, tmp_path, monkeypatch):
  real = checkpoints.Checkpoints.save

  def save(self, step, variables):
    if 'gencnp' in str(self._directory):
      raise KeyboardInterrupt
    real(self, step, variables)

  monkeypatch.setattr(checkpoints.Checkpoints, 'save', save)
  out = tmp_path / 'out'
  with pytest.raises(KeyboardInterrupt):
    gencnp_jax.share_workdir(trained, out)
  with pytest.raises(CheckpointError, match='no checkpoint'):
    gencnp_jax.load_explainer(out)
  with pytest.raises(ValueError, match='name a new one'):
    gencnp_jax.share_workdir(trained, out)


def test_the_command_says_how_large_the_copy_is(trained, tmp_path):
  code = 'from gencnp_jax import commands; commands.main()'
  command = [sys.executable, '-c', code, 'share', f'--workdir={trained}']
  root = pathlib.Path(__file__).parents[1]

  def start(*flags):
    return subprocess.run(
      [*command, *flags], capture_output=True, text=True, cwd=root, check=False
    )

  out = tmp_path / 'out'
  done = start(f'--out={out}')
  assert done.returncode == 0, done.stderr
  assert f'{out}: {_bytes(out) / 1e6:.1f} MB' in done.stderr
  again = start(f'--out={out}')
  assert again.returncode == 1 and 'name a new one' in again.stderr
  missing = start()
  assert missing.stderr.strip().splitlines() == [
    'Error: --out=FOLDER, where the copy goes, is needed.'
  ]

"""Where compiled programs are kept between runs."""

import jax
import pytest

from gencnp_jax.runtime import compilation


@pytest.fixture
def updated(monkeypatch):
  """What is set, instead of setting it."""
  seen = {}
  monkeypatch.setattr(jax.config, 'update', seen.__setitem__)
  monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR', raising=False)
  return seen


def test_they_are_kept_under_home(updated, tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  compilation.use_cache()
  folder = tmp_path / '.cache' / 'gencnp_jax' / 'xla'
  assert updated == {'jax_compilation_cache_dir': str(folder)}
  assert folder.is_dir()


def test_the_environment_has_the_say(updated, tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  monkeypatch.setenv('JAX_COMPILATION_CACHE_DIR', '/elsewhere')
  compilation.use_cache()
  assert not updated and not list(tmp_path.iterdir())


def test_a_home_that_cannot_be_written_is_no_error(
  updated, tmp_path, monkeypatch
):
  (tmp_path / 'file').touch()
  monkeypatch.setenv('HOME', str(tmp_path / 'file'))
  compilation.use_cache()
  assert not updated

"""gs:// paths: kept as they are, and what is said of a bucket that will not do.

tests/promises/test_promises_gcs.py has what works, against a stand-in.
"""

import os

import pytest
from etils import epath
from etils.epath import backend

from gencnp_jax import fitting, workspace
from gencnp_jax.explainers import ExplainedDataset
from gencnp_jax.pathway import Explanation
from gencnp_jax.runtime import buckets, checkpoint_files, files, workdir
from gencnp_jax.runtime.buckets import BucketError
from tests import tiny


class GoogleError(Exception):
  """An error with a code, as Google's libraries have it."""

  def __init__(self, message, code=None):
    super().__init__(message)
    self.code = code


NO_LOGIN = type('DefaultCredentialsError', (Exception,), {})
NO_LOGIN.__module__ = 'google.auth.exceptions'
LOGIN = r'\(Who\?\). Log in: gcloud auth application-default login\.$'
ROLE = r'\(No right\)\. Grant this account the role roles/storage\.admin on '


@pytest.fixture
def failing(monkeypatch):
  """Makes a bucket's first answer an error."""
  monkeypatch.setattr(buckets, '_reach', buckets._reach.__wrapped__)
  monkeypatch.setenv('EPATH_USE_TF', 'false')

  def set_to(error):
    def fail(path):
      raise error

    monkeypatch.setattr(backend.fsspec_backend, 'fs', fail)

  return set_to


@pytest.mark.parametrize('field', ['', '--workdir'])
@pytest.mark.parametrize(
  'error, said',
  [
    (
      ImportError('Please install gcsfs to access Google Storage'),
      r"gs:// needs gcsfs: pip install 'gencnp_jax\[gcs\]'\.$",
    ),
    (GoogleError('Who?', 401), LOGIN),
    (NO_LOGIN('Who?'), LOGIN),
    (
      FileNotFoundError('b'),
      'there is no bucket b. Create it: gcloud storage ',
    ),
    (GoogleError('Not found', 404), 'or mend its name'),
    (OSError('Forbidden: https://x\nNo right'), f'{ROLE}the bucket b, or log'),
    (GoogleError('No right', 403), f'{ROLE}the bucket b, or log'),
    (
      OSError('Project was not passed and could not be determined from the '),
      'Name it: export GOOGLE_CLOUD_PROJECT=NAME',
    ),
    (TimeoutError(), r'cannot be used \(TimeoutError\)'),
  ],
)
def test_a_bucket_that_will_not_do(failing, error, said, field):
  failing(error)
  with pytest.raises(BucketError, match=said) as raised:
    buckets.check('gs://b/run', field)
  start = '--workdir=gs://b/run: ' if field else 'gs://b/run: '
  assert str(raised.value).startswith(start)
  assert '\n' not in str(raised.value)


@pytest.mark.parametrize(
  'use',
  [
    lambda path: workdir.open_workdir(path).__enter__(),
    lambda path: workspace.load_explainer(path),
    lambda path: workspace.about(path),
    lambda path: ExplainedDataset.open(path),
    lambda path: Explanation.load(path),
    lambda path: Explanation.save(None, path),
    lambda path: fitting.fit(
      tiny.target(), tiny.images(8), {'batch_size': 8}, workdir=path
    ),
  ],
)
def test_all_that_takes_a_path_says_so(failing, use):
  failing(ImportError('gcsfs'))
  with pytest.raises(BucketError, match='gs://b/a: gs:// needs gcsfs'):
    use('gs://b/a')
  assert not os.path.exists('gs:')


def test_a_disk_is_not_asked_for(failing, tmp_path):
  failing(ImportError('gcsfs'))
  buckets.check(tmp_path)
  with pytest.raises(OSError, match='mine'), buckets.explained(tmp_path):
    raise OSError('mine')


def test_a_url_is_absolute(monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  assert str(buckets.absolute('gs://b/run')) == 'gs://b/run'
  assert buckets.absolute('run') == epath.Path(tmp_path) / 'run'


def test_an_object_is_written_at_once(monkeypatch, tmp_path):
  """Not under another name first; nothing where there is an error."""
  monkeypatch.setattr(buckets, 'is_remote', lambda path: True)
  path = epath.Path(tmp_path) / 'a'
  with pytest.raises(OSError, match='full'):
    files.write(path, _fail_halfway)
  assert not list(path.parent.iterdir())
  monkeypatch.setattr(type(path), 'replace', None)
  files.write_text(path, 'all')
  assert path.read_text() == 'all'


def _fail_halfway(file):
  file.write(b'half')
  raise OSError('full')


def test_a_step_of_a_bucket_is_one_that_was_written_to_its_end(
  monkeypatch, tmp_path
):
  for step in (1, 2):
    (tmp_path / f'{step}' / 'about').mkdir(parents=True)
  (tmp_path / '1' / 'commit_success.txt').touch()
  directory = epath.Path(tmp_path)
  assert checkpoint_files.steps(directory) == [1, 2]
  monkeypatch.setattr(buckets, 'is_remote', lambda path: True)
  assert checkpoint_files.steps(directory) == [1]

"""Workdirs on gs://, against a stand-in for Google Cloud Storage.

The clients are the real ones: gcsfs, google-cloud-storage, tensorstore's own.
"""

import importlib.util
import json
import os
import re
import signal

import numpy as np
import pytest
from etils import epath
from PIL import Image

import gencnp_jax
from gencnp_jax import image_files, workspace
from gencnp_jax.explainers import ExplainedDataset
from gencnp_jax.pathway import Explanation
from gencnp_jax.runtime import buckets, checkpoint_files, checkpoints
from tests import tiny
from tests.promises import object_store, pod, program

pytestmark = [
  pytest.mark.long,
  # Found, not imported: gcsfs reads the environment when it is.
  pytest.mark.skipif(
    importlib.util.find_spec('gcsfs') is None,
    reason="needs pip install 'gencnp_jax[gcs]'",
  ),
]

TARGET = '--config.stages=target'


@pytest.fixture(scope='module')
def store():
  """The clients keep the address that they see first: one for all tests."""
  with (
    object_store.ObjectStore() as running,
    pytest.MonkeyPatch.context() as patch,
  ):
    for name, value in running.environment.items():
      patch.setenv(name, value)
    yield running


@pytest.fixture
def path(store, request):
  name = re.sub(r'\W+', '_', request.node.name)
  path = epath.Path('gs://bucket') / name
  buckets.check(path)
  yield path
  store.private = store.closed = store.limited = False
  store.release()


@pytest.fixture(scope='module')
def trained(store, cache):
  """A whole run of all stages."""
  path = epath.Path('gs://bucket/trained')
  with pod.train(
    path, '--config.experiments.names=pictures,embedding', cache=cache
  ) as run:
    run.finish()
  return path


@pytest.fixture
def zoo():
  with tiny.in_the_zoo():
    yield


def _name(path):
  """Returns the name of an object of the bucket."""
  return str(path).removeprefix('gs://bucket/')


def _steps(path, stage):
  return checkpoint_files.steps(workspace.checkpoint_directory(path, stage))


def _generations(store, path):
  """Returns when each object of a folder was written."""
  return {
    name: found.generation
    for name, found in store.objects.items()
    if name.startswith(f'{_name(path)}/')
  }


def test_a_run_is_what_it_is_on_a_disk(trained, undisturbed):
  assert pod.outcome(trained) == pod.outcome(undisturbed())
  for name in ('pictures', 'embedding'):
    assert list((trained / 'experiments' / name).glob('*.png'))
  assert _steps(trained, 'target') == [12, 16]
  assert not os.path.exists('gs:')


def test_a_second_start_skips_all(store, trained, cache):
  before = _generations(store, trained)
  options = '--config.experiments.names=pictures,embedding'
  with pod.train(trained, options, cache=cache) as run:
    run.finish()
    for stage in ('target', 'gencnp', 'evaluate'):
      assert f'stage {stage} is skipped' in run.said()
    # Nothing of the libraries below is said.
    assert 'Cache' not in run.said() and 'Traceback' not in run.said()
  after = _generations(store, trained)
  assert after.keys() == before.keys()
  changed = {n for n in after if after[n] != before[n]}
  again = ('config.json', 'report.html', '.csv', '.png', '.svg')
  assert all(name.endswith(again) for name in changed)
  assert not [n for n in changed if 'evaluate' in n or 'checkpoints' in n]


@pytest.mark.parametrize('last', ['variables/manifest', 'commit_success'])
def test_a_step_half_written_by_a_killed_run(
  store, path, cache, undisturbed, last
):
  """It is passed over, and saved again by the next run."""
  half = f'{_name(path)}/target/checkpoints/8'
  store.held = f'{half}/{last}'
  with pod.train(path, TARGET, cache=cache) as run:
    run.until(lambda: store.waiting)
    run.send(signal.SIGKILL)
    run.codes()
  store.release()
  assert store.names(f'{half}/about/metadata')
  assert not store.names(f'{half}/commit_success')
  assert _steps(path, 'target') == [4]
  with pod.train(path, TARGET, cache=cache) as run:
    run.finish()
    assert 'train, step 4:' not in run.said()
  assert pod.trained(path, 'target') == pod.trained(undisturbed(), 'target')


def test_a_damaged_step_is_set_aside(store, path, cache, undisturbed):
  with pod.train(path, TARGET, '--pause=.2', cache=cache) as run:
    run.until(lambda: 8 in _steps(path, 'target'))
    run.send(signal.SIGKILL)
    run.codes()
  folder = f'{_name(path)}/target/checkpoints/{_steps(path, "target")[-1]}'
  for name in store.names(f'{folder}/variables/.*/d/'):
    found = store.objects[name]
    found.content = bytes(len(found.content))
  moved = [n.removeprefix(folder) for n in store.names(f'{folder}/')]
  with pod.train(path, TARGET, cache=cache) as run:
    run.finish()
    assert f'is set aside as {path}/target/damaged-' in run.said()
  aside = store.names(f'{_name(path)}/target/damaged-')
  assert [n.partition('/damaged-')[2].lstrip('0123456789') for n in aside] == (
    moved
  )
  assert pod.trained(path, 'target') == pod.trained(undisturbed(), 'target')


def test_two_processes(store, path, cache, undisturbed):
  """They are killed, and the next two go on."""
  options = {'count': 2, 'cache': cache}
  with pod.train(path, '--pause=.2', **options) as run:
    run.until(lambda: 4 in _steps(path, 'gencnp'))
    run.send(signal.SIGKILL, to=[0, 1])
    run.codes()
  with pod.train(path, **options) as run:
    run.finish()
    assert 'stage target is skipped' in run.said()
  assert not store.names('(shared|writable)$')
  assert pod.outcome(path) == pod.outcome(undisturbed(count=2))


def test_overwriting_faster_than_the_service_allows(
  store, path, cache, undisturbed
):
  store.limited = True
  with pod.train(path, TARGET, cache=cache) as run:
    run.finish()
  assert pod.trained(path, 'target') == pod.trained(undisturbed(), 'target')


@pytest.mark.parametrize('place', ['disk', 'bucket'])
def test_the_target_of_another_workdir(
  store, path, trained, undisturbed, cache, place
):
  """Half a copy is no target."""
  source = undisturbed() if place == 'disk' else trained
  taken = f'--config.target.workdir={source}'
  stages = '--config.stages=target,gencnp'
  store.held = f'{_name(path)}/target/log'
  with pod.train(path, taken, stages, cache=cache) as run:
    run.until(lambda: store.waiting)
    run.send(signal.SIGKILL)
    run.codes()
  store.release()
  assert store.names(f'{_name(path)}/target/')
  with pod.train(path, taken, stages, cache=cache) as run:
    run.finish()
    assert 'stage target is skipped' not in run.said()
  with pod.train(path, taken, stages, cache=cache) as run:
    run.finish()
    assert 'stage target is skipped' in run.said()
  assert not store.names(f'{_name(path)}/target/.half')
  assert pod.trained(path, 'target') == pod.trained(source, 'target')


def test_what_is_trained_opens_by_path(trained, undisturbed, zoo):
  images = tiny.images(8)
  step = trained / 'gencnp' / 'checkpoints' / '16'
  for place in (trained, step):
    found = gencnp_jax.load_explainer(str(place))(images)
    expected = gencnp_jax.load_explainer(undisturbed())(images)
    for a, b in zip(found.masks, expected.masks, strict=True):
      np.testing.assert_array_equal(a, b)
  about, expected = map(gencnp_jax.about, (str(trained), undisturbed()))
  assert about['class_names'] == expected['class_names']
  with pytest.raises(
    checkpoints.CheckpointError, match='gs://bucket exists, and holds'
  ):
    gencnp_jax.load_explainer('gs://bucket/trainde')


def test_image_files(store, trained, path, tmp_path, zoo):
  Image.fromarray(tiny.images(1)[0]).save(tmp_path / 'a.png')
  picture = [str(tmp_path / 'a.png')]
  (record,) = image_files.explain_files(str(trained), picture, out=str(path))
  assert json.loads((path / 'a.json').read_text()) == record
  assert store.objects[f'{_name(path)}/a.png'].content[:4] == b'\x89PNG'
  image_files.explain_files(str(trained), picture)
  assert (trained / 'explained/gencnp/a.json').exists()


def test_a_data_set_is_explained_and_goes_on(store, path, cache):
  part = f'{_name(path)}/shard_00002.npz'
  store.held = part
  with pod.Pod('explain', path, cache=cache) as run:
    run.until(lambda: store.waiting)
    run.send(signal.SIGKILL)
    run.codes()
  store.release()
  before = _generations(store, path)
  assert len(before) == 3  # Two shards, and what says so.
  with pytest.raises(ValueError, match='2 of 6 shards are there'):
    ExplainedDataset.open(str(path))
  with pod.Pod('explain', path, cache=cache) as run:
    run.finish()
  after = _generations(store, path)
  kept = [n for n in before if after[n] == before[n]]
  assert sorted(kept) == store.names(f'{_name(path)}/shard_0000[01]')
  found = ExplainedDataset.open(str(path)).load()
  expected = tiny.generative()(tiny.images(program.IMAGES), batch_size=8)
  for a, b in zip(found.masks, expected.masks):
    assert (a == b).mean() > 0.999  # Another device count, other last bits.


def test_an_explanation_is_saved_and_loaded(store, path):
  explanation = tiny.generative()(tiny.images(8))
  explanation.save(str(path / 'a.npz'))
  assert store.names(_name(path)) == [_name(path / 'a.npz')]
  found = Explanation.load(str(path / 'a.npz'))
  for a, b in zip(explanation.masks, found.masks, strict=True):
    np.testing.assert_array_equal(a, b)
  with pytest.raises(ValueError, match='no such file'):
    Explanation.load(str(path / 'b.npz'))


def test_fit(store, path, capsys):
  quick = {'epochs': 1, 'batch_size': 16, 'hidden': 8}
  images = tiny.images(48)
  workdir = str(path)
  made = gencnp_jax.fit(tiny.target(), images, quick, workdir=workdir)
  assert 'Trained' in capsys.readouterr().out
  found = [
    gencnp_jax.fit(tiny.target(), images, quick, workdir=workdir),
    gencnp_jax.load_explainer(workdir, tiny.target()),
  ]
  assert 'Trained' not in capsys.readouterr().out
  for other in found:
    for a, b in zip(made(images[:5]).masks, other(images[:5]).masks):
      np.testing.assert_array_equal(a, b)


def test_what_others_write_is_seen(store, path):
  """Also what is not written by gcsfs, which could know of its own."""
  (path / 'a').write_text('a')
  assert [p.name for p in path.iterdir()] == ['a']
  store.write(_name(path / 'b'), b'longer than a', {})
  store.write(_name(path / 'a'), b'longer than a', {})
  assert sorted(p.name for p in path.iterdir()) == ['a', 'b']
  assert (path / 'a').read_text() == (path / 'b').read_text()


@pytest.mark.parametrize(
  'place, fault, message',
  [
    (
      'gs://other/run',
      '',
      'Error: --workdir=gs://other/run: there is no bucket other. Create it: '
      'gcloud storage buckets create gs://other; or mend its name.',
    ),
    (
      'gs://bucket/run',
      'private',
      'Error: --workdir=gs://bucket/run: Google Cloud does not know who asks '
      '(Anonymous caller does not have storage.objects.list access., 401). Log '
      'in: gcloud auth application-default login.',
    ),
    (
      'gs://bucket/run',
      'closed',
      'Error: gs://bucket/run/target/checkpoints: Google Cloud does not allow '
      'it (No access to storage.buckets.get.). Grant this account the role '
      'roles/storage.admin on the bucket bucket, or log in as another.',
    ),
  ],
)
def test_a_bucket_that_will_not_do(
  store, path, tmp_path, cache, place, fault, message
):
  setattr(store, fault or 'unknown', True)
  home = {'HOME': str(tmp_path), 'GOOGLE_AUTH_TOKEN_FOR_TESTING': ''}
  with pod.train(place, cache=cache, **home) as run:
    assert run.codes() == [1]
    said = run.said().splitlines()[-1]
    assert re.sub(r'403 GET \S+ ', '', said) == message
    assert 'Traceback' not in run.said()

"""A data set explained in shards: the same as at once, whatever ends it."""

import hashlib
import json
import logging as python_logging
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import types

import jax
import numpy as np
import pytest
from etils import epath

import gencnp_jax
from gencnp_jax import Explanation, data
from gencnp_jax.explainers import (
  ExplainedDataset,
  NeuronMCT,
  OriginalActivation,
  Random,
  activation_means,
  explain_dataset,
)
from gencnp_jax.runtime import progress, workdir
from tests import tiny
from tests.training.conftest import compile_once  # noqa: F401

IMAGES = tiny.images(22)
SIZES = {'batch_size': 4, 'shard_size': 8}  # Shards of 8, 8 and 6 images.


def _random(sparsity=0.9, **fields):
  return Random(tiny.target(), sparsity, **fields)


def _assert_equal(one, other):
  """Asserts that two explanations are the same, bit for bit."""
  assert jax.tree.structure(one.masks) == jax.tree.structure(other.masks)
  for field in ('masks', 'logits', 'pathway_logits', 'importance', 'tied'):
    ours, theirs = getattr(one, field), getattr(other, field)
    assert (ours is None) == (theirs is None), field
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs)):
      assert a.dtype == b.dtype, field
      np.testing.assert_array_equal(a, b, err_msg=field)
  assert one.method == other.method


def _content(folder):
  """Returns the bytes of each file; the lock holds the last process's name."""
  paths = pathlib.Path(folder).iterdir()
  return {p.name: p.read_bytes() for p in paths if p.name != '.lock'}


@pytest.fixture
def explained(monkeypatch):
  """Records which images were explained: (first, count) of each call."""
  calls = []
  call = Random.__call__

  def spy(self, images, *args, first_index=0, **options):
    calls.append((first_index, len(images)))
    return call(self, images, *args, first_index=first_index, **options)

  monkeypatch.setattr(Random, '__call__', spy)
  return calls


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """A folder of all shards; not to be changed."""
  path = tmp_path_factory.mktemp('whole') / 'out'
  explain_dataset(_random(), IMAGES, path, **SIZES)
  return path


@pytest.fixture
def copy(whole, tmp_path):
  return pathlib.Path(shutil.copytree(whole, tmp_path / 'copy'))


@pytest.mark.parametrize(
  'make',
  [
    _random,
    lambda: NeuronMCT(tiny.target(), 0.9, seed=3),
    tiny.generative,
  ],
)
def test_it_equals_one_call_bit_for_bit(make, tmp_path):
  explainer = make()
  for n, batch_size, shard_size in [
    (22, 4, 8),  # The last shard is shorter.
    (22, 8, 8),  # 22 = 8 + 14: six images alone would be a smaller batch.
    (16, 8, 1),  # A shard is a batch at least.
    (7, 8, 8),  # Fewer images than a batch.
    (21, 6, 9),  # Four devices make batches of 8 of that.
    (22, 4, 1024),  # One shard.
  ]:
    images = IMAGES[:n]
    out_dir = tmp_path / f'{n}-{batch_size}-{shard_size}'
    found = explain_dataset(
      explainer, images, out_dir, batch_size=batch_size, shard_size=shard_size
    )
    expected = explainer(images, batch_size=batch_size, importance=False)
    assert len(found) == n
    _assert_equal(found.load(), expected)


def test_draws_depend_on_the_number_in_the_data_set(whole):
  """Equal scores alone: shards numbered anew would repeat the same masks."""
  first, second, _ = ExplainedDataset.open(whole).shards()
  assert (first.masks[0] != second.masks[0]).any(axis=(1, 2, 3)).all()
  assert (first.tied == 1).all() and (second.tied == 1).all()
  part = _random()(IMAGES[8:16], batch_size=4, first_index=8, importance=False)
  _assert_equal(second, part)


@pytest.mark.parametrize(
  'n, sizes, expected',
  [
    (22, SIZES, [8, 8, 6]),
    (25, SIZES, [8, 8, 9]),
    (24, SIZES, [8, 8, 8]),
    (3, SIZES, [3]),
    (25, {'batch_size': 8, 'shard_size': 12}, [16, 9]),
    (23, {'batch_size': 8, 'shard_size': 12}, [23]),
    (9, {'batch_size': 3, 'shard_size': 3}, [4, 5]),
    (8, {}, [8]),
  ],
)
def test_every_image_is_explained_exactly_once(
  n, sizes, expected, tmp_path, explained
):
  found = explain_dataset(_random(), tiny.images(n), tmp_path, **sizes)
  assert [len(shard) for shard in found.shards()] == expected
  starts = np.cumsum([0, *expected[:-1]])
  assert explained == list(zip(starts, expected))
  names = [f'shard_{i:05d}.npz' for i in range(len(expected))]
  assert _content(tmp_path).keys() == {'about.json', *names}


def test_a_dataset_and_its_images_are_the_same_run(copy, explained):
  dataset = data.Dataset(
    images=IMAGES,
    labels=None,
    class_names=(),
    name='noise',
    mean=(0.5, 0.5, 0.5),
    std=(0.2, 0.2, 0.2),
  )
  found = gencnp_jax.explain_dataset(_random(), dataset, copy, **SIZES)
  assert len(found) == 22 and explained == []


def test_open_by_path_alone(whole):
  found = ExplainedDataset.open(str(whole))
  expected = _random()(IMAGES, batch_size=4, importance=False)
  assert len(found) == 22
  _assert_equal(found.load(), expected)
  for name in ('firing_sparsity', 'agreement'):
    vector = getattr(found, name)
    assert vector.dtype == getattr(expected, name).dtype
    np.testing.assert_array_equal(vector, getattr(expected, name))
  # And each file is an explanation by itself.
  assert len(Explanation.load(whole / 'shard_00002.npz')) == 6


def test_about_says_what_made_it(tmp_path):
  off = activation_means(tiny.target(), IMAGES)
  explainer = OriginalActivation(tiny.target(), 0.75, seed=2, off=off)
  about = explain_dataset(explainer, IMAGES, tmp_path, **SIZES).about
  assert about == json.loads((tmp_path / 'about.json').read_text())
  expected = {
    'format': 1,
    'method': 'Original Activation',
    'explainer.sparsity': 0.75,
    'explainer.seed': 2,
    'explainer.target.preprocess': 'Preprocess(mean=(0.5, 0.4, 0.6), '
    'std=(0.25, 0.3, 0.2))',
    'explainer.target.relus': None,
    'images': 22,
    'image_shape': [8, 8, 3],
    'image_dtype': 'uint8',
    'importance': False,
    'batch_size': 4,
    'shard_size': 8,
  }
  assert {k: about[k] for k in expected} == expected
  assert 'TinyNet' in about['explainer.target.apply_fn']
  digests = [about['images_sha256'], about['explainer.off_sha256']]
  digests += [about['explainer.target.variables_sha256']]
  digests += about['shards'].values()
  assert len(set(digests)) == 6 and all(len(d) == 64 for d in digests)
  for name, digest in about['shards'].items():
    content = (tmp_path / name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == digest


def test_importance_is_kept_when_asked(tmp_path):
  explainer = NeuronMCT(tiny.target(), 0.9)
  expected = explainer(IMAGES, batch_size=4)
  with_scores = explain_dataset(
    explainer, IMAGES, tmp_path / 'with', **SIZES, importance=True
  )
  assert expected.importance is not None
  _assert_equal(with_scores.load(), expected)
  without = explain_dataset(explainer, IMAGES, tmp_path / 'without', **SIZES)
  assert without.load().importance is None
  with pytest.raises(ValueError, match='importance: the folder has False, th'):
    explain_dataset(
      explainer, IMAGES, tmp_path / 'without', **SIZES, importance=True
    )


def test_a_whole_folder_is_left_as_it_is(copy, explained):
  before = tiny.files(copy)
  found = explain_dataset(_random(), IMAGES, copy, **SIZES)
  assert explained == [] and tiny.files(copy) == before
  assert len(found.load()) == 22


def test_only_what_is_missing_is_explained(copy, explained, monkeypatch):
  begun = []
  create = progress.Progress.__init__

  def spy(self, total, what, unit='images', done=0):
    begun.append((total, done))
    create(self, total, what, unit, done)

  monkeypatch.setattr(progress.Progress, '__init__', spy)
  before = _content(copy)
  (copy / 'shard_00001.npz').unlink()
  explain_dataset(_random(), IMAGES, copy, **SIZES)
  assert explained == [(8, 8)] and begun == [(22, 14)]
  assert _content(copy) == before


def test_going_on_takes_the_batch_size_of_the_folder(copy, explained):
  """None picks what fits the machine: another one may pick another."""
  (copy / 'shard_00002.npz').unlink()
  found = explain_dataset(_random(), IMAGES, copy, shard_size=8)
  assert found.about['batch_size'] == 4 and explained == [(16, 6)]


def _truncate(path):
  path.write_bytes(path.read_bytes()[:-30])


def _empty(path):
  path.write_bytes(b'')


def _flip(path):
  content = bytearray(path.read_bytes())
  content[len(content) // 2] ^= 1
  path.write_bytes(content)


def _swap(path):
  """A whole explanation of as many images, and of others."""
  shutil.copy(path.with_name('shard_00000.npz'), path)


def _lose_an_array(path):
  """One flipped bit that NumPy does not see: a comment hides the last name."""
  content = bytearray(path.read_bytes())
  last = content.rindex(b'PK\x01\x02')
  length_of_comment = content.rindex(b'PK\x01\x02', 0, last) + 32
  content[length_of_comment] ^= 64
  path.write_bytes(content)
  with np.load(path) as arrays:
    assert 'tied' not in arrays
  with pytest.raises(ValueError, match='it lists 4 of 5 arrays'):
    Explanation.load(path)


@pytest.mark.parametrize(
  'damage', [_truncate, _empty, _flip, _swap, _lose_an_array]
)
def test_a_damaged_shard_is_named_and_made_again(
  damage, copy, explained, caplog
):
  before = _content(copy)
  path = copy / 'shard_00001.npz'
  damage(path)
  found = ExplainedDataset.open(copy)
  for read in (found.load, lambda: found.agreement):
    with pytest.raises(
      ValueError, match=r'shard_00001\.npz is damaged.*explain_dataset call'
    ):
      read()
  with caplog.at_level(python_logging.INFO, logger='absl'):
    explain_dataset(_random(), IMAGES, copy, **SIZES)
  said = [r.getMessage() for r in caplog.records]
  assert any(f'{path} is damaged' in s and 'made again' in s for s in said)
  assert any('2 of 3 shards are there' in s for s in said)
  assert explained == [(8, 8)] and _content(copy) == before


def test_a_shard_that_goes_while_it_is_read(copy):
  found = ExplainedDataset.open(copy)
  (copy / 'shard_00002.npz').unlink()
  with pytest.raises(ValueError, match=r'shard_00002\.npz is gone'):
    found.load()


def test_foreign_files_are_left_alone(copy, explained):
  mine = {
    'notes.txt': b'mine',
    'shard_00007.npz': b'past the last',
    '.hidden': b'mine, too',
  }
  for name, content in mine.items():
    (copy / name).write_bytes(content)
  (copy / 'shard_00000.npz').unlink()
  assert len(explain_dataset(_random(), IMAGES, copy, **SIZES).load()) == 22
  assert explained == [(0, 8)]
  for name, content in mine.items():
    assert (copy / name).read_bytes() == content


def test_a_shard_that_about_does_not_list_is_made_again(
  copy, explained, caplog
):
  """A run was killed between naming a file and listing it."""
  before = _content(copy)
  about = json.loads((copy / 'about.json').read_text())
  del about['shards']['shard_00001.npz']
  workdir.write_json(copy / 'about.json', about)
  with pytest.raises(ValueError, match='2 of 3 shards are there'):
    ExplainedDataset.open(copy)
  explain_dataset(_random(), IMAGES, copy, **SIZES)
  assert 'shard_00001.npz was not finished; it is made again' in caplog.text
  assert explained == [(8, 8)] and _content(copy) == before


# Runs until the file of the second shard is half written, and waits there.
_KILLED = """
import sys, time
import chex
chex.set_n_cpu_devices(4)
import numpy as np
from gencnp_jax.explainers import Random, explain_dataset
from tests import tiny

save, files = np.savez_compressed, []

def half_save(file, **arrays):
  save(file, **arrays)
  files.append(file)
  if len(files) == 2:
    file.truncate(file.tell() // 2)
    print('now', flush=True)
    time.sleep(120)

np.savez_compressed = half_save
explain_dataset(
  Random(tiny.target(), 0.9), tiny.images(22), sys.argv[1], batch_size=4,
  shard_size=8,
)
"""


def test_a_killed_run_goes_on_to_the_same_bytes(whole, tmp_path, explained):
  out_dir = tmp_path / 'out'
  with subprocess.Popen(
    [sys.executable, '-c', _KILLED, str(out_dir)],
    stdout=subprocess.PIPE,
    stderr=subprocess.PIPE,
    cwd=pathlib.Path(__file__).parents[2],
    env={**os.environ, 'JAX_PLATFORMS': 'cpu'},
  ) as process:
    try:
      assert process.stdout.readline() == b'now\n', process.stderr.read()
      with pytest.raises(
        ValueError, match=rf'out_dir=.*in use by process {process.pid} '
      ):
        explain_dataset(_random(), IMAGES, out_dir, **SIZES)
    finally:
      process.send_signal(signal.SIGKILL)
  assert process.returncode == -signal.SIGKILL
  half = f'.shard_00001.npz.{process.pid}.part'
  assert _content(out_dir).keys() == {'about.json', 'shard_00000.npz', half}
  with pytest.raises(ValueError, match=r'1 of 3 shards are there.*goes on'):
    ExplainedDataset.open(out_dir)
  assert explained == []
  found = explain_dataset(_random(), IMAGES, out_dir, **SIZES)
  assert explained == [(8, 8), (16, 6)]
  assert _content(out_dir) == _content(whole)
  assert len(found) == len(ExplainedDataset.open(out_dir)) == 22


def _changed_image():
  images = IMAGES.copy()
  images[21, 7, 7, 2] ^= 1
  return images


def _changed_target():
  target = tiny.target()
  variables = jax.tree.map(np.array, target.variables)
  variables['params']['Conv_1']['bias'][3] += 1e-6
  return target.replace(variables=variables)


def _reshaped_target():
  """The same bytes in the same order, and another network."""
  target = tiny.target()
  variables = jax.tree.map(np.array, target.variables)
  last = variables['params']['Dense_0']
  last['kernel'] = last['kernel'].reshape(tiny.CLASSES, -1)
  return target.replace(variables=variables)


@pytest.mark.parametrize(
  'make, images, sizes, named, others',
  [
    (
      lambda: _random(0.8),
      lambda: IMAGES,
      SIZES,
      'explainer.sparsity: the folder has 0.9, this call 0.8',
      ('seed', 'sha256'),
    ),
    (
      lambda: _random(seed=5),
      lambda: IMAGES,
      SIZES,
      'explainer.seed: the folder has 0, this call 5',
      ('sparsity',),
    ),
    (
      lambda: NeuronMCT(tiny.target(), 0.9),
      lambda: IMAGES,
      SIZES,
      "method: the folder has 'Random', this call 'NeuronMCT'",
      ('sparsity', 'sha256'),
    ),
    (
      tiny.generative,
      lambda: IMAGES,
      SIZES,
      'explainer.sparsity: the folder has 0.9, this call None',
      ('images',),
    ),
    (_random, _changed_image, SIZES, 'images_sha256: ', ('target', 'shape')),
    (
      _random,
      lambda: IMAGES[:21],
      SIZES,
      'images: the folder has 22, this call 21',
      ('sparsity',),
    ),
    (
      _random,
      lambda: IMAGES / np.float32(255),
      SIZES,
      "image_dtype: the folder has 'uint8', this call 'float32'",
      ('images: ',),
    ),
    (
      lambda: Random(_changed_target(), 0.9),
      lambda: IMAGES,
      SIZES,
      'explainer.target.variables_sha256: ',
      ('images', 'apply_fn'),
    ),
    (
      lambda: Random(_reshaped_target(), 0.9),
      lambda: IMAGES,
      SIZES,
      'explainer.target.variables_sha256: ',
      ('images', 'apply_fn'),
    ),
    (
      lambda: Random(tiny.target().replace(relus=(0,)), 0.9),
      lambda: IMAGES,
      SIZES,
      "explainer.target.relus: the folder has None, this call '(0,)'",
      ('sha256',),
    ),
    (
      lambda: _random(off=activation_means(tiny.target(), IMAGES)),
      lambda: IMAGES,
      SIZES,
      'explainer.off_sha256: the folder has None',
      ('sparsity', 'target'),
    ),
    (
      _random,
      lambda: IMAGES,
      {'batch_size': 8, 'shard_size': 8},
      'batch_size: the folder has 4, this call 8',
      ('shard_size', 'sha256'),
    ),
    (
      _random,
      lambda: IMAGES,
      {'batch_size': 4, 'shard_size': 12},
      'shard_size: the folder has 8, this call 12',
      ('batch_size', 'sha256'),
    ),
  ],
)
def test_the_folder_of_another_run_is_refused(
  make, images, sizes, named, others, whole, explained
):
  before = _content(whole)
  with pytest.raises(ValueError, match='holds another run') as raised:
    explain_dataset(make(), images(), whole, **sizes)
  said = str(raised.value)
  assert said.startswith(f'out_dir={whole} ') and f'  {named}' in said
  assert 'Choose another out_dir' in said
  listed = '\n'.join(said.splitlines()[1:-1])
  assert not any(word in listed for word in others)
  assert explained == [] and _content(whole) == before


def test_a_copy_of_the_explainer_is_the_same_run(copy, explained):
  """NumPy or JAX arrays, a module made anew: the same values, the same run."""
  net, target = tiny.TinyNet(), tiny.target()
  variables = jax.tree.map(np.asarray, target.variables)
  again = target.replace(apply_fn=net.apply, variables=variables)
  explain_dataset(Random(again, 0.9), IMAGES, copy, **SIZES)
  assert explained == []


def test_a_folder_of_before_a_field_was_there_goes_on(copy, explained):
  """What is missing had its default; another value is another run."""
  path = copy / 'about.json'
  about = json.loads(path.read_text())
  assert about.pop('explainer.target.tap') == "('relu',)"
  path.write_text(json.dumps(about))
  explain_dataset(Random(tiny.target(), 0.9), IMAGES, copy, **SIZES)
  assert explained == []
  about.pop('explainer.seed')
  path.write_text(json.dumps(about))
  with pytest.raises(ValueError, match=r'seed: the folder has 0, this call 1'):
    explain_dataset(Random(tiny.target(), 0.9, seed=1), IMAGES, copy, **SIZES)


def test_random_keys_among_the_variables(tmp_path):
  target = tiny.target()
  keys = {'net': target.variables, 'state': jax.random.key(0)}
  target = target.replace(
    apply_fn=lambda v, images: tiny.TinyNet().apply(v['net'], images),
    variables=keys,
  )
  found = explain_dataset(Random(target, 0.9), IMAGES, tmp_path / 'a', **SIZES)
  assert len(found) == len(IMAGES)


def test_a_function_made_anew_is_the_same_run(tmp_path, explained):
  """As in another process, where it lies elsewhere in memory."""

  def make():
    def apply(variables, images):
      return tiny.TinyNet().apply(variables, images)

    return Random(tiny.target().replace(apply_fn=apply), 0.9)

  for _ in range(2):
    explain_dataset(make(), IMAGES[:4], tmp_path, **SIZES)
  assert explained == [(0, 4)]


@pytest.mark.parametrize(
  'content, message',
  [
    (b'', r'about\.json is damaged.*remove .* to start over'),
    (b'{"kind": "explained', r'about\.json is damaged'),
    (b'\xff\xfe\x00', r'about\.json is damaged'),
    (b'[1]', r'not written by explain_dataset.*another out_dir'),
    (b'{"kind": "gencnp", "format": 1}', 'not written by explain_dataset'),
    (b'{"kind": "explained data set", "format": 99}', 'format 99.*format 1'),
  ],
)
def test_a_damaged_or_foreign_about(content, message, copy, explained):
  (copy / 'about.json').write_bytes(content)
  before = _content(copy)
  with pytest.raises(ValueError, match=message):
    ExplainedDataset.open(copy)
  with pytest.raises(ValueError, match=message):
    explain_dataset(_random(), IMAGES, copy, **SIZES)
  assert explained == [] and _content(copy) == before


def test_shards_of_nobody_are_not_written_over(copy, explained):
  (copy / 'about.json').unlink()
  before = _content(copy)
  with pytest.raises(ValueError, match=r'shards, but no about\.json.*another'):
    explain_dataset(_random(), IMAGES, copy, **SIZES)
  assert explained == [] and _content(copy) == before


def test_open_where_nothing_is_finished(copy, tmp_path):
  for path in (tmp_path / 'nowhere', tmp_path):
    with pytest.raises(ValueError, match=rf'{path}: there is no about\.json'):
      ExplainedDataset.open(path)
  assert not (tmp_path / 'nowhere').exists()
  (copy / 'shard_00000.npz').unlink()
  with pytest.raises(ValueError, match=r'2 of 3 shards.*same.*call goes on'):
    ExplainedDataset.open(copy)


@pytest.mark.parametrize('below', ['', 'x/y'])
def test_an_unwritable_folder_is_noticed_at_once(below, tmp_path, explained):
  (tmp_path / 'file').write_text('mine')
  with pytest.raises(
    ValueError, match=r'out_dir=.*not writable.*another folder with out_dir'
  ):
    explain_dataset(_random(), IMAGES, tmp_path / 'file' / below)
  assert explained == [] and (tmp_path / 'file').read_text() == 'mine'


def test_one_process_at_a_time(copy, explained):
  with (
    workdir.open_workdir(copy),
    pytest.raises(ValueError, match=r'out_dir=.*in use.*folder with out_dir'),
  ):
    explain_dataset(_random(), IMAGES, copy, **SIZES)
  assert explained == []
  assert len(ExplainedDataset.open(copy).load()) == 22  # Readers need no lock.


def test_an_object_store_has_no_lock(tmp_path, monkeypatch):
  store = types.SimpleNamespace(
    Path=lambda path: epath.Path(str(path).replace('store:/', str(tmp_path)))
  )
  monkeypatch.setattr(workdir, 'epath', store)
  (tmp_path / 'out').mkdir()
  found = explain_dataset(_random(), IMAGES, 'store://out', **SIZES)
  assert len(found.load()) == 22
  assert not (tmp_path / 'out' / '.lock').exists()


@pytest.mark.parametrize(
  'images, options, message',
  [
    (IMAGES[0], {}, r'shape \(8, 8, 3\).*image\[None\]'),
    (IMAGES[:0], {}, 'empty'),
    (IMAGES, {'batch_size': 0}, 'batch_size=0: it must be .* at least 1'),
    (IMAGES, {'batch_size': -4}, 'batch_size=-4'),
    (IMAGES, {'batch_size': '4'}, "batch_size='4'"),
    (IMAGES, {'shard_size': 0}, 'shard_size=0: it must be .* at least 1'),
  ],
)
def test_wrong_arguments_make_no_folder(images, options, message, tmp_path):
  with pytest.raises(ValueError, match=message):
    explain_dataset(_random(), images, tmp_path / 'out', **options)
  assert not (tmp_path / 'out').exists()


def test_a_call_that_explains_nothing_binds_no_later_one(tmp_path):
  with pytest.raises(ValueError, match='sparsity=90'):
    explain_dataset(_random(90), IMAGES, tmp_path, **SIZES)
  assert len(explain_dataset(_random(), IMAGES, tmp_path, **SIZES)) == 22

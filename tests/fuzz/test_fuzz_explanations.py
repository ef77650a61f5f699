"""Explanations in files and folders: damaged, foreign, of another shape."""

import dataclasses
import io
import json
import pathlib
import shutil

import jax
import numpy as np
import pytest
from hypothesis import strategies as st

from gencnp_jax.explainers import ExplainedDataset, Random, explain_dataset
from gencnp_jax.pathway import Explanation
from tests import tiny
from tests.fuzz import cases

RNG = np.random.default_rng(0)
COUNT, CLASSES = 24, 5
SHAPES = ((16, 16, 8), (7,))
IMAGES = tiny.images(22)
SIZES = {'batch_size': 4, 'shard_size': 8}  # Shards of 8, 8 and 6 images.


def _explanation(importance=False):
  masks = tuple(RNG.random((COUNT, *shape)) < 0.5 for shape in SHAPES)
  return Explanation(
    masks=masks,
    logits=RNG.normal(size=(COUNT, CLASSES)).astype(np.float32),
    pathway_logits=RNG.normal(size=(COUNT, CLASSES)).astype(np.float32),
    importance=tuple(m * np.float32(0.5) for m in masks)
    if importance
    else None,
    tied=RNG.random(COUNT).astype(np.float32),
    method='Random',
  )


KEPT = [_explanation(), _explanation(importance=True)]


def _saved(explanation, folder):
  path = folder / 'mine.npz'
  explanation.save(path)
  return path.read_bytes()


@pytest.fixture(scope='module')
def contents(tmp_path_factory):
  """The bytes of the files of `KEPT`."""
  folder = tmp_path_factory.mktemp('explanations')
  return [_saved(explanation, folder) for explanation in KEPT]


def _assert_same(one, other):
  assert one.method == other.method
  for field in ('masks', 'logits', 'pathway_logits', 'importance', 'tied'):
    ours, theirs = getattr(one, field), getattr(other, field)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs), field
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs)):
      assert a.dtype == b.dtype, field
      np.testing.assert_array_equal(a, b, err_msg=field)


@cases.several(10, 600, which=st.integers(0, 1), data=st.data())
def test_damage_is_noticed_or_harmless(tmp_path, contents, which, data):
  path = tmp_path / 'mine.npz'
  content = data.draw(cases.damaged(contents[which]))
  path.write_bytes(content)
  try:
    found = Explanation.load(path)
  except ValueError as error:
    said = str(error)
    assert said.startswith(f'{path}: ') and 'Explanation.save' in said
    assert path.read_bytes() == content
    return
  _assert_same(found, KEPT[which])


ABOUT = {
  'format': 1,
  'method': 'Random',
  'shapes': [list(shape) for shape in SHAPES],
  'layers_of_importance': 0,
}
SHAPES_OF_NONE = (
  [],
  [[]],
  [[16, 16, 8]],
  [[16, 16, 8], [6]],
  [[-16, -16, 8], [7]],
  [[0], [2055]],
  [[10**30], [7]],
  [[16, 16, 8], ['7']],
  [[16, 16, 8], [7.0]],
)


@cases.several(
  10,
  400,
  changes=st.dictionaries(st.sampled_from(list(ABOUT)), cases.JSON, max_size=2)
  | st.fixed_dictionaries({'shapes': st.sampled_from(SHAPES_OF_NONE)})
  | st.fixed_dictionaries(
    {'layers_of_importance': st.sampled_from((1, 2, -1, 10**30, True))}
  ),
  lost=st.sets(st.sampled_from(list(ABOUT)), max_size=1),
)
def test_what_it_says_of_itself_may_be_anything(
  tmp_path, contents, changes, lost
):
  about = {k: v for k, v in (ABOUT | changes).items() if k not in lost}
  path = tmp_path / 'mine.npz'
  with np.load(io.BytesIO(contents[0])) as arrays:
    np.savez(path, **dict(arrays) | {'about': json.dumps(about)})
  try:
    found = Explanation.load(path)
  except ValueError as error:
    assert str(error).startswith(f'{path}: ')
    return
  kept = dataclasses.replace(KEPT[0], method=about['method'])
  if isinstance(about['shapes'], list) and about['shapes'] == ABOUT['shapes']:
    _assert_same(found, kept)
  assert isinstance(found.method, str)
  assert {len(m) for m in found.masks} == {COUNT}


ODD = (
  np.zeros((COUNT, CLASSES), np.float32),
  np.zeros((COUNT + 1, CLASSES), np.float32),
  np.zeros((COUNT, CLASSES + 1), np.float32),
  np.zeros(COUNT, np.float32),
  np.zeros((COUNT, 2, 2)),
  np.zeros((COUNT, 257), np.uint8),
  np.zeros((COUNT, 257)),
  np.array('masks'),
  np.zeros(0, int),
)


@cases.several(
  10,
  300,
  changes=st.dictionaries(
    st.sampled_from(('masks', 'logits', 'pathway_logits', 'tied', 'more')),
    st.sampled_from(ODD),
    min_size=1,
    max_size=2,
  ),
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, contents, changes):
  path = tmp_path / 'mine.npz'
  with np.load(io.BytesIO(contents[0])) as arrays:
    np.savez(path, **dict(arrays) | changes)
  try:
    found = Explanation.load(path)
  except ValueError as error:
    assert str(error).startswith(f'{path}: not an explanation')
    return
  assert found.logits.shape == found.pathway_logits.shape
  assert found.logits.ndim == 2 and len(found) == COUNT
  assert found.tied.shape == (COUNT,)
  assert [m.shape for m in found.masks] == [(COUNT, *s) for s in SHAPES]


@pytest.mark.parametrize('name', ['\0', 'a' * 5000, '.', '~nobody/x.npz'])
def test_names_that_no_file_has(tmp_path, monkeypatch, name):
  monkeypatch.chdir(tmp_path)
  with pytest.raises(ValueError, match=r'no such file|not an explanation'):
    Explanation.load(name)


# A folder of them.


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  """An explained data set, not to be changed."""
  path = tmp_path_factory.mktemp('explained') / 'whole'
  explain_dataset(_random(), IMAGES, path, **SIZES)
  return path


@pytest.fixture(scope='module')
def whole(folder):
  """All that is in the folder, as one explanation."""
  return ExplainedDataset.open(folder).load()


def _random():
  return Random(tiny.target(), 0.9)


@pytest.fixture
def copy(folder, tmp_path):
  return pathlib.Path(shutil.copytree(folder, tmp_path / 'copy'))


def _content(folder):
  paths = pathlib.Path(folder).iterdir()
  return {p.name: p.read_bytes() for p in paths if p.name != '.lock'}


def _read(folder, whole):
  """Reads a folder; says whether nothing was noticed, and then nothing was."""
  before = _content(folder)
  try:
    found = ExplainedDataset.open(folder)
    loaded = found.load()
    sparsity = found.firing_sparsity
  except ValueError as error:
    assert str(folder) in str(error), error
    assert _content(folder) == before
    return False
  assert len(found) == len(loaded) == len(IMAGES)
  _assert_same(loaded, whole)
  np.testing.assert_array_equal(sparsity, whole.firing_sparsity)
  return True


@cases.several(
  10,
  400,
  name=st.sampled_from(['about.json'] * 3 + ['shard_00001.npz']),
  data=st.data(),
)
def test_damage_in_a_folder_is_noticed_or_harmless(
  folder, whole, copy, name, data
):
  path = copy / name
  path.write_bytes(data.draw(cases.damaged((folder / name).read_bytes())))
  _read(copy, whole)
  shutil.copy(folder / name, path)


FIELDS = ('kind', 'format', 'method', 'images', 'batch_size', 'shard_size')


@cases.several(
  10,
  600,
  changes=st.dictionaries(
    st.sampled_from((*FIELDS, 'shards')), cases.JSON, max_size=2
  )
  | st.dictionaries(
    st.sampled_from(('images', 'batch_size', 'shard_size')),
    st.sampled_from((0, 1, 2, 7, 9, 21, 23, 24, 80, 2**31, 10**18, -8, True)),
    min_size=1,
  ),
  lost=st.sets(st.sampled_from((*FIELDS, 'shards')), max_size=1),
)
def test_about_may_be_anything(folder, whole, copy, changes, lost):
  about = json.loads((folder / 'about.json').read_text()) | changes
  for name in lost:
    about.pop(name, None)
  (copy / 'about.json').write_text(json.dumps(about))
  _read(copy, whole)


@pytest.mark.parametrize(
  'text', [cases.DEEP, 'NaN', '1e400', '"a"', 'null', '1' * 5000]
)
def test_json_that_is_no_mapping_is_refused(copy, whole, text):
  (copy / 'about.json').write_text(text)
  assert not _read(copy, whole)


@cases.several(4, 60, data=st.data())
def test_the_same_call_mends_or_leaves_alone(folder, copy, data):
  """No damage makes it lose a file that is whole."""
  before = _content(folder)
  for path in copy.iterdir():
    path.unlink()
  for name, content in before.items():
    (copy / name).write_bytes(content)
  name = data.draw(st.sampled_from(sorted(before)))
  damaged = data.draw(cases.damaged(before[name]))
  (copy / name).write_bytes(damaged)
  try:
    explain_dataset(_random(), IMAGES, copy, **SIZES)
  except ValueError as error:
    assert str(copy) in str(error)
    assert _content(copy) == before | {name: damaged}
    return
  now = _content(copy)
  about = json.loads(now.pop('about.json'))
  assert about == json.loads(before['about.json'])
  assert now == {k: v for k, v in before.items() if k != 'about.json'}

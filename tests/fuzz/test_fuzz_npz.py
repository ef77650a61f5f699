"""Data sets in .npz files: damaged, foreign, and with arrays that are none."""

import io
import pathlib
import pickle
import zipfile

import ml_collections
import numpy as np
import pytest
from hypothesis import strategies as st

from gencnp_jax import npz_files
from gencnp_jax.data import cache, load
from tests.fuzz import cases

RNG = np.random.default_rng(0)
# More than zipfile reads at a time: only then a checksum may go unseen.
PIXELS = RNG.integers(0, 256, (40, 12, 12, 3)).astype(np.uint8)
GOOD = {'images': PIXELS, 'labels': np.arange(40) % 3}


def _bytes(arrays, save=np.savez):
  file = io.BytesIO()
  save(file, **arrays)
  return file.getvalue()


FORMS = [_bytes(GOOD), _bytes(GOOD, np.savez_compressed)]


def _load(path, **fields):
  defaults = {
    'name': 'npz',
    'path': str(path),
    'dir': '',
    'train_on': 'train',
    'image_size': 0,
    'validation_share': 0.0,
    'limit': 0,
  }
  return load(ml_collections.ConfigDict(defaults | fields))


@cases.several(10, 600, content=st.sampled_from(FORMS).flatmap(cases.damaged))
def test_damage_is_noticed_or_harmless(tmp_path, content):
  path = tmp_path / 'mine.npz'
  path.write_bytes(content)
  try:
    found = npz_files.read(path, 'copy it again')
  except ValueError as error:
    assert f'{path} ' in str(error) and str(error).endswith('; copy it again')
    return
  assert found.keys() == GOOD.keys()
  for name, array in GOOD.items():
    assert found[name].dtype == array.dtype
    np.testing.assert_array_equal(found[name], array)


@cases.several(5, 100, content=st.sampled_from(FORMS).flatmap(cases.damaged))
def test_a_damaged_cache_is_as_good_as_none(tmp_path, content):
  path, beside = tmp_path / 'mine.npz', tmp_path / 'other.npz'
  path.write_bytes(content)
  beside.write_bytes(FORMS[0])
  found = cache.cached(path, lambda: GOOD)
  np.testing.assert_array_equal(found['images'], PIXELS)
  np.testing.assert_array_equal(found['labels'], GOOD['labels'])
  again = cache.cached(path, pytest.fail)
  np.testing.assert_array_equal(again['images'], PIXELS)
  assert beside.read_bytes() == FORMS[0]


IMAGES = (
  PIXELS[:6],
  PIXELS[:6, ..., 0],
  PIXELS[:6, ..., :1],
  PIXELS[:6, ..., :2],
  np.repeat(PIXELS[:6], 2, -1)[..., :4],
  PIXELS[:6, :0],
  PIXELS[:0],
  PIXELS[0, 0],
  PIXELS[:6].astype(np.float32),
  np.full((6, 4, 4, 3), np.nan),
  PIXELS[:6].astype(np.int64),
  np.array(['a'] * 6),
  np.uint8(3),
  np.zeros((6, 1, 9, 3), np.uint8),
)
LABELS = (
  np.arange(6),
  np.array([0, 1, 2, 0, 1, 5], np.uint8),
  np.arange(6) + 2**32,
  np.arange(6) - 2**32,
  np.arange(6) - 1,
  np.full(6, 2**63, np.uint64),
  np.full(6, 10**12),
  np.full(6, np.nan),
  np.arange(6.0),
  np.arange(6) > 2,
  np.arange(5),
  np.arange(6)[:, None],
  np.int64(3),
  np.array(['cat'] * 6),
  np.zeros(0, int),
)
NAMES = (
  np.array(['cat', 'dog']),
  np.array([f'n{i}' for i in range(10)]),
  np.array([b'cat', b'\xff'] * 3),
  np.array('cat'),
  np.array([['a'], ['b']]),
  np.arange(6),
  np.full(3, np.nan),
  np.zeros(0, 'U1'),
)


@cases.several(
  10,
  500,
  images=st.sampled_from(IMAGES),
  labels=st.none() | st.sampled_from(LABELS),
  names=st.none() | st.sampled_from(NAMES),
  size=st.sampled_from((0, 0, 3)),
)
def test_any_arrays_are_a_data_set_or_named(
  tmp_path, images, labels, names, size
):
  path = tmp_path / 'mine.npz'
  arrays = {'train_images': images, 'test_images': images}
  if labels is not None:
    arrays |= {'train_labels': labels, 'test_labels': labels}
  if names is not None:
    arrays['class_names'] = names
  np.savez(path, **arrays)
  try:
    splits = _load(path, image_size=size)
  except ValueError as error:
    assert 'mine' in str(error) and '\n' not in str(error)
    return
  for split in (splits.train, splits.test):
    assert split.images.dtype == np.uint8 and split.images.shape[-1] == 3
    assert np.isfinite([split.mean, split.std]).all()
    if labels is None:
      assert split.labels is None
    else:
      np.testing.assert_array_equal(split.labels, labels)
      assert len(split.class_names) > labels.max()


@cases.several(
  5,
  200,
  jpeg=st.sampled_from(
    (np.zeros(9, np.uint8), np.zeros(9), np.zeros((3, 3), np.uint8), PIXELS)
  ),
  offsets=st.sampled_from(
    (
      np.array([0, 9]),
      np.array([0, 5, 9]),
      np.array([0, 9, 5], np.uint64),
      np.array([0, 5, 9.0]),
      np.array([-1, 9]),
      np.array([[0, 9]]),
      np.int64(9),
      np.zeros(0, int),
      np.array([2**63, 9], np.uint64),
    )
  ),
)
def test_what_is_no_jpeg_is_named(tmp_path, jpeg, offsets):
  path = tmp_path / 'mine.npz'
  np.savez(path, jpeg=jpeg, offsets=offsets)
  with pytest.raises(ValueError, match='mine'):
    _load(path)


class _Bomb:
  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return pathlib.Path.touch, (self.path,)


@pytest.mark.parametrize('field', ['images', 'labels', 'class_names', 'more'])
@pytest.mark.parametrize('nested', [False, True])
def test_a_pickle_runs_nothing(tmp_path, field, nested):
  bomb = _Bomb(tmp_path / 'ran')
  array = np.array([bomb, bomb], object)
  if nested:
    array = np.zeros(2, [('a', int), ('b', object)])
    array['b'] = bomb
  path = tmp_path / 'mine.npz'
  np.savez(path, **GOOD | {field: array})
  with pytest.raises(ValueError, match=r'mine\.npz is damaged or not an'):
    _load(path)
  path.write_bytes(pickle.dumps(bomb))
  with pytest.raises(ValueError, match=r'mine\.npz is damaged or not an'):
    _load(path)
  assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize('name', ['README.md', '__MACOSX/._images.npy', 'x/'])
def test_foreign_files_in_the_archive_are_left_out(tmp_path, name):
  path = tmp_path / 'mine.npz'
  path.write_bytes(FORMS[0])
  with zipfile.ZipFile(path, 'a') as archive:
    archive.writestr(name, b'' if name.endswith('/') else b'mine')
  assert npz_files.read(path, '').keys() == GOOD.keys()
  assert len(_load(path).train.images) == 32


def _npy(shape, kind='|u1', content=b''):
  file = io.BytesIO()
  header = {'descr': kind, 'fortran_order': False, 'shape': shape}
  np.lib.format.write_array_header_1_0(file, header)
  return file.getvalue() + content


@pytest.mark.parametrize(
  'content',
  [
    _npy((2**62,)),
    _npy((2**31, 2**31, 2**31)),
    _npy((10**12, 3), '<f8', bytes(100)),
    _npy((-4, 4), content=bytes(16)),
    _npy((10,), content=bytes(11)),
    _npy((10,), content=bytes(9)),
    _npy((1,), '<U1000000000'),
    b'\x93NUMPY\x09\x00' + bytes(100),
    b'\x93NUMPY\x01\x00\xff\xff' + b'(' * 65535,
    b'\x93NUMPY',
  ],
)
@pytest.mark.filterwarnings('ignore:Duplicate name')
def test_a_header_that_cannot_be_true_takes_no_memory(tmp_path, content):
  path = tmp_path / 'mine.npz'
  for names in (['images.npy'], ['images.npy', 'images.npy']):
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
      for name in names:
        archive.writestr(name, content)
    with pytest.raises(ValueError, match=r'mine\.npz is damaged or not an'):
      npz_files.read(path, '')


@pytest.mark.filterwarnings('ignore:Duplicate name')
def test_an_array_twice_is_an_error(tmp_path):
  path = tmp_path / 'mine.npz'
  path.write_bytes(FORMS[0])
  with zipfile.ZipFile(path, 'a') as archive:
    archive.writestr('labels.npy', _npy((1,), content=b'\x07'))
  with pytest.raises(ValueError, match='holds labels twice'):
    npz_files.read(path, '')


def test_memory_that_runs_out_is_said(tmp_path, monkeypatch):
  path = tmp_path / 'mine.npz'
  path.write_bytes(FORMS[0])

  def full(*unused, **options):
    raise MemoryError('full')

  monkeypatch.setattr(np.lib.format, 'read_array', full)
  with pytest.raises(
    ValueError, match=r'asks for more memory.*free some, or x'
  ):
    npz_files.read(path, 'x')


@cases.several(
  10,
  300,
  fields=st.fixed_dictionaries(
    {},
    optional={
      'name': st.sampled_from(('npz', 'NPZ', '', 'digit', 'nowhere')),
      'path': st.text(max_size=8)
      | st.sampled_from(('~nobody/x', '/' + 'a' * 5000, '\0', '\ud800', '.')),
      'train_on': st.sampled_from(('train', 'test', 'both', '')),
      'image_size': st.sampled_from((-1, 8193, 2**31, 2**70)),
      'validation_share': st.sampled_from((-0.1, 1.0, 2, float('nan'))),
      'limit': st.sampled_from((-1, 0, 2**70)),
    },
  ),
)
def test_fields_of_data_are_named(tmp_path, fields):
  path = tmp_path / 'mine.npz'
  path.write_bytes(FORMS[0])
  bad = fields.keys() - ({'limit'} if fields.get('limit', -1) >= 0 else set())
  bad -= {'train_on'} if fields.get('train_on') in ('train', 'test') else set()
  bad -= {'name'} if fields.get('name') == 'npz' else set()
  try:
    _load(**{'path': path} | fields)
  except ValueError as error:
    assert any(f'data.{name}' in str(error) for name in bad), error
    return
  assert not bad

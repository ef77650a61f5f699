"""Official files of data sets: pickles that run nothing, archives, texts."""

import io
import json
import pickle
import tarfile
import time

import ml_collections
import numpy as np
import pytest
from hypothesis import strategies as st

from gencnp_jax.data import (
  cifar10,
  cifar10_files,
  class_names,
  load,
  pickled_arrays,
  prepared,
)
from gencnp_jax.data import downsampled_imagenet_files as files
from tests.data.conftest import FakeCifar
from tests.fuzz import cases

COUNT, SIDE = 40, 8
RNG = np.random.default_rng(0)
FIELDS = {
  'data': RNG.integers(0, 256, (COUNT, 3 * SIDE * SIDE)).astype(np.uint8),
  'labels': (np.arange(COUNT) % 5 + 1).tolist(),
  'mean': np.zeros(3 * SIDE * SIDE),
}


def _npz(fields):
  file = io.BytesIO()
  np.savez(file, **fields)
  return file.getvalue()


PICKLES = [pickle.dumps(FIELDS, protocol) for protocol in range(6)]


@cases.several(10, 600, content=st.sampled_from(PICKLES).flatmap(cases.damaged))
def test_a_damaged_pickle_is_a_batch_or_named(tmp_path, content):
  """Pickles have no checksum: a pixel may differ, the form may not."""
  path = tmp_path / 'val_data'
  path.write_bytes(content)
  try:
    found = files.read(path)
  except ValueError as error:
    assert f'{path}' in str(error) and 'official file again' in str(error)
    return
  assert found.images.dtype == np.uint8 and found.labels.dtype == np.int32
  assert len(found.images) == len(found.labels)
  assert found.images.shape[1] == found.images.shape[2]
  assert files.most_images(path, found.images.shape[1]) >= len(found.images)


@cases.several(5, 200, data=st.data())
def test_a_damaged_npz_is_noticed_or_harmless(tmp_path, data):
  (tmp_path / 'val_data.npz').write_bytes(
    data.draw(cases.damaged(_npz(FIELDS)))
  )
  fields = {
    'name': 'downsampled_imagenet',
    'path': str(tmp_path),
    'dir': '',
    'train_on': 'test',
    'image_size': 0,
    'validation_share': 0.0,
    'limit': 0,
  }
  try:
    test = load(ml_collections.ConfigDict(fields)).test
  except ValueError as error:
    assert str(tmp_path) in str(error)
    return
  planes = FIELDS['data'].reshape(COUNT, 3, SIDE, SIDE)
  np.testing.assert_array_equal(test.images, planes.transpose(0, 2, 3, 1))
  assert (test.labels + 1).tolist() == FIELDS['labels']


# What a pickle is made of; the first ones would leave a proof behind.
PIECES = [
  b'cos\nmkdir\n',
  b'cbuiltins\neval\n',
  b'csubprocess\nPopen\n',
  b'X\x05\x00\x00\x00proof',
  b"X\x13\x00\x00\x00__import__('os').x()",
  b'(S"proof"\nios\nmkdir\n',
  b'cnumpy\ndtype\n',
  b'cnumpy\nndarray\n',
  b'cnumpy._core.multiarray\n_reconstruct\n',
  b'cnumpy._core.numeric\n_frombuffer\n',
  b'c_codecs\nencode\n',
  b'cnumpy\ndtype.__init__\n',
  b'X\x02\x00\x00\x00u1',
  b'X\x06\x00\x00\x00latin1',
  b'X\x04\x00\x00\x00data',
  b'X\x06\x00\x00\x00labels',
  b'C\x03abc',
  b'X\x02\x00\x00\x00os\x8c\x05mkdir\x93',
  b'r\xff\xff\xff\x3f',
  b'\x8e\xff\xff\xff\xff\xff\x00\x00\x00',
  b'\x82\x01',
  b'Pproof\n',
  *(
    bytes([code])
    for code in b'(])}tN0125QaesubRo\x81\x85\x86\x87\x88\x92\x94\x97\x98'
  ),
  b'q\x00',
  b'h\x00',
  b'K\x01',
  b'K\x01K\x03\x86',
]


@cases.several(
  20,
  1500,
  pieces=st.lists(st.sampled_from(PIECES), max_size=14),
  protocol=st.sampled_from((b'', b'\x80\x02', b'\x80\x05')),
)
def test_no_pickle_runs_anything(tmp_path, monkeypatch, pieces, protocol):
  monkeypatch.chdir(tmp_path)
  path = tmp_path / 'val_data'
  path.write_bytes(protocol + b''.join(pieces) + b'.')
  before = [dict(vars(kind)) for kind in pickled_arrays._STAND_INS.values()]
  start = time.process_time()
  try:
    found = pickled_arrays.read(path, 'copy it again')
    assert isinstance(found, dict)
  except ValueError as error:
    assert str(path) in str(error) and 'copy it again' in str(error)
  assert time.process_time() - start < 5
  assert [p.name for p in tmp_path.iterdir()] == ['val_data']
  assert before == [
    dict(vars(kind)) for kind in pickled_arrays._STAND_INS.values()
  ]


def test_lists_that_hold_one_another_are_no_labels(tmp_path):
  endless = [1]
  endless.append(endless)
  deep = [1, 1]
  for _ in range(60):
    deep = [deep, deep]
  for labels in (endless, deep, {1: 2}, 'labels', 3, None):
    (tmp_path / 'val_data').write_bytes(
      pickle.dumps(FIELDS | {'labels': labels})
    )
    with pytest.raises(ValueError, match='labels are no row of numbers'):
      files.read(tmp_path / 'val_data')


@pytest.fixture(scope='module')
def cifar():
  """Tiny official files, in a tar of each compression."""
  fake, archives = FakeCifar(), []
  for mode in ('w:gz', 'w'):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as tar:
      for name, content in fake.files.items():
        member = tarfile.TarInfo(f'cifar-10-batches-bin/{name}')
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    archives.append(file.getvalue())
  return fake, archives


@cases.several(5, 300, which=st.integers(0, 1), data=st.data())
def test_a_damaged_archive_is_noticed_or_harmless(
  tmp_path, cifar, monkeypatch, which, data
):
  fake, archives = cifar
  monkeypatch.setattr(cifar10_files, 'SHA1', fake.sha1)
  path = tmp_path / cifar10_files.ARCHIVE
  content = data.draw(cases.damaged(archives[which]))
  path.write_bytes(content)
  try:
    found = cifar10_files.official_files(tmp_path)
  except ValueError as error:
    assert str(path) in str(error) and 'fetch it again' in str(error)
    assert path.read_bytes() == content
    return
  assert found == fake.files


@pytest.mark.parametrize(
  'read, content',
  [
    (class_names.listed, b'n01\tcat\n\nn02\t\xe2\x82\xac\n'),
    (class_names.mapped, b'n01 1 cat\nn02 2 big_dog\nn03 3 fish\n'),
    (class_names.words, b'n01\tcat, a pet\nn02\tdog\n'),
  ],
)
@cases.several(10, 300, data=st.data())
def test_a_damaged_text_is_names_or_named(tmp_path, read, content, data):
  path = tmp_path / 'names.txt'
  path.write_bytes(data.draw(cases.damaged(content)))
  try:
    found = read(path)
  except ValueError as error:
    assert str(path) in str(error) and '\n' not in str(error)
    return
  assert all(isinstance(name, str) for name in found)


def test_numbers_and_folders_that_are_no_names(tmp_path):
  path = tmp_path / 'names.txt'
  path.write_text(f'n01 {"9" * 5000} cat\n')
  with pytest.raises(ValueError, match=r'names\.txt, line 1'):
    class_names.mapped(path)
  with pytest.raises(ValueError, match='no UTF-8 text'):
    class_names.listed(tmp_path)


@pytest.fixture(scope='module')
def directory(tmp_path_factory, cifar):
  """A prepared TFDS directory."""
  path = tmp_path_factory.mktemp('tfds')
  cifar10.prepare(path, cifar[0].files)
  return path


@pytest.mark.long
def test_a_damaged_tfds_directory_is_noticed(directory):
  """But for the letters of `label.labels.txt`, which nothing vouches for."""
  (version,) = (directory / 'cifar10').glob('[0-9]*')
  texts = {p.name: p for p in version.iterdir() if 'labels' not in p.name}
  (images, labels), *_ = prepared.read(directory, 'cifar10', 0)

  @cases.hypothesis.settings(max_examples=400, **cases.OPTIONS)
  @cases.hypothesis.given(st.data())
  def run(data):
    name = data.draw(st.sampled_from(sorted(texts)))
    whole = texts[name].read_bytes()
    texts[name].write_bytes(data.draw(cases.damaged(whole)))
    for cached in directory.glob('*.npz'):
      cached.unlink()
    try:
      found = prepared.read(directory, 'cifar10', 0)
      np.testing.assert_array_equal(found.train[0], images)
      np.testing.assert_array_equal(found.train[1], labels)
    except ValueError as error:
      assert str(directory) in str(error) and '\n' not in str(error)
    finally:
      texts[name].write_bytes(whole)

  run()


@pytest.mark.long
def test_a_number_of_images_that_is_too_small_is_noticed(directory):
  (version,) = (directory / 'cifar10').glob('[0-9]*')
  for cached in directory.glob('*.npz'):
    cached.unlink()
  path = version / 'dataset_info.json'
  whole = path.read_text()
  content = json.loads(whole)
  content['splits'][0]['shardLengths'] = ['5']
  path.write_text(json.dumps(content))
  with pytest.raises(ValueError, match='images instead of 5'):
    prepared.read(directory, 'cifar10', 0)
  path.write_text(whole)
  (directory / 'cifar10-3.0.2-decoded.npz').write_bytes(_npz({'other': 1}))
  with pytest.raises(ValueError, match=r"holds \['other'\].*remove it"):
    prepared.read(directory, 'cifar10', 0)

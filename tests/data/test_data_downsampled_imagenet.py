"""Downsampled ImageNet: tiny official files in both forms, and damaged ones."""

import os
import pickle
import shutil

import numpy as np
import pytest

from gencnp_jax.data import downsampled_imagenet_files as files
from gencnp_jax.data import load, pickled_arrays

SIDE = 8
COUNT = 6


def batch(seed, count=COUNT, side=SIDE, classes=5):
  """Random images, and the dict that the official scripts store of them."""
  rng = np.random.default_rng(seed)
  images = rng.integers(0, 256, (count, side, side, 3), np.uint8)
  planes = [images[..., channel].reshape(count, -1) for channel in range(3)]
  labels = (np.arange(count) + seed) % classes + 1
  fields = {'data': np.concatenate(planes, axis=1), 'labels': labels.tolist()}
  return images, fields


def write(path, fields, form='pickle', protocol=3):
  path.parent.mkdir(parents=True, exist_ok=True)
  if form == 'npz':
    np.savez(path.with_name(path.name + '.npz'), **fields)
  else:
    path.write_bytes(pickle.dumps(fields, protocol))


def write_all(folder, form='pickle', train='', val='', batches=3):
  """Training batches and val_data; -> all images in order, of each."""
  stored = []
  for number in range(1, batches + 1):
    images, fields = batch(number)
    fields['mean'] = fields['data'].mean(axis=0)
    write(folder / train / f'train_data_batch_{number}', fields, form)
    stored.append(images)
  images, fields = batch(0, count=4)
  write(folder / val / 'val_data', fields, form)
  return np.concatenate(stored or [images]), images


@pytest.fixture
def named(config, tmp_path):
  """named(...) -> config.data of the files in tmp_path."""
  return lambda **fields: config(
    name='downsampled_imagenet', path=str(tmp_path), **fields
  )


@pytest.mark.parametrize('form', ['pickle', 'npz'])
@pytest.mark.parametrize('below', [False, True])
def test_both_forms_in_the_folder_or_one_below(tmp_path, named, form, below):
  inside = {'train': 'Imagenet8_train', 'val': 'Imagenet8_val'}
  train, test = write_all(tmp_path, form, **(inside if below else {}))
  splits = load(named())
  # The images as they were before their planes were taken apart.
  np.testing.assert_array_equal(splits.train.images, train)
  np.testing.assert_array_equal(splits.test.images, test)
  # 1..5 are 0..4, batch by batch.
  wanted = [(row + number) % 5 for number in (1, 2, 3) for row in range(COUNT)]
  assert splits.train.labels.tolist() == wanted
  assert splits.test.labels.tolist() == [0, 1, 2, 3]
  assert splits.train.class_names == ('0', '1', '2', '3', '4')
  assert splits.train.name == 'downsampled_imagenet'


def test_the_planes_are_red_green_and_blue_in_rows(tmp_path, named):
  pixels = np.arange(3 * SIDE * SIDE, dtype=np.uint8)[None]
  for name in ('train_data_batch_1', 'val_data'):
    write(tmp_path / name, {'data': pixels, 'labels': [1]})
  (image,) = load(named()).test.images
  assert image[0, 0].tolist() == [0, 64, 128]
  assert image[0, 1].tolist() == [1, 65, 129]
  assert image[1, 0].tolist() == [8, 72, 136]


@pytest.mark.parametrize('side', [8, 16, 32, 64])
def test_the_side_is_that_of_the_rows(tmp_path, side):
  images, fields = batch(0, count=2, side=side)
  write(tmp_path / 'val_data', fields)
  np.testing.assert_array_equal(
    files.read(tmp_path / 'val_data').images, images
  )


@pytest.mark.parametrize('form', ['pickle', 'npz'])
def test_images_are_resized_by_area(tmp_path, named, halved, form):
  train, _ = write_all(tmp_path, form)
  images = load(named(image_size=4)).train.images
  np.testing.assert_array_equal(images, halved(train))


@pytest.mark.parametrize('protocol', range(6))
def test_every_protocol_of_pickle_is_read(tmp_path, protocol):
  images, fields = batch(0)
  # Whole numbers of any width, in either order of bytes and of axes.
  fields['labels'] = np.array(fields['labels'], '>i2')
  fields['data'] = np.asfortranarray(fields['data'])
  fields['mean'] = fields['data'].mean(axis=0)
  write(tmp_path / 'val_data', fields, protocol=protocol)
  got = files.read(tmp_path / 'val_data')
  np.testing.assert_array_equal(got.images, images)
  assert got.labels.tolist() == [0, 1, 2, 3, 4, 0]
  # What a split takes is never underestimated.
  assert files.most_images(tmp_path / 'val_data', SIDE) >= COUNT


def test_what_numpy_1_and_python_2_wrote_is_read(tmp_path):
  images, fields = batch(0)
  content = pickle.dumps(fields, 2).replace(
    b'numpy._core.multiarray', b'numpy.core.multiarray'
  )
  (tmp_path / 'val_data').write_bytes(content)
  got = files.read(tmp_path / 'val_data')
  np.testing.assert_array_equal(got.images, images)
  # Python 2 has no bytes: the pixels are a string in the state.
  content = (
    b'\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\n'
    b'cnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x01K\xc0\x86'
    b'cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xff'
    b'J\xff\xff\xff\xffK\x00tb\x89T\xc0\x00\x00\x00' + bytes(range(192)) + b'tb'
    b'U\x06labels]K\x07au.'
  )
  (tmp_path / 'val_data').write_bytes(content)
  got = files.read(tmp_path / 'val_data')
  assert got.images[0, 0, 0].tolist() == [0, 64, 128]
  assert got.labels.tolist() == [6]


class _Calls:
  """Pickles as a call of a function with arguments."""

  def __init__(self, function, *arguments):
    self.reduced = function, arguments

  def __reduce__(self):
    return self.reduced


def test_a_pickle_runs_nothing(tmp_path, named):
  write_all(tmp_path)
  proof = tmp_path / 'proof'
  _, fields = batch(0)
  for fields['mean'] in (_Calls(os.mkdir, str(proof)), _Calls(eval, '1')):
    write(tmp_path / 'val_data', fields)
    with pytest.raises(ValueError, match=r'val_data is .*it asks for \w+\.'):
      load(named())
  assert not proof.exists()
  # Allowed calls are stand-ins, which no state of the pickle changes.
  before = dict(vars(pickled_arrays._Bytes)), dict(vars(pickled_arrays._Array))
  for target in (b'c_codecs\nencode\n', b'cnumpy\nndarray\n'):
    content = b'\x80\x02' + target + b'N}X\x01\x00\x00\x00aK\x01s\x86b.'
    (tmp_path / 'val_data').write_bytes(content)
    with pytest.raises(ValueError, match='val_data is damaged or no pickle'):
      load(named())
  assert (
    dict(vars(pickled_arrays._Bytes)),
    dict(vars(pickled_arrays._Array)),
  ) == before


@pytest.mark.parametrize(
  ('change', 'message'),
  [
    ({'labels': [0] * COUNT}, r'labels run from 0 to 0; .* are 1\.\.1000'),
    ({'labels': [1001] * COUNT}, 'labels run from 1001 to 1001'),
    ({'labels': [1]}, r'labels are int64 \[1\]; they must be 6'),
    ({'labels': [1.5] * COUNT}, 'labels are float64'),
    ({'labels': [[1], [1, 2]]}, 'is damaged'),
    ({'data': np.zeros((COUNT, 192))}, 'data is float64'),
    ({'data': [1, 2]}, 'data is list'),
    (
      {'data': np.zeros((COUNT, 191), np.uint8)},
      r'data is \[6, 191\]; .*8, 16',
    ),
    ({'data': np.zeros((COUNT, 300), np.uint8)}, r'data is \[6, 300\]'),
    ({'data': np.zeros(192, np.uint8)}, r'data is \[192\]'),
    ({'data': np.array([{}] * 2)}, "an array of 'O8'"),
  ],
)
def test_what_is_no_batch_is_named(tmp_path, change, message):
  _, fields = batch(0)
  write(tmp_path / 'val_data', {**fields, **change})
  with pytest.raises(ValueError, match=f'val_data.*{message}.*official'):
    files.read(tmp_path / 'val_data')


@pytest.mark.parametrize('field', ['data', 'labels'])
def test_a_field_that_is_missing_is_named(tmp_path, field):
  for form in ('pickle', 'npz'):
    _, fields = batch(0)
    del fields[field]
    write(tmp_path / 'val_data', fields, form)
  for name in ('val_data', 'val_data.npz'):
    with pytest.raises(
      ValueError, match=rf"{name} holds \['.*'\], but no {field}"
    ):
      files.read(tmp_path / name)


def test_another_object_than_a_dict_is_named(tmp_path):
  write(tmp_path / 'val_data', [1, 2])
  with pytest.raises(ValueError, match=r'val_data is .*it holds a list'):
    files.read(tmp_path / 'val_data')


@pytest.mark.parametrize('form', ['pickle', 'npz'])
@pytest.mark.parametrize('kept', [0, 1, 30, 300, 0.5, 0.95])
@pytest.mark.parametrize('name', ['train_data_batch_2', 'val_data'])
def test_a_truncated_file_is_named(tmp_path, named, form, kept, name):
  write_all(tmp_path, form)
  path = tmp_path / (name + '.npz' * (form == 'npz'))
  content = path.read_bytes()
  path.write_bytes(
    content[: kept if isinstance(kept, int) else int(kept * len(content))]
  )
  with pytest.raises(ValueError, match=f'{path.name} is damaged.*again'):
    load(named())


def test_a_size_beyond_all_memory_is_named(tmp_path):
  content = b'\x80\x04\x8e' + (2**62).to_bytes(8, 'little') + b'.'
  (tmp_path / 'val_data').write_bytes(content)
  with pytest.raises(
    ValueError, match='val_data has 12 bytes, but asks for more'
  ):
    files.read(tmp_path / 'val_data')


def test_random_damage_is_an_error_that_names_the_file_or_harmless(tmp_path):
  path = tmp_path / 'val_data'
  _, fields = batch(0)
  content = pickle.dumps(fields, 3)
  rng = np.random.default_rng(0)
  refused = 0
  for _ in range(300):
    damaged = bytearray(content)
    # Past the pixels and in front of them, where the structure is.
    where = int(rng.integers(0, 250))
    damaged[where if where < 150 else -(where - 149)] = rng.integers(0, 256)
    path.write_bytes(bytes(damaged))
    try:
      files.read(path)
    except ValueError as error:
      assert 'val_data' in str(error)
      refused += 1
  assert refused > 150


def test_a_gap_names_the_file_that_is_missing(tmp_path, named):
  write_all(tmp_path, batches=4)
  (tmp_path / 'train_data_batch_2').unlink()
  with pytest.raises(
    ValueError, match='no train_data_batch_2, though it has train_data_batch_4'
  ):
    load(named())


@pytest.mark.parametrize(('batches', 'warned'), [(1, True), (10, False)])
def test_fewer_than_ten_batches_are_warned_of(
  tmp_path, named, caplog, batches, warned
):
  train, _ = write_all(tmp_path, batches=batches)
  with caplog.at_level('WARNING', logger='absl'):
    splits = load(named())
  # Batch 10 comes after batch 9, not after batch 1.
  np.testing.assert_array_equal(splits.train.images, train)
  assert (
    f'holds {batches} of the 10 training batches' in caplog.text
  ) == warned


def test_what_is_missing_is_named(tmp_path, named, config):
  (tmp_path / 'val_data').mkdir()  # A folder of that name is no file.
  with pytest.raises(ValueError, match=r'no val_data or val_data\.npz'):
    load(named())
  write_all(tmp_path, form='npz', batches=0)
  with pytest.raises(
    ValueError, match=r"no train_data_batch_1; add it \(data\.train_on='test'"
  ):
    load(named())
  with pytest.raises(ValueError, match=r'val\.npz is no folder; name the one'):
    load(config(name='downsampled_imagenet', path=str(tmp_path / 'val.npz')))


def test_a_file_that_is_there_twice_is_named(tmp_path, named):
  write_all(tmp_path)
  shutil.copytree(tmp_path, tmp_path / 'again')
  with pytest.raises(
    ValueError, match=r'holds train_data_batch_1 twice: .*again'
  ):
    load(named())
  shutil.rmtree(tmp_path / 'again')
  write(tmp_path / 'val_data', batch(0)[1], 'npz')
  with pytest.raises(
    ValueError, match=r'holds val_data twice: .*val_data\.npz'
  ):
    load(named())


def test_sizes_that_differ_are_named(tmp_path, named):
  write_all(tmp_path)
  write(tmp_path / 'val_data', batch(0, side=16)[1])
  with pytest.raises(
    ValueError, match=r'val_data has images of side 16.*side 8'
  ):
    load(named())
  assert load(named(image_size=8)).test.images.shape == (COUNT, 8, 8, 3)
  write(tmp_path / 'train_data_batch_2', batch(0, side=32)[1])
  with pytest.raises(
    ValueError, match=r'train_data_batch_2 has images of side 32, .*batch_1'
  ):
    load(named())


def test_trained_on_the_test_images_val_data_is_enough(tmp_path, named):
  _, test = write_all(tmp_path, batches=0)
  splits = load(named(train_on='test'))
  np.testing.assert_array_equal(splits.train.images, test)
  assert len(splits.train.class_names) == 4
  # Nor is a batch that is there opened.
  (tmp_path / 'train_data_batch_7').write_bytes(b'damaged')
  assert len(load(named(train_on='test')).train.images) == 4


def test_a_split_is_filled_without_a_second_copy(tmp_path, named):
  train, _ = write_all(tmp_path)
  splits = load(named(validation_share=0.2))
  together = np.concatenate([splits.train.images, splits.validation.images])
  assert {image.tobytes() for image in together} == {
    image.tobytes() for image in train
  }
  # A view of the array of both, which holds the rest of it once.
  assert splits.train.images.base.shape[0] >= len(train)


MAP = ''.join(
  f'n0{number} {number} name_of_{number}\n' for number in (3, 1, 5, 2, 4)
)


def test_names_come_from_a_list_or_the_official_map(tmp_path, named):
  write_all(tmp_path)
  (tmp_path / 'map_clsloc.txt').write_text(MAP)
  wanted = tuple(f'name of {number}' for number in range(1, 6))
  assert load(named()).train.class_names == wanted
  (tmp_path / 'classes.txt').write_text('cat\nn02\tdog\n\nfox\ncow\ncrane\n')
  assert load(named()).train.class_names == (
    'cat',
    'dog',
    'fox',
    'cow',
    'crane',
  )
  (tmp_path / 'classes.txt').write_text('cat\ndog\n')
  with pytest.raises(ValueError, match='from 0 to 4, but there are 2 classes'):
    load(named())


@pytest.mark.parametrize(
  ('content', 'message'),
  [
    (MAP.encode() + b'n06 six\n', r"map_clsloc\.txt, line 6: 'n06 six' is not"),
    (MAP.encode() + b'n06 x crane\n', 'line 6'),
    (
      MAP.encode() + b'n06 7 crane\n',
      'its 6 classes must be 1 to 6, each once',
    ),
    (
      MAP.encode() + b'n06 5 crane\n',
      'its 6 classes must be 1 to 6, each once',
    ),
    (b'\xff\xfe', r'map_clsloc\.txt is no UTF-8 text'),
  ],
)
def test_a_damaged_map_is_named(tmp_path, named, content, message):
  write_all(tmp_path)
  (tmp_path / 'map_clsloc.txt').write_bytes(content)
  with pytest.raises(ValueError, match=message):
    load(named())

"""TFDS directories: which one is found, and what is no image data set."""

import json

import numpy as np
import pytest

from gencnp_jax.data import cifar10, load, prepared


@pytest.fixture
def directory(tmp_path, fake_cifar):
  """A prepared fake CIFAR-10; -> its version directory."""
  cifar10.prepare(tmp_path, fake_cifar.files)
  (version,) = (tmp_path / 'cifar10').glob('[0-9]*')
  return version


def edit(path, change):
  content = json.loads(path.read_text())
  change(content)
  path.write_text(json.dumps(content))


def test_it_is_read_at_another_size(directory, tmp_path, config, halved):
  read = config(name='tfds', path='cifar10', dir=str(tmp_path), image_size=16)
  splits = load(read)
  assert splits.train.images.shape == (60, 16, 16, 3)
  read.image_size = 0
  full = load(read).train
  np.testing.assert_array_equal(splits.train.images, halved(full.images))
  np.testing.assert_array_equal(splits.train.labels, full.labels)
  assert full.name == 'cifar10'


def test_the_newest_version_is_found_by_number(tmp_path):
  for version in ('3.0.2', '3.0.10', '2.9.9', 'incomplete.X_4.0.0'):
    (tmp_path / 'set' / version).mkdir(parents=True)
    (tmp_path / 'set' / version / 'dataset_info.json').write_text('{}')
  (tmp_path / 'set' / '5.0.0').mkdir()
  assert prepared.find(tmp_path, 'set').name == '3.0.10'
  assert prepared.find(tmp_path, 'set:2.9.9').name == '2.9.9'
  assert prepared.find(tmp_path, 'set:1.0.0') is None
  assert prepared.find(tmp_path, 'other') is None


def test_what_is_not_prepared_is_named(tmp_path, config):
  with pytest.raises(ValueError, match=r"no prepared 'mnist'.*array_record"):
    load(config(name='tfds', path='mnist', dir=str(tmp_path)))


def test_another_file_format_is_named(directory, tmp_path, config):
  def change(content):
    content['fileFormat'] = 'tfrecord'

  edit(directory / 'dataset_info.json', change)
  with pytest.raises(ValueError, match=r'holds tfrecord files.*array_record'):
    load(config(name='tfds', path='cifar10', dir=str(tmp_path)))


def test_a_data_set_without_a_test_split_is_named(directory, tmp_path, config):
  def change(content):
    content['splits'] = content['splits'][:1]

  edit(directory / 'dataset_info.json', change)
  with pytest.raises(ValueError, match='it needs train, and test'):
    load(config(name='tfds', path='cifar10', dir=str(tmp_path)))


def test_a_truncated_record_file_is_named(directory, tmp_path, config):
  (file,) = directory.glob('*train*')
  file.write_bytes(file.read_bytes()[:100_000])
  with pytest.raises(ValueError, match=r'3\.0\.2 is damaged.*prepare it again'):
    load(config(name='tfds', path='cifar10', dir=str(tmp_path)))

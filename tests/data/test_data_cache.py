"""The cache: made once, by one process, and never read half written."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gencnp_jax import npz_files
from gencnp_jax.data import cache

ROOT = Path(__file__).resolve().parents[2]

# Makes the cache at argv[1], and says so in argv[2].
MAKER = """
import sys, time
from pathlib import Path
import numpy as np
from gencnp_jax.data.cache import cached

path, log, seconds = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])

def make():
  with log.open('a') as file:
    file.write('made\\n')
  time.sleep(seconds)
  return {'images': np.arange(1000)}

print(cached(path, make)['images'].sum())
"""


def start_maker(path, log, seconds):
  return subprocess.Popen(
    [sys.executable, '-c', MAKER, str(path), str(log), str(seconds)],
    cwd=ROOT,
    env={**os.environ, 'JAX_PLATFORMS': 'cpu'},
    stdout=subprocess.PIPE,
    text=True,
  )


def arrays(value=7):
  return {'images': np.full((50, 4), value, np.uint8), 'n': np.array(['a'])}


def never():
  raise AssertionError('made again though the cache is whole')


def files(folder):
  return sorted(path.name for path in folder.iterdir())


def test_the_first_caller_makes_and_later_ones_read(tmp_path):
  path = tmp_path / 'new' / 'a.npz'
  cache.cached(path, arrays)
  got = cache.cached(path, never)
  np.testing.assert_array_equal(got['images'], arrays()['images'])
  assert got['n'].tolist() == ['a']
  assert files(path.parent) == ['.lock', 'a.npz']
  assert path.stat().st_mode & 0o777 == 0o644


def test_two_processes_make_it_once(tmp_path):
  path, log = tmp_path / 'a.npz', tmp_path / 'log'
  makers = [start_maker(path, log, 0.7) for _ in range(2)]
  printed = [maker.communicate(timeout=60)[0].strip() for maker in makers]
  assert printed == ['499500', '499500']
  assert log.read_text() == 'made\n'


def test_a_killed_process_leaves_neither_a_lock_nor_a_file(tmp_path):
  path, log = tmp_path / 'a.npz', tmp_path / 'log'
  maker = start_maker(path, log, 60)
  deadline = time.monotonic() + 30
  while not log.exists() and time.monotonic() < deadline:
    time.sleep(0.05)
  assert log.exists() and not path.exists()
  assert f'process {maker.pid} on' in (tmp_path / '.lock').read_text()
  maker.send_signal(signal.SIGKILL)
  maker.communicate()
  cache.cached(path, arrays)
  assert path.exists()


def test_a_failed_making_leaves_nothing_behind(tmp_path):
  path = tmp_path / 'a.npz'
  with pytest.raises(ZeroDivisionError):
    cache.cached(path, lambda: 1 / 0)
  with pytest.raises(TypeError), cache.replacing(path):
    raise TypeError
  assert files(tmp_path) == ['.lock']


def damage_flip(content):
  middle = len(content) // 3
  return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]


DAMAGES = {
  'flipped bit': damage_flip,
  'truncated': lambda content: content[:-40],
  'half': lambda content: content[: len(content) // 2],
  'empty': lambda content: b'',
  'another kind': lambda content: b'hello',
}


@pytest.mark.parametrize('damage', DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_cache_is_named_and_made_again(tmp_path, damage, caplog):
  path = tmp_path / 'a.npz'
  cache.cached(path, arrays)
  path.write_bytes(damage(path.read_bytes()))
  with pytest.raises(ValueError, match=r'a\.npz is damaged.*say'):
    npz_files.read(path, remedy='say what helps')
  with caplog.at_level('WARNING', logger='absl'):
    got = cache.cached(path, lambda: arrays(8))
  assert 'a.npz is damaged' in caplog.text
  np.testing.assert_array_equal(got['images'], arrays(8)['images'])
  got = cache.cached(path, never)
  np.testing.assert_array_equal(got['images'], arrays(8)['images'])


def test_pickles_are_never_opened(tmp_path):
  np.savez(tmp_path / 'a.npz', images=np.array([{}], object))
  with pytest.raises(ValueError, match='plain arrays'):
    npz_files.read(tmp_path / 'a.npz', remedy='')
  np.save(tmp_path / 'b.npz', np.arange(3))
  (tmp_path / 'b.npz.npy').rename(tmp_path / 'b.npz')
  with pytest.raises(ValueError, match=r'not an \.npz'):
    npz_files.read(tmp_path / 'b.npz', remedy='')


def test_a_read_only_folder_is_read_without_a_cache(tmp_path, monkeypatch):
  monkeypatch.setattr(cache.os, 'access', lambda path, mode: False)
  got = cache.cached(tmp_path / 'a.npz', arrays)
  np.testing.assert_array_equal(got['images'], arrays()['images'])
  assert files(tmp_path) == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
  (tmp_path / 'file').write_text('')
  with (
    pytest.raises(ValueError, match=r'data\.dir .*file.* cannot be written'),
    cache.lock(tmp_path / 'file' / 'folder'),
  ):
    pass


def test_where_the_data_directory_is(monkeypatch):
  monkeypatch.setenv('TFDS_DATA_DIR', '/from/environment')
  assert cache.data_dir('/given') == Path('/given')
  assert cache.data_dir('') == Path('/from/environment')
  monkeypatch.delenv('TFDS_DATA_DIR')
  assert cache.data_dir('') == Path.home() / 'tensorflow_datasets'
  with pytest.raises(ValueError, match=r"data\.dir is 'gs://b'.*local"):
    cache.data_dir('gs://b')

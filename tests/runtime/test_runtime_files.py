"""Files: whole or not there, whatever the disk says."""

import errno

import pytest
from etils import epath

from gencnp_jax.runtime import files


def test_the_folder_is_made_and_nothing_else_is_left(tmp_path):
  path = tmp_path / 'a' / 'b' / 'file.txt'
  files.write_text(path, 'ä')
  files.write_text(path, 'ö')
  assert path.read_text() == 'ö'
  assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_leaves_what_was_there(tmp_path):
  path = tmp_path / 'file.txt'
  files.write_text(path, 'before')

  def fill(file):
    file.write(b'half')
    raise OSError(errno.ENOSPC, 'No space left on device')

  with pytest.raises(OSError, match='No space left'):
    files.write(path, fill)
  assert path.read_text() == 'before'
  assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made(tmp_path):
  (tmp_path / 'file').touch()
  with pytest.raises(OSError, match='file'):
    files.write_text(tmp_path / 'file' / 'x.txt', 'x')


def test_what_a_killed_run_left_is_removed_and_nothing_else(tmp_path):
  kept = ['a/b.part', 'a/.b.part', 'a/.b.12', 'a/.b.x.part', '.lock']
  left = ['.c.json.1.part', 'a/.b.png.12.part', 'a/b/c/.d.npz.7.part']
  for name in (*kept, *left):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text('x')
  files.remove_parts(epath.Path(tmp_path))
  found = [p for p in tmp_path.rglob('*') if p.is_file()]
  assert sorted(str(p.relative_to(tmp_path)) for p in found) == sorted(kept)

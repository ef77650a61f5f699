"""The workdir: one run at a time, one config, no half-written file."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import types

import pytest
from etils import epath

from gencnp_jax.runtime import workdir

_HOLD = """
import sys, time
from gencnp_jax.runtime import workdir
with workdir.open_workdir(sys.argv[1]):
  print('held', flush=True)
  time.sleep(120)
"""


def test_one_run_at_a_time_and_a_killed_one_lets_go(tmp_path):
  path = tmp_path / 'a' / 'run'  # Its parents are made too.
  with subprocess.Popen(
    [sys.executable, '-c', _HOLD, str(path)],
    stdout=subprocess.PIPE,
    text=True,
    cwd=pathlib.Path(__file__).parents[2],
    env={**os.environ, 'JAX_PLATFORMS': 'cpu'},
  ) as holder:
    try:
      assert holder.stdout.readline() == 'held\n'
      who = f'process {holder.pid} on {socket.gethostname()}'
      for _ in range(2):  # Asking does not take it.
        with (
          pytest.raises(workdir.WorkdirError, match=re.escape(who)),
          workdir.open_workdir(path),
        ):
          pass
    finally:
      holder.send_signal(signal.SIGKILL)
    holder.wait()
  with workdir.open_workdir(path) as opened:
    assert opened == epath.Path(path)
    # Nothing is left of the name of the killed one.
    mine = f'process {os.getpid()} on {socket.gethostname()}'
    assert (path / '.lock').read_text() == mine


def test_it_is_free_after_an_error(tmp_path):
  with pytest.raises(OSError, match='mine'), workdir.open_workdir(tmp_path):
    raise OSError('mine')
  with workdir.open_workdir(tmp_path):
    pass


def test_a_second_in_the_same_process_is_refused(tmp_path):
  with (
    workdir.open_workdir(tmp_path),
    pytest.raises(workdir.WorkdirError, match='in use'),
    workdir.open_workdir(tmp_path),
  ):
    pass


@pytest.mark.parametrize('below', ['', 'x/y'])
def test_unwritable_is_noticed_at_once(tmp_path, below):
  """A path under a regular file: nobody can write there, not even root."""
  file = tmp_path / 'file'
  file.write_text('mine')
  path = file / below
  with (
    pytest.raises(workdir.WorkdirError, match=r'not writable.*--workdir'),
    workdir.open_workdir(path),
  ):
    pass
  assert file.read_text() == 'mine'


def test_errors_of_a_run_in_an_object_store_are_its_own(tmp_path, monkeypatch):
  """Without a lock, too, only the first look is about the workdir."""
  store = types.SimpleNamespace(
    Path=lambda url: tmp_path / url[len('store://') :]
  )
  monkeypatch.setattr(workdir, 'epath', store)
  monkeypatch.setattr(workdir.buckets, 'check', lambda *unused: None)
  (tmp_path / 'run').mkdir()
  with (
    pytest.raises(FileNotFoundError, match='mine'),
    workdir.open_workdir('store://run') as path,
  ):
    assert not list(path.iterdir())
    raise FileNotFoundError('mine')


_CONFIG = {
  'name': 'a',
  'seed': 0,
  'data': {'dir': '/x', 'flip': True},
  'runtime': {'tensorboard': False},
  'kernels': (3, (2, 4)),
}
_FREE = ('name', 'runtime', 'data.dir')


def _changed(**fields):
  config = json.loads(json.dumps(_CONFIG))
  for key, value in fields.items():
    *sections, name = key.split('__')
    part = config
    for section in sections:
      part = part[section]
    part[name] = value
  return config


@pytest.fixture
def made(tmp_path):
  path = epath.Path(tmp_path)
  workdir.check_config(path, _CONFIG, _FREE)
  return path


def test_the_same_config_may_go_on(made):
  workdir.check_config(made, _CONFIG, _FREE)  # Tuples are JSON's lists.
  assert json.loads((made / 'config.json').read_text())['seed'] == 0


def test_free_fields_and_sections_may_change(made):
  free = _changed(name='b', data__dir='/y', runtime__tensorboard=True)
  workdir.check_config(made, free, _FREE)
  assert json.loads((made / 'config.json').read_text())['name'] == 'b'


def test_fields_that_differ_are_named(made):
  other = _changed(
    seed=1, data__flip=False, data__dir='/y', kernels=[3, [2, 5]]
  )
  other['new'] = 7
  before = (made / 'config.json').read_text()
  with pytest.raises(workdir.WorkdirError) as error:
    workdir.check_config(made, other, _FREE)
  message = str(error.value)
  assert 'seed: the workdir has 0, this run 1' in message
  assert 'data.flip: the workdir has True, this run False' in message
  assert 'kernels' in message and '[2, 5]' in message
  assert 'new: the workdir has None, this run 7' in message
  assert 'data.dir' not in message and 'name' not in message
  assert (made / 'config.json').read_text() == before


@pytest.mark.parametrize(
  'content', [b'', b'{"seed": 0,', b'\xff\xfe\x00', b'[1]', b'null']
)
def test_a_damaged_config_is_named(made, content):
  (made / 'config.json').write_bytes(content)
  with pytest.raises(workdir.WorkdirError, match=r'config\.json is damaged'):
    workdir.check_config(made, _CONFIG, _FREE)
  assert (made / 'config.json').read_bytes() == content


def test_write_json_is_all_or_nothing(tmp_path, monkeypatch):
  path = tmp_path / 'new' / 'a.json'
  workdir.write_json(path, {'a': 1})
  with pytest.raises(TypeError):
    workdir.write_json(path, {'a': object()})

  def fail(*unused):
    raise OSError('full')

  with monkeypatch.context() as patch:
    patch.setattr(type(epath.Path(path)), 'replace', fail)
    with pytest.raises(OSError, match='full'):
      workdir.write_json(path, {'a': 2})
  assert json.loads(path.read_text()) == {'a': 1}
  workdir.write_json(path, {'a': 3})
  assert json.loads(path.read_text()) == {'a': 3}
  assert [p.name for p in path.parent.iterdir()] == ['a.json']


def test_a_field_of_a_later_version_had_its_default(tmp_path):
  stored = {'a': 1, 'b': {'c': 2}}
  defaults = {'a': 0, 'b': {'c': 0, 'new': (0,)}}
  workdir.check_config(tmp_path, stored, (), defaults)
  later = {'a': 1, 'b': {'c': 2, 'new': (1,)}}
  with pytest.raises(workdir.WorkdirError, match=r'b\.new: .*has \[0\]') as e:
    workdir.check_config(tmp_path, later, (), defaults)
  assert 'a:' not in str(e.value) and 'b.c' not in str(e.value)
  later['b']['new'] = (0,)
  workdir.check_config(tmp_path, later, (), defaults)

"""The run log, the progress lines, and what the console leaves out."""

import json
import logging
import math
import sys

import pytest
from etils import epath

from gencnp_jax.runtime import console, progress, run_log


def _steps(path):
  return [record['step'] for record in run_log.read(path)]


def test_records_are_one_json_line_each(tmp_path):
  path = tmp_path / 'new' / 'log.jsonl'
  log = run_log.RunLog(path)
  log.write(5, 'train', loss=1.5, accuracy=0.25)
  log.write(5, 'validation', loss=math.nan)
  lines = path.read_text().splitlines()
  assert json.loads(lines[0]) == {
    'step': 5,
    'split': 'train',
    'loss': 1.5,
    'accuracy': 0.25,
  }
  assert math.isnan(run_log.read(path)[1]['loss'])
  assert [p.name for p in path.parent.iterdir()] == ['log.jsonl']


def test_going_on_drops_what_will_be_written_again(tmp_path):
  path = tmp_path / 'log.jsonl'
  log = run_log.RunLog(path)
  for step in (2, 4, 4, 6, 8):
    log.write(step, 'train', loss=float(step))
  log = run_log.RunLog(path, from_step=4)
  assert _steps(path) == [2, 4, 4]
  log.write(6, 'train', loss=6.0)
  assert _steps(path) == [2, 4, 4, 6]
  run_log.RunLog(path, from_step=0)
  assert _steps(path) == []


def test_a_line_cut_short_is_left_out(tmp_path, caplog):
  path = tmp_path / 'log.jsonl'
  log = run_log.RunLog(path)
  for step in (1, 2, 3):
    log.write(step, 'train', loss=0.5)
  path.write_text(path.read_text()[:-9])
  with caplog.at_level(logging.WARNING):
    assert _steps(path) == [1, 2]
  assert str(path) in caplog.text
  run_log.RunLog(path, from_step=2).write(3, 'train', loss=0.5)
  assert _steps(path) == [1, 2, 3]


def test_no_log_has_no_record(tmp_path):
  assert run_log.read(tmp_path / 'log.jsonl') == []


def test_a_kill_while_writing_leaves_the_log_before(tmp_path, monkeypatch):
  path = tmp_path / 'log.jsonl'
  log = run_log.RunLog(path)
  log.write(1, 'train', loss=1.0)

  def killed(self, *unused):
    raise KeyboardInterrupt

  monkeypatch.setattr(type(epath.Path(path)), 'replace', killed)
  with pytest.raises(KeyboardInterrupt):
    log.write(2, 'train', loss=1.0)
  assert _steps(path) == [1]


def test_tensorboard_needs_its_extra(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'tensorboardX', None)
  with pytest.raises(ValueError, match=r'gencnp_jax\[tensorboard\]'):
    run_log.RunLog(tmp_path / 'log.jsonl', tensorboard=True)
  run_log.RunLog(tmp_path / 'log.jsonl')


def test_tensorboard_gets_the_same_figures(tmp_path, monkeypatch):
  seen = []

  class Board:
    def __init__(self, directory):
      assert directory == str(tmp_path)

    def add_scalar(self, *values):
      seen.append(values)

    def flush(self):
      seen.append('flush')

  class Module:
    SummaryWriter = Board

  monkeypatch.setitem(sys.modules, 'tensorboardX', Module)
  log = run_log.RunLog(tmp_path / 'log.jsonl', tensorboard=True)
  log.write(3, 'train', loss=0.5)
  assert seen == [('train/loss', 0.5, 3), 'flush']


def test_progress_counts_from_where_a_run_went_on(caplog, monkeypatch):
  monkeypatch.setattr(sys.stderr, 'isatty', lambda: False, raising=False)
  monkeypatch.setattr(progress, '_INTERVAL', 0.0)
  with (
    caplog.at_level(logging.INFO),
    progress.Progress(100, 'training', done=40) as bar,
  ):
    bar.update(20, loss=0.123456)
  assert 'training: 60 of 100 images' in caplog.messages[0]
  assert 'loss 0.1235' in caplog.messages[0]


def test_progress_of_nothing_is_silent(caplog):
  with caplog.at_level(logging.INFO), progress.Progress(8, 'x', done=8):
    pass
  assert not caplog.messages


@pytest.mark.parametrize(
  ('path', 'level', 'wanted'),
  [
    ('/x/gencnp_jax/loop.py', logging.INFO, True),
    ('/jax/gencnp_jax/loop.py', logging.INFO, True),
    ('/x/site-packages/orbax/checkpoint.py', logging.WARNING, False),
    ('/x/site-packages/orbax/checkpoint.py', logging.ERROR, False),
    ('/x/site-packages/jax/_src/xla_bridge.py', logging.INFO, False),
    ('/x/site-packages/jax/_src/xla_bridge.py', logging.WARNING, True),
  ],
)
def test_the_console_leaves_out_chatter(path, level, wanted):
  record = logging.LogRecord('absl', level, path, 1, 'text', None, None)
  assert console._is_wanted(record) is wanted

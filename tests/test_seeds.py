"""launch/seeds.py: each seed once, and what they have in common."""

import csv
import json
import pathlib
import statistics
import sys

import pytest

from tests import launched

seeds = launched.module('seeds')


def _row(method, seed):
  numbers = {c.key: (seed + 1) / 10 for c in seeds.COLUMNS}
  if method == 'Random':
    numbers['mean_decrease_of_fallers'] = None if seed == 2 else 0.5
  return {'method': method, **numbers}


@pytest.fixture
def commands(tmp_path, monkeypatch):
  """The commands that were run; each leaves the results of its seed."""
  found = []

  def run(command, log):
    flags = dict(f.split('=', 1) for f in command if f.startswith('--'))
    seed = int(flags['--config.seed'])
    workdir = pathlib.Path(flags['--workdir'])
    assert workdir == tmp_path / str(seed) and log == tmp_path / f'{seed}.log'
    (workdir / 'evaluate').mkdir(parents=True, exist_ok=True)
    rows = [_row(method, seed) for method in ('GEN-CNP', 'Random')]
    results = workdir / 'evaluate' / 'results.json'
    results.write_text(json.dumps({'rows': rows}))
    found.append(command)

  monkeypatch.setattr(seeds.logged, 'run', run)
  return found


def _main(monkeypatch, *flags):
  monkeypatch.setattr(sys, 'argv', ['seeds.py', *flags])
  seeds.main()


def test_mean_and_deviation_over_the_seeds(
  commands, tmp_path, monkeypatch, capsys
):
  flags = ('--seeds=2,0,1,1', f'--out={tmp_path}', '--config.evaluate.limit=9')
  _main(monkeypatch, *flags)
  assert len(commands) == 3
  assert all(c[-1] == '--config.evaluate.limit=9' for c in commands)
  mean, apart = (
    100 * f([0.1, 0.2, 0.3]) for f in (statistics.mean, statistics.stdev)
  )
  expected = f'{mean:.1f} ± {apart:.1f}'
  assert expected in capsys.readouterr().out
  with open(tmp_path / 'seeds.csv') as file:
    gencnp, random = csv.DictReader(file)
  assert set(list(gencnp.values())[1:]) == {expected}
  # One seed without any that falls: the mean would be of the others.
  assert sum(value != expected for value in random.values()) == 2


@pytest.mark.parametrize('given', ['1', '3,3', 'a,b', ''])
def test_seeds_that_will_not_do(monkeypatch, capsys, given):
  with pytest.raises(SystemExit):
    _main(monkeypatch, f'--seeds={given}')
  assert f'--seeds={given}: ' in capsys.readouterr().err


def test_a_run_that_fails_names_its_log(tmp_path):
  log = tmp_path / 'log'
  command = [sys.executable, '-c', 'print("why"); raise SystemExit(3)']
  with pytest.raises(SystemExit, match=f'exit code 3; see the end of {log}'):
    launched.module('logged').run(command, log)
  assert log.read_text() == 'why\n'

"""launch/tune.py: rows are legal settings, run once each, in a table."""

import csv
import json
import sys

import pytest

from gencnp_jax import legal, settings
from tests import launched

tune = launched.module('tune')
ROWS = [
  (group, name, changes)
  for group, rows in tune.GROUPS.items()
  for name, changes in rows.items()
]


@pytest.mark.parametrize('group, name, changes', ROWS)
def test_rows_are_legal_settings(group, name, changes):
  config = settings.defaults()
  config.gencnp.update(changes)
  legal.validate(config)


def test_names_are_folders_of_their_own():
  names = [name.replace(' ', '_') for _, name, _ in ROWS]
  assert len(set(names)) == len(names)


def test_a_row_is_run_once_on_validation_images(tmp_path, monkeypatch, capsys):
  commands = []

  def run(command, log):
    assert log.parent == tmp_path
    commands.append(command)
    flags = dict(f.split('=', 1) for f in command if f.startswith('--'))
    folder = tmp_path / flags['--workdir'].rpartition('/')[2] / 'evaluate'
    folder.mkdir(parents=True)
    row = {'method': 'GEN-CNP', 'agreement': 0.9, 'firing_sparsity': 0.95}
    other = {'method': 'Random', 'agreement': 0.1}
    (folder / 'results.json').write_text(json.dumps({'rows': [other, row]}))

  monkeypatch.setattr(tune.logged, 'run', run)
  given = ['x', '--target=t', f'--out={tmp_path}', '--groups=answer']
  monkeypatch.setattr(sys, 'argv', [*given, '--config.gencnp.epochs=2'])
  tune.main()
  assert len(commands) == len(tune.GROUPS['answer'])
  for command in commands:
    assert '--config.evaluate.split=validation' in command
    assert command[-1] == '--config.gencnp.epochs=2'
  assert '--config.gencnp.distil_temperature=0.25' in commands[1]
  assert '90.0' in capsys.readouterr().out
  with open(tmp_path / 'answer.csv') as file:
    assert len(list(csv.DictReader(file))) == len(commands)
  monkeypatch.setattr(sys, 'argv', given)
  tune.main()  # All rows are there.
  assert len(commands) == len(tune.GROUPS['answer'])


def test_a_group_that_is_none(monkeypatch, capsys):
  monkeypatch.setattr(sys, 'argv', ['x', '--target=t', '--groups=odd'])
  with pytest.raises(SystemExit):
    tune.main()
  assert "no such groups: ['odd']; there are answer" in capsys.readouterr().err

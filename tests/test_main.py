"""The command: its flags, its messages, and the main job end to end."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from gencnp_jax import main, stages
from tests.training.conftest import compile_once  # noqa: F401


@pytest.fixture
def parse(monkeypatch):
  """Parses a command line; config_flags reads sys.argv beside."""

  def run(*flags):
    monkeypatch.setattr(sys, 'argv', ['gencnp', *flags])
    return main.parse_flags(sys.argv)

  return run


@pytest.mark.parametrize(
  'flags, message',
  [
    (
      ['--config=configs/digits.py', '--config.gencnp.gama=1'],
      'Error: --config has no field \'gama\' Did you mean "gamma"',
    ),
    (
      ['--config=configs/digits.py', '--config.evalute.limit=1'],
      'Error: --config has no field \'evalute\' Did you mean "evaluate"',
    ),
    (['--config=configs/digits.py:smoek'], "Did you mean 'smoke'?"),
    (['--config=configs/digits.py', '--config.seed=1e3'], 'seed=1e3'),
    (['--config=configs/digits.py', '--config.gencnp.beta=x'], 'beta=x'),
    (['--config=configs/digit.py'], 'configs/digit.py'),
    (['--config=configs/digits.py', '--workdri=x'], 'Did you mean: workdir'),
  ],
)
def test_a_wrong_command_line_is_told_in_a_line_or_two(
  flags, message, parse, monkeypatch
):
  monkeypatch.delenv('GENCNP_TRACEBACK', raising=False)
  with pytest.raises(SystemExit) as raised:
    parse(*flags)
  said = raised.value.code
  assert said.startswith('Error: ') and message in said
  assert 'Traceback' not in said and said.count('\n') <= 3


def test_a_typo_through_the_real_command():
  done = subprocess.run(
    [
      *(sys.executable, '-m', 'gencnp_jax.main', '--config=configs/digits.py'),
      '--config.gencnp.betta=1',
    ],
    capture_output=True,
    text=True,
    env=os.environ | {'JAX_PLATFORMS': 'cpu'},
  )
  assert done.returncode == 1 and not done.stdout
  assert done.stderr.strip() == (
    'Error: --config has no field \'betta\' Did you mean "beta" instead of '
    '"betta"?'
  )


def test_an_unknown_stage(parse, tmp_path, monkeypatch):
  monkeypatch.delenv('GENCNP_TRACEBACK', raising=False)
  parse(
    '--config=configs/digits.py',
    '--config.stages=target,gencmp',
    f'--workdir={tmp_path}/run',
  )
  with pytest.raises(SystemExit, match=r"config.stages: 'gencmp'.*'gencnp'"):
    main.main(['gencnp'])
  assert not (tmp_path / 'run').exists()
  monkeypatch.setenv('GENCNP_TRACEBACK', '1')
  with pytest.raises(ValueError, match='gencmp'):
    main.main(['gencnp'])


def test_a_word_that_is_no_flag(parse):
  parse('--config=configs/digits.py')
  with pytest.raises(Exception, match=r"What is \['target'\]\?"):
    main.main(['gencnp', 'target'])


def test_the_workdir_has_the_name_of_the_config(parse, monkeypatch):
  asked = []
  monkeypatch.setattr(stages, 'run', lambda _, path: asked.append(str(path)))
  for argument, folder in (
    ('', 'digits'),
    (':vgg11', 'digits_vgg11'),
    (':vgg11,smoke', 'digits_smoke_vgg11'),
    (':smoke,vgg11', 'digits_smoke_vgg11'),
  ):
    main.flags.FLAGS.unparse_flags()
    main.flags.FLAGS['workdir'].unparse()
    parse(f'--config=configs/digits.py{argument}')
    main.main(['gencnp'])
    assert asked.pop() == os.path.join('runs', folder)


def test_the_main_job_end_to_end(parse, tmp_path, capsys):
  """The real target at its real size; a handful of images and steps."""
  workdir = tmp_path / 'run'
  parse(
    '--config=configs/digits.py',
    f'--workdir={workdir}',
    '--config.data.limit=64',
    '--config.target.epochs=.5',
    '--config.target.batch_size=16',
    '--config.gencnp.epochs=.5',
    '--config.gencnp.batch_size=16',
    '--config.gencnp.hidden=8',
    '--config.evaluate.limit=8',
    '--config.evaluate.batch_size=8',
    '--config.evaluate.examples=2',
    '--config.evaluate.methods=gencnp,random',
  )
  main.main(['gencnp'])
  shown = capsys.readouterr().out
  for word in ('Faithfulness', 'Class IoU', 'GEN-CNP', 'Random', 'Disconn'):
    assert word in shown
  content = json.loads((workdir / 'evaluate' / 'results.json').read_text())
  assert [row['images'] for row in content['rows']] == [8, 8]
  assert content['facts']['target'] == 'alexnet'
  assert len(content['rows'][0]['firing_sparsity_per_layer']) == 5
  assert pathlib.Path(workdir / 'report.html').stat().st_size > 10_000
  config = json.loads((workdir / 'config.json').read_text())
  assert config['target']['epochs'] == 0.5
  assert config['gencnp']['hidden'] == 8

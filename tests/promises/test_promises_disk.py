"""A disk that is full, or cannot be written: a message, nothing lost."""

import pytest

from tests.promises import pod

pytestmark = pytest.mark.long


def _steps(path):
  folder = path / 'target/checkpoints'
  return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())


def test_a_full_disk_names_the_step_and_keeps_the_steps_before(
  tmp_path, cache, undisturbed
):
  path = tmp_path / 'run'
  with pod.train(path, '--pause=.3', cache=cache) as run:
    run.until(lambda: 8 in pod.steps(path, 'target'))
    run.send()
    run.codes(60)
  before = _steps(path)
  assert before
  with pod.train(
    path, cache=cache, program='tests.promises.full_disk', LIMIT='2000'
  ) as run:
    assert run.codes(120) == [1], run.said()
    said = run.said()
  assert 'a checkpoint could not be saved' in said, said
  assert 'File too large' in said, said
  assert f'steps {before} there are whole' in said
  assert 'Traceback' not in said
  assert _steps(path) == before
  with pod.train(path, cache=cache) as run:
    run.finish()
  assert pod.outcome(path) == pod.outcome(undisturbed())


@pytest.mark.parametrize('what', ['a file', 'in a file', 'no rights'])
def test_a_workdir_that_cannot_be_written_is_named(tmp_path, cache, what):
  (tmp_path / 'file').write_text('mine')
  path = {
    'a file': tmp_path / 'file',
    'in a file': tmp_path / 'file' / 'run',
    'no rights': '/proc/run',
  }[what]
  with pod.train(path, cache=cache) as run:
    assert run.codes(60) == [1]
    assert f'--workdir={path}: not writable' in run.said()
    assert 'Traceback' not in run.said()
  assert (tmp_path / 'file').read_text() == 'mine'

"""A disk that is full, or cannot be written: a message, nothing lost."""

import pytest

from tests.promises import pod

pytestmark = pytest.mark.long


def _steps(path):
  folder = path / 'target/checkpoints'
  return sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit())


@pytest.mark.parametrize('count', [1, 2])
@pytest.mark.parametrize('step', [12, 16])
def test_a_full_disk_says_so_and_keeps_the_steps_before(
  tmp_path, cache, undisturbed, count, step
):
  """In the middle, and at the last step: nothing is taken for saved."""
  path, options = tmp_path / 'run', {'count': count, 'cache': cache}
  with pod.train(
    path,
    program='tests.promises.full_disk',
    LIMIT='2000',
    FROM=str(step),
    **options,
  ) as run:
    assert run.codes(120) == [1] * count, run.said()
    said = run.said()
  assert 'a checkpoint could not be saved' in said, said
  assert 'File too large' in said, said
  before = [s for s in (4, 8, 12) if s < step][-2:]
  assert f'steps {before} there are whole' in said
  assert _steps(path) == before
  assert not (path / 'target/done.json').exists()
  with pod.train(path, **options) as run:
    run.finish()
  assert pod.outcome(path) == pod.outcome(undisturbed(1, count))


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

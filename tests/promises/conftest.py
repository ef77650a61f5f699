"""What the promises share: one compilation cache, one undisturbed run."""

import pytest

from tests.promises import pod


@pytest.fixture(scope='session')
def cache(tmp_path_factory):
  return tmp_path_factory.mktemp('compiled')


@pytest.fixture(scope='session')
def undisturbed(tmp_path_factory, cache):
  """Devices of a process, number of processes -> a whole run's folder."""
  done = {}

  def run(devices=1, count=1):
    if (devices, count) not in done:
      path = tmp_path_factory.mktemp(f'whole-{count}x{devices}')
      with pod.train(path, count=count, devices=devices, cache=cache) as whole:
        whole.finish()
      done[devices, count] = path
    return done[devices, count]

  return run

"""Preemption: SIGTERM asks, and a loop ends when it asks back."""

import os
import signal
import threading

import numpy as np
import pytest

from gencnp_jax.runtime import blocks, preemption


def test_sigterm_asks_while_it_is_watched():
  with preemption.watched():
    preemption.check()
    os.kill(os.getpid(), signal.SIGTERM)
    os.kill(os.getpid(), signal.SIGTERM)  # Some send it twice.
    assert preemption.requested() and preemption.noticed()
    with pytest.raises(preemption.Preempted) as ended:
      preemption.check()
  assert ended.value.code == preemption.EXIT_CODE == 42
  assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
  assert not preemption.requested() and not preemption.noticed()


def test_it_may_be_watched_within():
  """`fit` in a program that watches."""
  with preemption.watched():
    with preemption.watched():
      os.kill(os.getpid(), signal.SIGTERM)
    assert preemption.requested()


def test_a_handler_of_the_program_stays():
  seen = []
  before = signal.signal(signal.SIGTERM, lambda *_: seen.append(1))
  try:
    with preemption.watched():
      os.kill(os.getpid(), signal.SIGTERM)
      assert not preemption.requested()
  finally:
    signal.signal(signal.SIGTERM, before)
  assert seen == [1]


def test_in_a_thread_nothing_is_installed():
  found = []

  def run():
    with preemption.watched():
      found.append(signal.getsignal(signal.SIGTERM))

  thread = threading.Thread(target=run)
  thread.start()
  thread.join()
  assert found == [signal.SIG_DFL]


def test_blocks_end_between_two(monkeypatch):
  asked, done = [], []
  monkeypatch.setattr(
    preemption, 'requested', lambda: asked.append(1) or len(asked) > 3
  )
  with pytest.raises(preemption.Preempted):
    for part, _ in blocks.map_rows(
      lambda _, x: x * 2, None, np.arange(40.0), batch_size=8
    ):
      done.append(part)
  assert 1 <= len(done) <= 3

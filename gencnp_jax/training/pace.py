"""How many steps run in one dispatch: many, but no longer than the limit."""

from __future__ import annotations

import time
from typing import Any

import jax
from absl import logging

from gencnp_jax.runtime import processes

_STEPS_PER_DISPATCH = 50
"""On GPU and TPU, where a step takes less than a dispatch."""


class Pace:
  """Steps per dispatch; lowered once, where dispatches turn out to be long.

  A run that is asked to end does so between dispatches. The choice is kept in
  the checkpoints, so that a resumed run computes in the same portions.

  Args:
    runtime: the config's section.
    before: what `progress` gave to the checkpoint that the run goes on from.
  """

  def __init__(self, runtime: Any, before: dict[str, Any]):
    on_cpu = jax.default_backend() == 'cpu'
    default = 1 if on_cpu else _STEPS_PER_DISPATCH
    kept = before.get('steps_per_dispatch')
    self.steps = runtime.steps_per_dispatch or kept or default
    self._limit = runtime.dispatch_seconds
    # What the user has set, or a run has measured, stays.
    settled = runtime.steps_per_dispatch or kept or self.steps == 1
    self._measures = not settled
    self._last = None

  def progress(self) -> dict[str, int]:
    """Returns the choice, once it is made."""
    return {} if self._measures else {'steps_per_dispatch': self.steps}

  def pause(self) -> None:
    """Says that something else took time."""
    self._last = None

  def done(self, count: int) -> None:
    """Says that a dispatch is done, and the one of `count` steps is running."""
    if not self._measures:
      return
    now, last = time.monotonic(), self._last
    self._last = now if count == self.steps else None
    # The first two hold the compilation.
    if last is None or self._last is None:
      return
    seconds = processes.from_first(lambda: now - last)
    self._measures = False
    if seconds > self._limit:
      self.steps = max(1, int(self.steps * self._limit / seconds))
      logging.info(
        'A dispatch took %.1f s: %d steps in each from now on '
        '(runtime.dispatch_seconds=%g).',
        seconds,
        self.steps,
        self._limit,
      )

"""Progress: a bar on a terminal, plain log lines elsewhere."""

from __future__ import annotations

import sys
import time

from absl import logging
from tqdm import tqdm

from gencnp_jax.runtime import processes

_INTERVAL = 15.0
"""Seconds between log lines where there is no terminal."""


class Progress:
  """Counts work done and shows it.

  Args:
    total: units of work in all.
    what: a word or two for what is done.
    unit: what is counted.
    done: units done before, by an interrupted run.
  """

  def __init__(
    self, total: int, what: str, unit: str = 'images', done: int = 0
  ):
    self._total, self._what, self._unit = total, what, unit
    self._done = self._start = done
    self._time = self._last = time.monotonic()
    self._bar = None
    self._shown = processes.is_first()
    if self._shown and sys.stderr.isatty():
      self._bar = tqdm(
        total=total, initial=done, desc=what, unit=unit, unit_scale=True
      )

  def __enter__(self) -> Progress:
    return self

  def __exit__(self, *unused) -> None:
    if self._bar is not None:
      self._bar.close()
    elif self._shown and self._done > self._start:
      self._log()

  def update(self, count: int, **shown: float) -> None:
    """Adds finished units; `shown` are figures to display beside."""
    self._done += count
    if self._bar is not None:
      if shown:
        self._bar.set_postfix({k: f'{v:.4g}' for k, v in shown.items()})
      self._bar.update(count)
    elif self._shown and time.monotonic() - self._last > _INTERVAL:
      self._last = time.monotonic()
      self._log(**shown)

  def _log(self, **shown: float) -> None:
    seconds = time.monotonic() - self._time
    rate = (self._done - self._start) / max(seconds, 1e-9)
    figures = ''.join(f', {k} {v:.4g}' for k, v in shown.items())
    logging.info(
      '%s: %d of %d %s (%.0f a second)%s',
      self._what,
      self._done,
      self._total,
      self._unit,
      rate,
      figures,
    )

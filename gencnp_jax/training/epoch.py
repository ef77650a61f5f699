"""What is added up between two lines of the run log, and is it finite?"""

from __future__ import annotations

import time
from typing import Any

import jax
import numpy as np

from gencnp_jax.runtime import devices

_REMEDY = (
  'The last good checkpoint is kept. Lower the learning rate, or clip the '
  'gradient (clip_norm).'
)


class NonFiniteLoss(ValueError):
  """A loss or a state that is NaN or infinite.

  Attributes:
    step: number of the step that made it.
  """

  def __init__(self, what: str, step: int, leaf: str = ''):
    super().__init__(f'{what} at step {step}.{leaf} {_REMEDY}')
    self._what, self.step = what, step

  def with_leaf(self, state: Any) -> NonFiniteLoss:
    """Returns the error with the first leaf of a state that is not finite."""
    bad = _first_bad((state.variables, state.training))
    if bad is None:
      return NonFiniteLoss(self._what, self.step, ' All leaves are finite.')
    if bad in str(self):
      return self
    return NonFiniteLoss(
      self._what, self.step, f' {bad} is the first leaf that is not finite.'
    )


class Epoch:
  """Sums of metrics since the last line of the log.

  Args:
    before: what `progress` gave to the checkpoint that the run goes on from.
  """

  def __init__(self, before: dict[str, Any]):
    self.sums = {k: tuple(v) for k, v in before.get('sums', {}).items()}
    # Counted anew by each start: what compiling takes belongs to none.
    self._images, self._since = 0.0, time.monotonic()

  def progress(self) -> dict[str, Any]:
    """Returns the sums as JSON, exactly."""
    sums = {k: [float(x) for x in v] for k, v in self.sums.items()}
    return {'sums': sums}

  def add(self, first_step: int, new: dict[str, Any]) -> None:
    """Adds the sums of a dispatch, `[steps]` each; waits for it.

    Args:
      first_step: steps done before the dispatch.
      new: (sum, count) by metric.

    Raises:
      NonFiniteLoss: the steps before it are added.
    """
    new = devices.to_host(new)
    losses = new['loss'][0]
    bad = np.flatnonzero(~np.isfinite(losses))
    good = slice(bad[0] if bad.size else None)
    for key, pair in new.items():
      value, count = (np.sum(x[good], dtype=np.float64) for x in pair)
      if count:
        before = self.sums.get(key, (0.0, 0.0))
        self.sums[key] = before[0] + value, before[1] + count
    self._images += float(np.sum(new['loss'][1][good], dtype=np.float64))
    if bad.size:
      raise NonFiniteLoss(
        f'The loss is {losses[bad[0]]}', first_step + int(bad[0]) + 1
      )

  def close(self) -> dict[str, float]:
    """Returns the means and the rate, and begins anew."""
    means = {k: float(s / n) for k, (s, n) in self.sums.items()}
    seconds = max(time.monotonic() - self._since, 1e-9)
    means['images_per_second'] = self._images / seconds
    self.__init__({})
    return means


def check_finite(step: int, *trees: Any) -> None:
  """Raises where a checkpoint would hold what is not finite.

  A finite loss can have a gradient that is not, and the first loss to show it
  is that of the step after the checkpoint.

  Raises:
    NonFiniteLoss: names the first leaf.
  """
  bad = _first_bad(trees)
  if bad is not None:
    raise NonFiniteLoss(f'{bad} is not finite', step)


def _first_bad(trees: Any) -> str | None:
  for path, leaf in jax.tree_util.tree_leaves_with_path(trees):
    if not np.all(np.isfinite(devices.to_host(leaf))):
      return jax.tree_util.keystr(path[1:])
  return None

"""What a target says of an image, in few words."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gencnp_jax import arguments


class Prediction(NamedTuple):
  """A target's class for one image.

  Attributes:
    name: of the class.
    probability: of the class, in [0, 1].
    changed: whether it is another class than without the pathway.
  """

  name: str
  probability: float
  changed: bool = False

  def words(self, length: int) -> str:
    """Such as 'cat 93 %', '✗' before a changed one.

    Args:
      length: how many characters there is room for; at least 12.
    """
    share = f' {100 * self.probability:.0f} %'
    mark = '✗ ' if self.changed else ''
    # The mark is as wide as two characters.
    room = length - len(share) - (3 if mark else 0)
    return mark + short(self.name, room) + share


def predictions(
  logits: Float[np.ndarray, 'k classes'],
  class_names: Sequence[str],
  full_logits: Float[np.ndarray, 'k classes'] | None = None,
) -> list[Prediction]:
  """Puts logits into words.

  Args:
    logits: of the target, under a pathway or not.
    class_names: names of all classes.
    full_logits: of the target without a pathway, where `logits` are with one.

  Returns:
    One prediction an image.

  Raises:
    ValueError: the shapes do not agree.
  """
  arguments.words('class_names', class_names)
  logits = arguments.numbers('logits', logits)
  full = logits
  if full_logits is not None:
    full = arguments.numbers('full_logits', full_logits)
  if logits.shape != full.shape or logits.shape[1:] != (len(class_names),):
    raise ValueError(
      f'logits {logits.shape} and full_logits {full.shape} must be [k, '
      f'classes] with {len(class_names)} classes, one for each name.'
    )
  said, shares = logits.argmax(1), softmax(logits)
  return [
    Prediction(class_names[c], float(row[c]), bool(c != other))
    for c, row, other in zip(said, shares, full.argmax(1))
  ]


def softmax(
  logits: Float[np.ndarray, '... classes'], name: str = 'logits'
) -> np.ndarray:
  """Returns probabilities, float64 in [0, 1], of the shape of `logits`.

  Args:
    logits: of one image or more.
    name: what they are called in the error.

  Raises:
    ValueError: no numbers, or values that are not finite.
  """
  logits = arguments.numbers(name, logits).astype(np.float64)
  if not logits.ndim or not logits.size or not np.isfinite(logits).all():
    raise ValueError(
      f'{name} of shape {logits.shape} are empty, or hold NaN or infinite '
      'values; check the target.'
    )
  weights = np.exp(logits - logits.max(-1, keepdims=True))
  return weights / weights.sum(-1, keepdims=True)


def short(name: str, length: int) -> str:
  """Returns a name, cut to a number of characters."""
  return name if len(name) <= length else name[: length - 1] + '…'

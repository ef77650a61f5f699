"""Properties with few examples by default, and many under `pytest -m long`."""

import inspect

import hypothesis
import pytest
from hypothesis import strategies as st

OPTIONS = {
  'deadline': None,
  'derandomize': True,  # The same cases in every run.
  'database': None,
  'suppress_health_check': list(hypothesis.HealthCheck),
}


def several(few, many, **strategies):
  """Makes a test of a check of drawn values, and perhaps of fixtures.

  Args:
    few: examples by default.
    many: examples under the marker `long`.
    **strategies: what is drawn, by name; all other arguments are fixtures.
  """

  def decorate(check):
    fixtures = [
      n for n in inspect.signature(check).parameters if n not in strategies
    ]

    @pytest.mark.parametrize(
      'examples', [few, pytest.param(many, marks=pytest.mark.long)]
    )
    def test(examples, **given):
      def run(**drawn):
        check(**given, **drawn)

      options = hypothesis.settings(max_examples=examples, **OPTIONS)
      options(hypothesis.given(**strategies)(run))()

    test.__name__, test.__doc__ = check.__name__, check.__doc__
    test.__module__ = check.__module__
    test.__signature__ = inspect.Signature(
      [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        for name in ('examples', *fixtures)
      ]
    )
    return test

  return decorate


@st.composite
def damaged(
  draw, content, kinds=('flip', 'set', 'zero', 'cut', 'lose', 'double')
):
  """Draws bytes that were changed in a place or two.

  Args:
    draw: of hypothesis.
    content: the bytes as they were.
    kinds: which changes may be drawn.
  """
  changed = bytearray(content)
  for _ in range(draw(st.sampled_from((1, 1, 1, 2, 4)))):
    last = max(len(changed) - 1, 0)
    where = draw(  # Heads and tails hold what the rest is read by.
      st.integers(0, last)
      | st.integers(0, min(last, 200))
      | st.integers(max(last - 400, 0), last)
    )
    kind = draw(st.sampled_from(kinds))
    if not changed:
      break
    if kind == 'flip':
      changed[where] ^= 1 << draw(st.integers(0, 7))
    elif kind == 'set':
      changed[where] = draw(st.sampled_from((0, 127, 128, 255)))
    elif kind == 'zero':
      changed[where : where + 8] = bytes(len(changed[where : where + 8]))
    elif kind == 'cut':
      del changed[where:]
    elif kind == 'lose':
      del changed[where : where + draw(st.integers(1, 64))]
    else:
      changed[where:where] = changed[where : where + draw(st.integers(1, 64))]
  return bytes(changed)


# Of every kind that JSON has, and what Python's parser takes besides.
JSON = st.recursive(
  st.none()
  | st.booleans()
  | st.integers(-3, 3)
  | st.sampled_from(
    (2**31, -(2**63), 10**30, 1e308, float('nan'), float('inf'))
  )
  | st.text(max_size=4),
  lambda inner: (
    st.lists(inner, max_size=3)
    | st.dictionaries(st.text(max_size=4), inner, max_size=3)
  ),
  max_leaves=6,
)
DEEP = '[' * 100_000  # More than Python's parser has room for.

"""Scripts of `launch/`, imported as they import each other."""

import importlib
import pathlib

import pytest

LAUNCH = pathlib.Path(__file__).parents[1] / 'launch'


def module(name):
  """Returns a script, or a module of its packages."""
  with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(LAUNCH))
    return importlib.import_module(name)

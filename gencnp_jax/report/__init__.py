"""Tables, plots and the single-file HTML report.

Plots and the page are loaded when first asked for: matplotlib takes a second,
and a table needs none of it.
"""

import importlib
from typing import Any

from gencnp_jax.report import comparison
from gencnp_jax.report.column import Column
from gencnp_jax.report.pivot import pivot
from gencnp_jax.report.table import Table

__all__ = [
  'Column',
  'Report',
  'Section',
  'Table',
  'comparison',
  'pivot',
  'plot',
  'write',
]
_PAGE = ('Report', 'Section', 'write')


def __getattr__(name: str) -> Any:
  if name == 'plot':
    return importlib.import_module('gencnp_jax.report.plots')
  if name in _PAGE:
    return getattr(importlib.import_module('gencnp_jax.report.html'), name)
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')

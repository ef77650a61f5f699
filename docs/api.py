"""Writes api.md: the public names, each by the first line of its docstring.

python docs/api.py
"""

import inspect
import pathlib
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import gencnp_jax
from gencnp_jax import attribution, explainers, metrics, zoo
from gencnp_jax.report import plots

PAGE = pathlib.Path(__file__).with_name('api.md')
_ROOMS = (
  ('gencnp_jax', gencnp_jax),
  ('gencnp_jax.explainers', explainers),
  ('gencnp_jax.attribution', attribution),
  ('gencnp_jax.metrics', metrics),
  ('gencnp_jax.plot', plots),
  ('gencnp_jax.zoo', zoo),
)
_HEAD = """\
# The API

The public names, by the first line of their docstrings; this page is written by
`python docs/api.py`. The docstrings have shapes, types, units, errors and the paper's
sections: `help(gencnp_jax.fit)`, or as pages

```sh
.venv/bin/pip install -e '.[docs]' && .venv/bin/python -m pdoc --docformat google gencnp_jax
```

All explainers share one call: `explainer(images, classes=None, batch_size=None)` returns an
`Explanation`. Settings of the command are described in
[`gencnp_jax/settings.py`](../gencnp_jax/settings.py).
"""


def page() -> str:
  """Returns the page."""
  parts = [_HEAD]
  for name, room in _ROOMS:
    summary = inspect.getdoc(room).splitlines()[0]
    rows = [
      f'| `{n}{_arguments(x)}` | {_summary(x)} |' for n, x in _names(room)
    ]
    parts.append(
      f'## `{name}`\n\n{summary}\n\n| name | |\n| --- | --- |\n'
      + '\n'.join(rows)
      + '\n'
    )
  return '\n'.join(parts)


def _names(room: ModuleType) -> Iterator[tuple[str, Any]]:
  for name in getattr(room, '__all__', dir(room)):
    thing = getattr(room, name)
    of_ours = getattr(thing, '__module__', '').startswith('gencnp_jax')
    if not name.startswith('_') and callable(thing) and of_ours:
      yield name, thing


def _arguments(thing: Any) -> str:
  """Returns the names of the arguments, those that can be left out in []."""
  parameters = inspect.signature(thing).parameters.values()
  needed = [p.name for p in parameters if p.default is p.empty]
  rest = [p.name for p in parameters if p.default is not p.empty]
  # Flax adds two to every module.
  rest = [name for name in rest if name not in ('parent', 'name')]
  optional = f'[{", ".join(rest)}]' if rest else ''
  return f'({", ".join(filter(None, (*needed, optional)))})'


def _summary(thing: Any) -> str:
  return re.sub(r'\|', r'\\|', inspect.getdoc(thing).splitlines()[0])


if __name__ == '__main__':
  PAGE.write_text(page())

"""Figures as bytes and files: the same bytes for the same figure."""

import io
import os
import weakref

import matplotlib
from etils import epath
from matplotlib.figure import Figure

from gencnp_jax.runtime import files

DPI = 192  # Of a PNG, twice the size on the page, and of rasters in an SVG.
# Without these an SVG has random identifiers, and both formats a date or the
# version that wrote them.
_SALT = {'svg.hashsalt': 'gencnp_jax'}
_DRAWN: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
_METADATA = {'svg': {'Date': None}, 'png': {'Software': None}}


def render(figure: Figure, kind: str) -> bytes:
  """Returns a figure as 'svg' or 'png'; drawn once, however often asked for.

  Args:
    figure: the figure; what is changed after the first call is not seen.
    kind: of the picture.
  """
  # A report draws a dozen figures for the page and for their files: laying
  # them out is what takes its time.
  drawn = _DRAWN.setdefault(figure, {})
  if kind not in drawn:
    if not drawn and (layout := figure.get_layout_engine()):
      layout.execute(figure)  # Once, for both kinds.
      figure.set_layout_engine('none')
    out = io.BytesIO()
    with matplotlib.rc_context(_SALT):
      figure.savefig(out, format=kind, dpi=DPI, metadata=_METADATA[kind])
    drawn[kind] = out.getvalue()
  return drawn[kind]


def replace(path: str | os.PathLike, content: bytes) -> epath.Path:
  """Writes a file, all of it or nothing.

  Args:
    path: the file; its folder is made where it is missing.
    content: what it will hold.

  Returns:
    The path.
  """
  files.replace(path, lambda file: file.write(content))
  return epath.Path(path)


def save(
  figure: Figure, path_without_suffix: str | os.PathLike
) -> tuple[epath.Path, epath.Path]:
  """Writes a figure as PNG and as SVG.

  Args:
    figure: the figure.
    path_without_suffix: where to; '.png' and '.svg' are added to the name. The
      folder is made where it is missing.

  Returns:
    The paths of the PNG and of the SVG.
  """
  path = epath.Path(path_without_suffix)
  # Both are drawn before either is written: they belong together.
  png, svg = (render(figure, kind) for kind in ('png', 'svg'))
  # Not `with_suffix`: 'at_0.95' would lose its '.95'.
  return (
    replace(path.with_name(f'{path.name}.png'), png),
    replace(path.with_name(f'{path.name}.svg'), svg),
  )

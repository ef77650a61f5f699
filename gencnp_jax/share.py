"""Copies a trained workdir for others: no optimiser state, bfloat16 parameters.

  python -m gencnp_jax.share --workdir=runs/cifar --out=shared

The copy opens like any workdir.
"""

from __future__ import annotations

from absl import app, flags, logging
from etils import epath

from gencnp_jax import command_line, settings, sharing
from gencnp_jax.runtime import console

_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'A trained workdir, or a checkpoint in it.'
)
_OUT = flags.DEFINE_string('out', None, 'A new folder, or an empty one.')
_DTYPE = flags.DEFINE_string(
  'dtype', 'bfloat16', f'Of the parameters: {" or ".join(settings.DTYPES)}.'
)


def main(argv: list[str]) -> None:
  """Copies the workdir of the flags."""
  if len(argv) > 1:
    raise app.UsageError(f'What is {argv[1:]}? Every setting is a --flag.')
  console.set_up()
  with command_line.guarded():
    out = sharing.share_workdir(_WORKDIR.value, _OUT.value, _DTYPE.value)
    logging.info('%s: %.1f MB.', out, _size(out) / 1e6)


def _size(path: epath.Path) -> int:
  """Returns the bytes of a file or folder."""
  if path.is_dir():
    return sum(map(_size, path.iterdir()))
  return path.stat().length


def parse_flags(argv: list[str]) -> list[str]:
  """Parses the command line; one line says what is wrong with it."""
  return command_line.parse(
    argv,
    (_WORKDIR, 'FOLDER, a workdir that gencnp_jax.main has trained in'),
    (_OUT, 'FOLDER, where the copy goes'),
  )


if __name__ == '__main__':
  app.run(main, flags_parser=parse_flags)

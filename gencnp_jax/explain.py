"""Explains image files: a picture and a JSON for each.

  python -m gencnp_jax.explain --workdir=runs/cifar --image=cat.png

The workdir is one that `gencnp_jax.main` trained in. Images are brought to the
size that its target takes.
"""

from __future__ import annotations

from absl import app, flags

from gencnp_jax import command_line, image_files, settings
from gencnp_jax.runtime import compilation, console

_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'A trained workdir, or a checkpoint in it.'
)
_IMAGE = flags.DEFINE_multi_string(
  'image',
  None,
  'A file, a folder or a glob; may be given again.',
  required=True,
)
_METHOD = flags.DEFINE_string(
  'method', 'gencnp', f'One of {", ".join(settings.METHODS)}.'
)
_SPARSITY = flags.DEFINE_float(
  'sparsity',
  None,
  'Share of the neurons that is switched off. By default GEN-CNP chooses it for '
  'each image, and the others take its mean.',
)
_OUT = flags.DEFINE_string(
  'out', None, 'Folder of the results; default: WORKDIR/explained/METHOD.'
)
_LAYER = flags.DEFINE_integer(
  'layer',
  None,
  'Layer whose Grad-CAM is drawn, counted from 1 as the picture does; default: '
  'the last of 4x4 or more.',
)


def main(argv: list[str]) -> None:
  """Explains the images of the flags."""
  if len(argv) > 1:
    raise app.UsageError(f'What is {argv[1:]}? Name images by --image=.')
  console.set_up()
  compilation.use_cache()
  with command_line.guarded():
    image_files.explain_files(
      _WORKDIR.value,
      _IMAGE.value,
      _METHOD.value,
      _SPARSITY.value,
      _OUT.value,
      _LAYER.value,
    )


def parse_flags(argv: list[str]) -> list[str]:
  """Parses the command line; one line says what is wrong with it."""
  return command_line.parse(
    argv,
    (_WORKDIR, 'FOLDER, a workdir that gencnp_jax.main has trained in'),
    (_IMAGE, 'FILE, an image, a folder of them or a glob'),
  )


if __name__ == '__main__':
  app.run(main, flags_parser=parse_flags)

"""The command `gencnp`: one verb for each thing that people do.

gencnp train --config=configs/cifar.py
gencnp explain --workdir=runs/cifar --image=cat.png
"""

from __future__ import annotations

import importlib
import sys

from absl import app, flags

from gencnp_jax import command_line
from gencnp_jax.choices import SettingsError, one_of

# Verb -> module, and the stages that it is short for.
_VERBS = {
  'run': ('main', None),
  'train': ('main', 'target,gencnp'),
  'evaluate': ('main', 'evaluate,experiments'),
  'report': ('main', 'report'),
  'explain': ('explain', None),
  'share': ('share', None),
}
_USAGE = """gencnp: which neurons does a network need for this image?

  gencnp run --config=FILE        all stages, those that are done skipped
  gencnp train --config=FILE      a target, and a GEN-CNP from it
  gencnp evaluate --config=FILE   the metrics of all methods, the experiments
  gencnp report --config=FILE     report.html
  gencnp explain --workdir=FOLDER --image=FILE   pictures of your own images
  gencnp share --workdir=FOLDER --out=FOLDER     a small copy, without optimiser

Each takes --workdir=FOLDER; `gencnp VERB --help` says the rest."""


def main() -> None:
  """Hands the command line over to the verb's module."""
  if len(sys.argv) < 2 or sys.argv[1] in ('-h', '--help', 'help'):
    print(_USAGE)
    return
  verb, rest = sys.argv[1], sys.argv[2:]
  try:
    one_of('gencnp', verb, tuple(_VERBS))
  except SettingsError as error:
    command_line.stop(error)
  name, stages = _VERBS[verb]
  if stages and any(flag.startswith('--config.stages') for flag in rest):
    command_line.stop(
      SettingsError(
        f'gencnp {verb} is short for --config.stages={stages}; with stages of '
        'your own use gencnp run.'
      )
    )
  if stages and any(flag.startswith('--config') for flag in rest):
    rest = [*rest, f'--config.stages={stages}']
  # Flags belong to the module that is imported: only one of them is.
  sys.argv = [f'gencnp {verb}', *rest]
  module = importlib.import_module(f'gencnp_jax.{name}')
  if {'-h', '--help'} & set(rest):
    print(f'{module.__doc__}{flags.FLAGS.module_help(module.__name__)}')
    return
  app.run(module.main, argv=sys.argv, flags_parser=module.parse_flags)

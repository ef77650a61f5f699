"""Trains a target, distils a GEN-CNP from it, compares it, writes a report.

  python -m gencnp_jax.main --config=configs/cifar.py

This file is intentionally short: everything else is importable from a notebook.
"""

import os

from absl import app, flags
from etils import epath
from ml_collections import config_flags

from gencnp_jax import command_line, stages
from gencnp_jax.runtime import cluster, compilation, console, processes

_CONFIG = config_flags.DEFINE_config_file(
  'config',
  None,
  'A file in configs/, and after a colon its variant. Each of its fields is a '
  'flag, such as --config.gencnp.beta=20 (gencnp_jax/settings.py has them all).',
)
_WORKDIR = flags.DEFINE_string(
  'workdir', None, 'Where everything goes; default: runs/<config name>.'
)
_COORDINATOR = flags.DEFINE_string(
  'coordinator',
  None,
  'HOST:PORT of process 0, where JAX does not detect the cluster by itself.',
)
_PROCESSES = flags.DEFINE_integer(
  'num_processes', None, 'How many processes run this command.'
)
_PROCESS = flags.DEFINE_integer(
  'process_id', None, 'Which of them this one is, from 0.'
)
_TIMEOUT = flags.DEFINE_integer(
  'cluster_timeout', 300, 'Seconds to wait for the other processes.'
)
flags.mark_flag_as_required('config')


def main(argv: list[str]) -> None:
  """Runs the stages of the config."""
  if len(argv) > 1:
    raise app.UsageError(f'What is {argv[1:]}? Every setting is a --flag.')
  console.set_up()
  compilation.use_cache()
  config = _CONFIG.value
  workdir = _WORKDIR.value or os.path.join('runs', config.name)
  with command_line.guarded():
    cluster.start(
      _COORDINATOR.value, _PROCESSES.value, _PROCESS.value, _TIMEOUT.value
    )
    if not processes.is_first():
      console.hush()
    stages.run(config, epath.Path(workdir))


def parse_flags(argv: list[str]) -> list[str]:
  """Parses the command line; one line says what is wrong with it."""
  try:
    rest = flags.FLAGS(argv)
    _ = _CONFIG.value.name  # A config file that is not there shows here.
    return rest
  except (AttributeError, KeyError) as error:
    while isinstance(error.args[0], Exception):
      error = error.args[0]
    what = ' '.join(error.args[0].splitlines())
    command_line.stop(ValueError(f'--config has no field {what}'))
  except (flags.Error, OSError) as error:
    command_line.stop(error)


if __name__ == '__main__':
  app.run(main, flags_parser=parse_flags)

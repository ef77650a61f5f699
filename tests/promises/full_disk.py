"""The program of `program.py`, on a disk that holds no file above LIMIT bytes.

A limit on the size of files stands in for a full disk: tests may run as root,
whom no rights stop. It begins with the checkpoint of step FROM.
"""

import os
import resource

from absl import app

from gencnp_jax import main
from gencnp_jax.runtime import checkpoints
from tests.promises import program

save = checkpoints.Checkpoints._write


def _save(self, step, *arguments):
  if step >= int(os.environ['FROM']):
    limit = int(os.environ['LIMIT'])
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
  save(self, step, *arguments)


if __name__ == '__main__':
  checkpoints.Checkpoints._write = _save
  app.run(program.run, flags_parser=main.parse_flags)

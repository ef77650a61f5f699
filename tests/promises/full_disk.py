"""The program of `program.py`, on a disk that holds no file above LIMIT bytes.

A limit on the size of files stands in for a full disk: tests may run as root,
whom no rights stop. It begins with the first checkpoint.
"""

import os
import resource

from absl import app

from gencnp_jax import main
from gencnp_jax.runtime import checkpoints
from tests.promises import program

save = checkpoints.Checkpoints.save


def _save(self, *arguments):
  limit = int(os.environ['LIMIT'])
  resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
  save(self, *arguments)


if __name__ == '__main__':
  checkpoints.Checkpoints.save = _save
  app.run(program.run, flags_parser=main.parse_flags)

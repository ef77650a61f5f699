"""Programs that tests start, signal and kill.

python -m tests.promises.program --config=... --workdir=... --pause=.1
python -m tests.promises.program explain OUT_DIR --pause=.1
"""

import os
import signal
import sys
import time

import jax
from absl import app, flags

from gencnp_jax import command_line, explainers, main
from gencnp_jax.runtime import cluster, preemption
from tests import tiny

_PAUSE = flags.DEFINE_float('pause', 0.0, 'Seconds before each dispatch.')
IMAGES = 50


def _slow_down():
  """Makes dispatches long enough to be hit."""
  requested = preemption.requested

  def slowly():
    time.sleep(_PAUSE.value)
    if os.environ.get('FAIL_IN') == str(jax.process_index()):
      raise RuntimeError('as the test wanted')
    return requested()

  preemption.requested = slowly


def _explain(argv):
  """Explains noise into a folder, eight images a shard."""
  _slow_down()
  with command_line.guarded():
    cluster.start(
      main._COORDINATOR.value, main._PROCESSES.value, main._PROCESS.value
    )
    explainer = tiny.generative()
    if 'SLOW' in os.environ:  # Minutes in one block.
      explainer = explainers.DGR(tiny.target(), 0.9, num_steps=10**6)
    explainers.explain_dataset(
      explainer,
      tiny.images(IMAGES),
      argv[1],
      batch_size=8,
      shard_size=8,
    )


def run(argv):
  """Runs the stages, slowed down."""
  _slow_down()
  with tiny.in_the_zoo():
    main.main(argv)


if __name__ == '__main__':
  # A shell lets what it runs in the background ignore Ctrl-C.
  signal.signal(signal.SIGINT, signal.default_int_handler)
  if 'explain' in sys.argv:
    sys.argv.remove('explain')
    flags.FLAGS['config'].validators.clear()
    app.run(_explain)
  app.run(run, flags_parser=main.parse_flags)

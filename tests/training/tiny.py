"""A problem that trains in a second, and a run of it in a process of its own.

python -m tests.training.tiny --devices=1 target:DIR gencnp:ANOTHER
"""

import argparse
import os
import pathlib
import signal
import subprocess
import sys

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gencnp_jax import data, settings, training
from gencnp_jax.model import GenCNP
from gencnp_jax.runtime import checkpoints, devices
from gencnp_jax.target import Preprocess, Target

PREPROCESS = Preprocess((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
BATCH = 8


class Net(nn.Module):
  """Two convolutions, a BatchNorm, three classes."""

  axis_name: str | None = None
  dtype: str = 'float32'

  @nn.compact
  def __call__(self, x, train=False):
    x = nn.Conv(4, (3, 3), dtype=self.dtype)(x)
    x = nn.BatchNorm(
      use_running_average=not train,
      momentum=0.9,
      axis_name=self.axis_name,
      dtype=self.dtype,
    )(x)
    x = nn.relu(x)
    x = nn.relu(nn.Conv(6, (3, 3), strides=2, dtype=self.dtype)(x))
    return nn.Dense(3)(x.mean((1, 2), dtype=jnp.float32))


def splits(train=36, validation=13):
  """Noise with one channel brighter than the others: the class."""
  rng = np.random.default_rng(0)

  def make(n):
    labels = rng.integers(0, 3, n).astype(np.int32)
    images = rng.integers(0, 160, (n, 8, 8, 3))
    images[np.arange(n), :, :, labels] += 90
    return data.Dataset(
      images.astype(np.uint8),
      labels,
      ('red', 'green', 'blue'),
      'tiny',
      PREPROCESS.mean,
      PREPROCESS.std,
    )

  held_out = make(validation) if validation else None
  return data.Splits(make(train), held_out, make(5))


def classification(dtype='float32'):
  return training.Classification(Net(devices.AXIS, dtype), PREPROCESS)


def distillation(axis_name=devices.AXIS, dtype='float32', **weights):
  model = GenCNP(hidden=8, dtype=jnp.dtype(dtype), axis_name=axis_name)
  return training.Distillation(model, **weights)


def target():
  """A frozen target whose classes differ between the images of `splits`."""
  variables = Net().init(jax.random.key(1), jnp.zeros((1, 8, 8, 3)))
  kernel = jax.random.normal(jax.random.key(2), (6, 3))
  variables['params']['Dense_0']['kernel'] = 4 * kernel
  bias = jnp.array([-0.5, 0.0, 0.3])
  variables['params']['Dense_0']['bias'] = bias
  return Target(Net().apply, variables, PREPROCESS)


class KilledAt(checkpoints.Checkpoints):
  """Ends its process by SIGKILL, while a step is being saved."""

  def __init__(self, directory, step):
    super().__init__(directory, {})
    self._killed_at = step

  def save(self, step, *trees):
    super().save(step, *trees)
    if step == self._killed_at:
      os.kill(os.getpid(), signal.SIGKILL)


def run(
  workdir,
  kind='target',
  task=None,
  frozen=None,
  loaded=None,
  saved=None,
  seed=3,
  tensorboard=False,
  every=1,
  dispatch=0,
  **fields,
):
  """Trains; returns the last state. `fields` are those of the config.

  Args:
    workdir: where checkpoints and log.jsonl go.
    kind: 'target' or 'gencnp'.
    task: None for the kind's own.
    frozen: None for the kind's own.
    loaded: the splits.
    saved: other checkpoints than a directory's.
    seed: of the run.
    tensorboard: of the run.
    every: steps between checkpoints and between log lines; 0 for an epoch.
    dispatch: steps per dispatch.
    **fields: of the section of the config.
  """
  config = settings.defaults()
  config.runtime.checkpoint_every = config.runtime.evaluate_every = every
  config.runtime.steps_per_dispatch = dispatch
  config.runtime.tensorboard = tensorboard
  section = config[kind]
  # A constant rate, so that runs of any length are one compiled program.
  plain = {'batch_size': BATCH, 'epochs': 1.0, 'schedule': 'constant'}
  section.update({**plain, **fields})
  if kind == 'target':
    task = task or classification()
  else:
    task = task or distillation(gamma=0.5, beta=0.1)
    frozen = frozen or (target(), None)
  workdir = pathlib.Path(workdir)
  with saved or checkpoints.Checkpoints(workdir / 'checkpoints', {}) as saved:
    return training.train(
      task,
      frozen,
      splits() if loaded is None else loaded,
      section,
      saved,
      workdir / 'log.jsonl',
      seed=seed,
      crop_pad=1,
      flip=True,
      runtime=config.runtime,
    )


def in_a_process(*runs, **flags):
  """Starts a process with 'kind:workdir' runs and flags of `main`."""
  arguments = [f'--{key}={value}' for key, value in flags.items()]
  return subprocess.Popen(
    [sys.executable, '-m', 'tests.training.tiny', *arguments, *runs],
    stdout=subprocess.PIPE,
    stderr=subprocess.STDOUT,
    text=True,
    cwd=pathlib.Path(__file__).parents[2],
    env={**os.environ, 'JAX_PLATFORMS': 'cpu'},
  )


def main():
  parser = argparse.ArgumentParser()
  parser.add_argument('runs', nargs='+')
  parser.add_argument('--devices', type=int, default=4)
  parser.add_argument('--epochs', type=float, default=1.0)
  parser.add_argument('--kill_at', type=int, default=0)
  flags = parser.parse_args()
  chex.set_n_cpu_devices(flags.devices)
  for run_of in flags.runs:
    kind, _, workdir = run_of.partition(':')
    saved = None
    if flags.kill_at:
      saved = KilledAt(f'{workdir}/checkpoints', flags.kill_at)
    run(workdir, kind, saved=saved, epochs=flags.epochs)


if __name__ == '__main__':
  main()

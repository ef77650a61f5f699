"""A net of two convolutions, and a whole run with it: seconds, not minutes."""

import contextlib
import functools
import os

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from gencnp_jax import settings, stages, workspace
from gencnp_jax.explainers import Generative
from gencnp_jax.model import GenCNP
from gencnp_jax.target import Preprocess, Target

SHAPES = ((8, 8, 4), (4, 4, 8))
NEURONS = 8 * 8 * 4 + 4 * 4 * 8
CLASSES = 10


class TinyNet(nn.Module):
  """Two convolutions; the fields and the call of the zoo's modules."""

  num_classes: int = CLASSES
  dtype: jnp.dtype = jnp.float32
  axis_name: str | None = None

  @nn.compact
  def __call__(self, images, train=False):
    del train
    x = nn.relu(nn.Conv(4, (3, 3), dtype=self.dtype)(images))
    # A mean: a tie in a maximum has no derivative to compare with.
    x = nn.avg_pool(x, (2, 2), (2, 2))
    x = nn.relu(nn.Conv(8, (3, 3), dtype=self.dtype)(x))
    x = nn.Dense(self.num_classes, dtype=self.dtype)(x.mean((1, 2)))
    return x.astype(jnp.float32)


@functools.cache
def target(preprocess=True):
  """Returns an untrained target that tells images apart all the same."""
  net = TinyNet()
  variables = jax.jit(net.init)(jax.random.key(3), jnp.zeros((1, 8, 8, 3)))
  normalise = Preprocess((0.5, 0.4, 0.6), (0.25, 0.3, 0.2))
  raw = jax.jit(net.apply)(variables, normalise(images(64)))
  last = variables['params']['Dense_0']
  variables['params']['Dense_0'] = {
    'kernel': last['kernel'] * 10.0,
    'bias': -raw.mean(0) * 10.0,
  }
  return Target(net.apply, variables, normalise if preprocess else None)


@functools.cache
def generative(**fields):
  """Returns an untrained GEN-CNP of the target, as an explainer."""
  model = GenCNP(hidden=8, **fields)
  sample = tuple(jnp.zeros((1, *shape)) for shape in SHAPES)
  classes = jnp.zeros((1, target().num_classes((8, 8, 3))))
  variables = jax.jit(model.init)(jax.random.key(4), sample, classes=classes)
  return Generative(target(), model, variables)


def images(count, seed=0):
  """Returns noise, uint8 `[count, 8, 8, 3]`, each image of its own colour."""
  rng = np.random.default_rng(seed)
  noise = rng.integers(0, 128, (count, 8, 8, 3))
  return (noise + rng.integers(0, 128, (count, 1, 1, 3))).astype(np.uint8)


def config(**changes):
  """Returns the config of a run of seconds; changes by dotted name."""
  fields = {
    'name': 'tiny',
    'data.name': 'digits',
    'data.image_size': 8,
    'data.limit': 64,
    'data.validation_share': 0.1,
    'data.crop_pad': 1,
    'data.flip': False,
    'target.epochs': 2.0,
    'target.batch_size': 16,
    'gencnp.epochs': 1.0,
    'gencnp.batch_size': 16,
    'gencnp.hidden': 8,
    'evaluate.limit': 24,
    'evaluate.batch_size': 16,
    'evaluate.examples': 2,
  }
  result = settings.defaults()
  for name, value in (fields | changes).items():
    section, _, field = name.rpartition('.')
    (result[section] if section else result)[field] = value
  return result


@contextlib.contextmanager
def in_the_zoo():
  """Lets `alexnet` be the tiny net while it lasts."""
  before = workspace._ZOO['alexnet']
  workspace._ZOO['alexnet'] = TinyNet
  try:
    yield
  finally:
    workspace._ZOO['alexnet'] = before


def run(workdir, **changes):
  """Runs the stages of a tiny config in a workdir."""
  with in_the_zoo():
    stages.run(config(**changes), workdir)


def files(workdir):
  """Returns what lies in a workdir: path -> time of the last change.

  The lock and the stored config are written anew by every run.
  """
  found = {}
  for folder, _, names in os.walk(workdir):
    for name in names:
      path = os.path.join(folder, name)
      found[os.path.relpath(path, workdir)] = os.stat(path).st_mtime_ns
  return {k: v for k, v in found.items() if k not in ('.lock', 'config.json')}

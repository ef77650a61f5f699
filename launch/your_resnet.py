"""GEN-CNP for a network that has never heard of it: a ResNet in Flax NNX.

  python launch/your_resnet.py           # CIFAR-10; docs/results/resnet
  python launch/your_resnet.py --smoke   # digits, a toy size, a minute

To copy from: a model, its own training, the bridge (`as_target`, five lines),
then `fit` and `evaluate`. What is finished in the workdir is not done again.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import pathlib
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from absl import logging
from flax import nnx

import gencnp_jax
from gencnp_jax import data, explainers, settings
from gencnp_jax.report import export
from gencnp_jax.runtime import compilation, console

# ------------------------------------------------------------------------------
# The model. Nothing in it knows of explanations.


class Block(nnx.Module):
  """Two convolutions and a shortcut (He et al., CVPR 2016, Fig. 2)."""

  def __init__(self, inputs: int, outputs: int, stride: int, rngs: nnx.Rngs):
    conv = functools.partial(nnx.Conv, use_bias=False, rngs=rngs)
    self.conv_1 = conv(inputs, outputs, (3, 3), stride)
    self.norm_1 = nnx.BatchNorm(outputs, momentum=0.9, rngs=rngs)
    self.conv_2 = conv(outputs, outputs, (3, 3))
    self.norm_2 = nnx.BatchNorm(outputs, momentum=0.9, rngs=rngs)
    same = stride == 1 and inputs == outputs
    self.shortcut = None if same else conv(inputs, outputs, (1, 1), stride)

  def __call__(self, x: jax.Array) -> jax.Array:
    """Returns `[n, h / stride, w / stride, outputs]`."""
    y = nnx.relu(self.norm_1(self.conv_1(x)))
    y = self.norm_2(self.conv_2(y))
    return nnx.relu(y + (x if self.shortcut is None else self.shortcut(x)))


class ResNet(nnx.Module):
  """The CIFAR ResNet of 6n + 2 layers (He et al., CVPR 2016, section 4.2)."""

  def __init__(self, blocks: int, width: int, classes: int, rngs: nnx.Rngs):
    self.conv = nnx.Conv(3, width, (3, 3), use_bias=False, rngs=rngs)
    self.norm = nnx.BatchNorm(width, momentum=0.9, rngs=rngs)
    layers, inputs = [], width
    for outputs in (width, 2 * width, 4 * width):
      for block in range(blocks):
        stride = 2 if block == 0 and outputs > width else 1
        layers.append(Block(inputs, outputs, stride, rngs))
        inputs = outputs
    self.blocks = nnx.List(layers)
    self.head = nnx.Linear(inputs, classes, rngs=rngs)

  def __call__(self, x: jax.Array) -> jax.Array:
    """Returns logits `[n, classes]` of normalised images `[n, h, w, 3]`."""
    x = nnx.relu(self.norm(self.conv(x)))
    for block in self.blocks:
      x = block(x)
    return self.head(x.mean((1, 2)))


# ------------------------------------------------------------------------------
# What is run.


@dataclasses.dataclass(frozen=True)
class Size:
  """The data, the model, and how long each part takes."""

  data: str
  side: int  # Of the images, in pixels; 0 as stored.
  augment: dict[str, Any]  # Arguments of `data.augment`.
  blocks: int  # A stage: n of 6n + 2 layers.
  width: int  # Channels of the first stage.
  epochs: int
  gencnp: dict[str, Any]  # What differs from the defaults of `fit`.
  sparsities: tuple[float, ...]  # Of the curve.
  limit: int  # Test images.


FULL = Size(
  data='cifar10',
  side=0,
  augment={'pad': 4, 'flip': True},
  blocks=1,
  width=16,
  epochs=8,
  gencnp=settings.OBJECTIVES['eq2']
  | {
    # The smallest map, 8x8, would have the PDN read four times as much.
    'embedding': (4, 4),
    'hidden': 256,
    # Maps of 32x32 are dear: one pass over the images, in small steps.
    'epochs': 1,
    'batch_size': 64,
    'learning_rate': 3e-3,
    # A ResNet's last layers can say a class with the first ones off, by the
    # biases of BatchNorm alone: at its beta of .6 they learn to, and 93 %
    # of the pathways do without the image. Fewer neurons off, and 2 % of each
    # layer always on, keep it connected (chosen on the validation images).
    'beta': 0.1,
    'layer_floor': 0.02,
  },
  sparsities=(0.7, 0.8, 0.9, 0.95, 0.98),
  limit=1000,
)
SMOKE = Size(
  data='digits',
  side=16,
  augment={'pad': 1, 'flip': False},  # A mirrored digit is no digit.
  blocks=1,
  width=8,
  epochs=6,
  gencnp={'hidden': 64, 'epochs': 6, 'batch_size': 64},
  sparsities=(0.9,),
  limit=100,
)
SEED = 0
BATCH = 128


# ------------------------------------------------------------------------------
# Its own training.


def train(model: ResNet, images: data.Dataset, size: Size) -> None:
  """Trains the model in place: SGD with Nesterov momentum, one cycle."""
  normalise = gencnp_jax.Preprocess(images.mean, images.std)
  steps_an_epoch = len(images.images) // BATCH
  schedule = optax.cosine_onecycle_schedule(size.epochs * steps_an_epoch, 0.2)
  sgd = optax.sgd(schedule, momentum=0.9, nesterov=True)
  decayed = optax.chain(optax.add_decayed_weights(5e-4), sgd)
  optimizer = nnx.Optimizer(model, decayed, wrt=nnx.Param)

  @nnx.jit
  def train_step(model, optimizer, step, x, labels):
    x = data.augment(x, SEED, step, jnp.arange(BATCH), **size.augment)

    def loss_fn(model):
      logits = model(normalise(x))
      loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
      return loss.mean(), (logits.argmax(1) == labels).mean()

    (loss, right), grads = nnx.value_and_grad(loss_fn, has_aux=True)(model)
    optimizer.update(model, grads)
    return loss, right

  model.train()
  for epoch in range(size.epochs):
    start, logged = time.monotonic(), []
    for step in range(epoch * steps_an_epoch, (epoch + 1) * steps_an_epoch):
      rows = data.indices(SEED, step, BATCH, len(images.images))
      batch = images.images[rows], images.labels[rows]
      logged.append(train_step(model, optimizer, jnp.int32(step), *batch))
    loss, right = np.mean(jax.device_get(logged), 0)
    rate = steps_an_epoch * BATCH / (time.monotonic() - start)
    logging.info(
      'Epoch %d of %d: loss %.3f, accuracy %.1f %%, %.0f images/s.',
      *(epoch + 1, size.epochs, loss, 100 * right, rate),
    )


def load_or_train(
  model: ResNet, images: data.Dataset, size: Size, path: pathlib.Path
) -> None:
  """Fills the model with the parameters at `path`, trained where missing."""
  if not path.exists():
    train(model, images, size)
    # Renamed when whole: half a file would be taken for a trained model.
    half = path.with_suffix('.half.npz')
    np.savez(half, *jax.tree.leaves(nnx.state(model)))
    half.rename(path)
  tree = jax.tree.structure(nnx.state(model))
  with np.load(path) as saved:
    leaves = [jnp.asarray(saved[name]) for name in saved.files]
  nnx.update(model, jax.tree.unflatten(tree, leaves))


# ------------------------------------------------------------------------------
# The bridge: all that gencnp_jax is told of the model.


def as_target(model: ResNet, images: data.Dataset) -> gencnp_jax.Target:
  """Returns the trained model as a target that takes uint8 images."""
  model.eval()  # BatchNorm takes its running statistics from here on.
  graphdef, state = nnx.split(model)

  def apply_fn(state, x):
    return nnx.merge(graphdef, state)(x)

  preprocess = gencnp_jax.Preprocess(images.mean, images.std)
  return gencnp_jax.Target(apply_fn, state, preprocess=preprocess)


# ------------------------------------------------------------------------------
# Compare and show.


BASELINES = (
  explainers.NeuronMCT,
  explainers.NeuronIntGrad,
  explainers.Greedy,
  explainers.OriginalActivation,
  explainers.Random,
)


def compare(
  explain: explainers.Generative,
  images: data.Dataset,
  size: Size,
  folder: pathlib.Path,
) -> explainers.Comparison:
  """Measures GEN-CNP and the baselines, which take its mean sparsity.

  Writes each table as CSV, and a picture of six pathways.
  """
  shown, labels = images.images[: size.limit], images.labels[: size.limit]
  found = explain(shown, importance=False)
  six = found.masks, found.logits, found.pathway_logits
  figure = gencnp_jax.plot.examples(
    shown[:6], *jax.tree.map(lambda x: x[:6], six), images.class_names
  )
  export.replace(folder / 'pathways.png', export.render(figure, 'png'))
  sparsity = float(found.firing_sparsity.mean())
  results = gencnp_jax.evaluate(
    [explain, *(make(explain.target, sparsity) for make in BASELINES)],
    shown,
    labels,
    sparsities=size.sparsities,
  )
  for table in results.tables():
    export.replace(folder / f'{table.slug}.csv', table.to_csv().encode())
  return results


def main() -> None:
  """Trains, fits, compares and writes."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawTextHelpFormatter
  )
  parser.add_argument('--workdir', type=pathlib.Path, help='where all goes')
  parser.add_argument('--smoke', action='store_true', help='a toy size')
  parser.add_argument('--epochs', type=int, help='of the training of the model')
  parser.add_argument('--blocks', type=int, help='n, for 6n + 2 layers')
  parser.add_argument('--limit', type=int, help='test images')
  options = parser.parse_args()
  size = SMOKE if options.smoke else FULL
  given = {k: getattr(options, k) for k in ('epochs', 'blocks', 'limit')}
  size = dataclasses.replace(size, **{k: v for k, v in given.items() if v})
  console.set_up()
  compilation.use_cache()

  name = f'resnet{6 * size.blocks + 2}'
  workdir = options.workdir or pathlib.Path('runs', f'{name}_{size.data}')
  workdir.mkdir(parents=True, exist_ok=True)
  config = settings.defaults().data
  config.name, config.image_size = size.data, size.side
  train_set, _, test_set = data.load(config, SEED)

  started = time.monotonic()
  classes = len(train_set.class_names)
  model = ResNet(size.blocks, size.width, classes, nnx.Rngs(SEED))
  load_or_train(model, train_set, size, workdir / f'{name}.npz')
  target = as_target(model, train_set)
  trained = time.monotonic()
  explain = gencnp_jax.fit(
    target, train_set.images, size.gencnp, workdir=workdir / 'gencnp'
  )
  fitted = time.monotonic()
  results = compare(explain, test_set, size, workdir / 'results')
  print(results)
  logging.info(
    'The model is right on %.1f %% of the test images. Training took %.0f s, '
    'fitting %.0f s, comparing %.0f s. Tables: %s.',
    100 * results.rows()[0]['target_accuracy'],
    *(trained - started, fitted - trained, time.monotonic() - fitted),
    workdir / 'results',
  )


if __name__ == '__main__':
  main()

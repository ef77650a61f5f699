"""Compiles training steps for this process's devices; see scaling.py."""

import argparse
import dataclasses
import json
import math
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scaling_collectives as collectives
import scaling_evaluation as evaluation
from benchmarks.steps_jax import STEPS_PER_RUN
from benchmarks.synthetic import TARGETS

from gencnp_jax import GenCNP, Target, ops, settings
from gencnp_jax.data.loading import CIFAR10_MEAN, CIFAR10_STD
from gencnp_jax.model import recursive, size
from gencnp_jax.runtime import devices
from gencnp_jax.target import Preprocess
from gencnp_jax.training import Classification, Distillation, TrainState
from gencnp_jax.training import state as state_lib
from gencnp_jax.training import step as step_lib

SHAPE = (32, 32, 3)


@dataclasses.dataclass(frozen=True)
class Job:
  """What a row of the table trains.

  Attributes:
    task: a `Classification` or a `Distillation`.
    frozen: None, or (target, None).
    section: of the settings: the optimiser's fields.
    estimate: a batch's rows -> bytes of training as `size.measure` has them.
  """

  task: Any
  frozen: Any
  section: Any
  estimate: Any = None


def job(row: str, image_shape=SHAPE, classes: int = 10, **fields) -> Job:
  """Returns the job of a row: a target's name, then what is trained of it.

  Args:
    row: 'alexnet', 'alexnet_gencnp', or of another target; behind that 'swap'
      (gamma = 1), 'loops' (as on GPU and TPU) and 'soft' (masks of a sigmoid).
    image_shape: (h, w, channels).
    classes: of the target.
    **fields: of the GenCNP.
  """
  name, *words = row.split('_')
  preprocess = Preprocess(CIFAR10_MEAN, CIFAR10_STD)
  defaults = settings.defaults()
  if not words:
    model = TARGETS[name](classes, axis_name=devices.AXIS)
    return Job(Classification(model, preprocess), None, defaults.target)
  model = TARGETS[name](classes)
  images = jnp.zeros((1, *image_shape))
  variables = jax.eval_shape(model.init, jax.random.key(0), images)
  target = Target(model.apply, variables, preprocess)
  if 'loops' in words:
    fields['canvases'] = recursive.ACCELERATOR_CANVASES
  if 'soft' in words:
    fields['quantiser'] = 'sigmoid'
  gencnp = GenCNP(axis_name=devices.AXIS, **fields)
  task = Distillation(gencnp, gamma=float('swap' in words))
  shapes = target.activation_shapes(image_shape)
  return Job(
    task,
    (target, None),
    defaults.gencnp,
    lambda rows: size.measure(gencnp, shapes, rows).training,
  )


def lower(job: Job, per_device: int, image_shape=SHAPE) -> tuple[Any, Any]:
  """Lowers the training step for images from the host.

  Args:
    job: what is trained; arrays may be shapes.
    per_device: rows of a batch on each device.
    image_shape: (h, w, channels).

  Returns:
    The lowered step, and the shapes of its arguments.
  """
  optimiser = state_lib.optimiser(job.section, STEPS_PER_RUN)

  def create(frozen):
    sample = jnp.zeros((1, *image_shape), jnp.uint8)
    variables = job.task.init(jax.random.key(0), frozen, sample)
    return TrainState.create(variables, optimiser)

  state = jax.eval_shape(create, job.frozen)
  step = step_lib.compiled(
    job.task,
    optimiser,
    seed=0,
    total=1,
    crop_pad=0,
    flip=False,
    per_device=per_device,
    on_device=False,
  )
  rows = jax.local_device_count(), 1, per_device
  images = jax.ShapeDtypeStruct((*rows, *image_shape), jnp.uint8)
  labels = jax.ShapeDtypeStruct(rows, jnp.int32)
  shapes = state, job.frozen, images, labels
  return step.lower(*shapes), shapes


def count(tree: Any) -> int:
  """Returns the number of numbers in a tree of arrays or shapes."""
  return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


def values(tree: Any) -> Any:
  """Fills a tree of shapes: the same numbers whatever the device count."""
  rng = np.random.default_rng(0)

  def fill(path, leaf):
    name = str(getattr(path[-1], 'key', path[-1]))
    if name == 'kernel':
      fan_in = np.prod(leaf.shape[:-1])
      normal = rng.standard_normal(leaf.shape, np.float32)
      return normal * np.float32(np.sqrt(2 / fan_in))
    return np.full(leaf.shape, name in ('scale', 'var'), leaf.dtype)

  return jax.tree_util.tree_map_with_path(fill, tree)


def losses(row: str, batch: int, steps: int) -> dict[str, Any]:
  """Runs steps; returns the loss of each over the global batch.

  With the CPU's own lowerings: the native one takes minutes a step here.

  Args:
    row: see `job`.
    batch: global, the same images on any number of devices.
    steps: how many.
  """
  made = job(row)
  lowered, (state, frozen, images, labels) = lower(made, devices.share(batch))
  compiled = lowered.compile()
  optimiser = state_lib.optimiser(made.section, STEPS_PER_RUN)
  variables = values({'params': state.params, 'batch_stats': state.batch_stats})
  state = TrainState.create(variables, optimiser)
  rng, found = np.random.default_rng(1), []
  # Each of one colour, or an untrained target says one class of all.
  colours = (steps, *images.shape[:3], 1, 1, images.shape[-1])
  colours = rng.integers(0, 256, colours, np.uint8)
  pixels = np.broadcast_to(colours, (steps, *images.shape))
  classes = rng.integers(0, 10, (steps, *labels.shape), np.int32)
  frozen = balanced(values(frozen), pixels.reshape(-1, *images.shape[3:]))
  state, frozen = devices.replicate((state, frozen))
  for step in range(steps):
    state, sums = compiled(state, frozen, pixels[step], classes[step])
    total, number = sums['loss']
    found.append(float(total[0] / number[0]))
  number = jax.device_count()
  return {'run': row, 'devices': number, 'batch': batch, 'losses': found}


def balanced(frozen: Any, images: np.ndarray) -> Any:
  """Sets a target's biases such that it tells these images apart."""
  if frozen is None:
    return None
  target, off = frozen
  target.variables['params']['Dense_0']['bias'] -= target(images).mean(0)
  return target, off


def measure(row: str, per_device: int) -> dict[str, Any]:
  """Compiles a row's step and reads what it costs."""
  made = job(row)
  start = time.perf_counter()
  # As GPU and TPU get it: the CPU's own lowerings trade memory for time.
  with ops.use_lowering('native'):
    lowered, shapes = lower(made, per_device)
    compiled = lowered.compile()
  seconds = time.perf_counter() - start
  carried = collectives.pieces(compiled.as_text())
  memory = compiled.memory_analysis()
  number = jax.device_count()
  return {
    'row': row,
    'devices': number,
    'batch': per_device * number,
    'parameters': count(shapes[0].params),
    'flops': compiled.cost_analysis()['flops'],
    'argument_bytes': memory.argument_size_in_bytes,
    'output_bytes': memory.output_size_in_bytes,
    'temporary_bytes': memory.temp_size_in_bytes,
    'estimated_bytes': made.estimate and made.estimate(per_device),
    'launches': collectives.launches(carried),
    'carried': collectives.by_group(carried),
    'expected': collectives.predicted(
      count(shapes[0].params),
      count(shapes[0].batch_stats),
      len(lowered.out_info[1]),
      math.prod(SHAPE) if 'swap' in row else 0,
    ),
    'collectives': table(carried),
    'compile_seconds': seconds,
  }


def table(carried: list[collectives.Piece]) -> list[dict[str, Any]]:
  """Returns the collectives with equal ones counted together."""
  found: dict[tuple, int] = {}
  for piece in carried:
    array = f'{piece.dtype}{list(piece.shape)}'
    key = piece.group, piece.kind, array
    found[key] = found.get(key, 0) + piece.times
  names = 'group', 'kind', 'array', 'count'
  return [dict(zip(names, (*key, times))) for key, times in found.items()]


def main() -> None:
  """Prints a JSON object a line."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument('--rows', required=True)
  parser.add_argument('--runs', required=True)
  parser.add_argument('--batch', type=int, required=True)
  parser.add_argument('--run_batch', type=int, required=True)
  parser.add_argument('--steps', type=int, required=True)
  options = parser.parse_args()
  number = jax.device_count()
  rows = options.rows.split(',')
  for row in rows:
    found = [measure(row, devices.share(options.batch))]
    if number > 1:
      found.append(measure(row, options.batch))
    for one in found:
      print(json.dumps(one), flush=True)
  for row in options.runs.split(','):
    print(json.dumps(losses(row, options.run_batch, options.steps)), flush=True)
  if number > 1:
    for name in dict.fromkeys(row.split('_')[0] for row in rows):
      target, _ = job(f'{name}_gencnp').frozen
      found = evaluation.gathered(target, SHAPE, rows=8)
      print(json.dumps({'gather': name, **found}), flush=True)


if __name__ == '__main__':
  main()

"""Measures every method: images/s, the share of its arithmetic floor, memory.

  python launch/benchmark_explainers.py
  python launch/benchmark_explainers.py --target=vgg11 --methods=neuron_mct

A method's floor is the multiplications and additions that it cannot do without,
at the rate of a 2048^3 matrix product measured in the same run, between the
methods. Winograd's algorithm does with fewer: a share may exceed 100 %.
Untrained weights and random images: neither changes the time, but for DGR_R's,
which tries again where the class was not kept, and is left out for that.
"""

import argparse
import json
import math
import pathlib
import statistics
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gencnp_jax import GenCNP, Target, explainers, ops, settings, zoo
from gencnp_jax.data.loading import CIFAR10_MEAN, CIFAR10_STD
from gencnp_jax.experiments.methods import BASELINES
from gencnp_jax.runtime import compilation
from gencnp_jax.target import Preprocess

TARGETS = {'alexnet': zoo.AlexNet, 'vgg11': zoo.VGG11}
SIDE = 32
PRODUCT = 2048
SPARSITY = 0.95


def make_target(name: str) -> Target:
  """Returns an untrained target that takes uint8 images."""
  model = TARGETS[name]()
  images = jnp.zeros((1, SIDE, SIDE, 3))
  variables = jax.jit(model.init)(jax.random.key(0), images)
  return Target(model.apply, variables, Preprocess(CIFAR10_MEAN, CIFAR10_STD))


def make_explainers(target: Target, names) -> dict[str, Any]:
  """Returns the explainers of these words, GEN-CNP untrained."""
  made = {}
  for name in names:
    if name in BASELINES:
      made[name] = BASELINES[name](target, SPARSITY)
      continue
    model = GenCNP()
    activations = tuple(
      jnp.zeros((1, *shape)) for shape in target.activation_shapes(_SHAPE)
    )
    variables = jax.eval_shape(model.init, jax.random.key(0), activations)
    # Initialising compiles for long, and values do not change the time.
    variables = jax.tree.map(lambda s: jnp.full(s.shape, 0.01), variables)
    made[name] = explainers.Generative(target, model, variables)
  return made


_SHAPE = (SIDE, SIDE, 3)


def products(fn, *args) -> list[float]:
  """Returns the operations of each convolution and product, in order."""
  with ops.use_lowering('native'):
    jaxpr = jax.make_jaxpr(fn)(*args)
  return list(_walk(jaxpr.jaxpr))


def _walk(jaxpr):
  for eqn in jaxpr.eqns:
    if eqn.primitive.name == 'conv_general_dilated':
      kernel = eqn.invars[1].aval.shape
      yield 2.0 * math.prod(eqn.outvars[0].aval.shape) * math.prod(kernel[:3])
    elif eqn.primitive.name == 'dot_general':
      ((contracted, _), _) = eqn.params['dimension_numbers']
      taken = math.prod(eqn.invars[0].aval.shape[i] for i in contracted)
      yield 2.0 * math.prod(eqn.outvars[0].aval.shape) * taken
    for value in jax.tree.leaves(list(eqn.params.values()), is_leaf=_is_body):
      if _is_body(value):
        times = eqn.params.get('length', 1)  # Of a scan.
        for operations in _walk(getattr(value, 'jaxpr', value)):
          yield times * operations


def _is_body(value) -> bool:
  return hasattr(value, 'eqns') or hasattr(value, 'jaxpr')


def floors(target: Target, made: dict[str, Any]) -> dict[str, float]:
  """Returns the operations that each method needs for an image."""
  image = jnp.zeros((1, *_SHAPE), jnp.uint8)
  # A chain: layer i's activation is the input of product i + 1.
  layers = products(
    lambda v, x: target.apply_fn(v, target.preprocess(x)),
    target.variables,
    image,
  )
  forward, behind = sum(layers), sum(layers[1:])
  sites = len(target.activation_shapes(_SHAPE))
  suffixes = sum(sum(layers[i + 1 :]) for i in range(sites))
  found = {}
  for name, explainer in made.items():
    operations = forward
    if name == 'neuron_mct':
      operations += behind
    elif name == 'neuron_int_grad':
      operations += explainer.steps * 2 * suffixes
    elif name == 'greedy':
      operations += 99 * 2 * behind
    elif name.startswith('dgr'):
      operations += explainer.num_steps * 2 * behind
    elif name == 'gencnp':
      activations = tuple(
        jnp.zeros((1, *shape)) for shape in target.activation_shapes(_SHAPE)
      )
      operations += sum(
        products(explainer.model.apply, explainer.variables, activations)
      )
    found[name] = operations
  return found


def product_rate() -> float:
  """Returns operations a second of a matrix product, the best of five."""
  a = jnp.ones((PRODUCT, PRODUCT))
  multiply = jax.jit(jnp.matmul)
  jax.block_until_ready(multiply(a, a))
  seconds = []
  for _ in range(5):
    start = time.perf_counter()
    jax.block_until_ready(multiply(a, a))
    seconds.append(time.perf_counter() - start)
  return 2 * PRODUCT**3 / min(seconds)


def _find(explainer, index, images):
  found = explainer.pathways(index, images, jnp.full(index.shape, -1))
  return found.logits, found.masks


def measure(explainer, batch: int, rounds: int, budget: float) -> dict:
  """Times one method at one batch size, compilation apart.

  Rounds end early once they have taken `budget` seconds.
  """
  rng = np.random.default_rng(0)
  images = rng.integers(0, 256, (batch, *_SHAPE), np.uint8)
  args = explainer, np.arange(batch, dtype=np.int32), images
  start = time.perf_counter()
  compiled = jax.jit(_find).lower(*args).compile()
  compile_seconds = time.perf_counter() - start
  analysis = compiled.memory_analysis()
  seconds = []
  jax.block_until_ready(compiled(*args))
  while len(seconds) < rounds and (not seconds or sum(seconds) < budget):
    start = time.perf_counter()
    jax.block_until_ready(compiled(*args))
    seconds.append(time.perf_counter() - start)
  return {
    'batch': batch,
    'images_per_second': batch / statistics.median(seconds),
    'compile_seconds': compile_seconds,
    'megabytes_an_image': analysis.temp_size_in_bytes / batch / 1e6,
  }


def main() -> None:
  """Measures the methods and prints them as they come."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--target', default='alexnet', choices=TARGETS)
  parser.add_argument(
    '--methods',
    default=','.join(m for m in settings.METHODS if m != 'dgr_r'),
    help='comma-set',
  )
  parser.add_argument('--batches', default='1,16,64,256')
  parser.add_argument('--rounds', type=int, default=5)
  parser.add_argument('--budget', type=float, default=20.0, help='seconds')
  parser.add_argument('--json', type=pathlib.Path, help='where to write all')
  options = parser.parse_args()
  ops.keep_freed_memory()
  compilation.use_cache()
  target = make_target(options.target)
  made = make_explainers(target, settings.methods(options.methods))
  needed = floors(target, made)
  neurons = sum(math.prod(s) for s in target.activation_shapes(_SHAPE))
  batches = [int(b) for b in options.batches.split(',')]
  device = jax.devices()[0]
  print(
    f'{options.target}, {device.device_kind}, float32, sparsity {SPARSITY}; '
    f'medians of {options.rounds} rounds\n'
    f'{"method":20}{"ops/image":>11}'
    + ''.join(f'{f"batch {b}":>11}' for b in batches)
    + f'{"best/one":>10}{"floor":>9}{"share":>7}{"MB/image":>10}{"promised":>9}'
  )
  results = []
  for name, explainer in made.items():
    rate = product_rate()
    rounds = [
      measure(explainer, b, options.rounds, options.budget) for b in batches
    ]
    rate = max(rate, product_rate())
    best = max(r['images_per_second'] for r in rounds)
    floor = rate / needed[name]
    promised = explainer.copies * 4 * neurons / 1e6
    results.append(
      {
        'method': name,
        'operations_an_image': needed[name],
        'product_operations_a_second': rate,
        'floor_images_per_second': floor,
        'share_of_floor': best / floor,
        'promised_megabytes_an_image': promised,
        'batches': rounds,
      }
    )
    print(
      f'{name:20}{needed[name] / 1e6:>9.0f} M'
      + ''.join(f'{r["images_per_second"]:>11.1f}' for r in rounds)
      + f'{best / rounds[0]["images_per_second"]:>10.1f}{floor:>9.0f}'
      f'{best / floor:>7.0%}{rounds[-1]["megabytes_an_image"]:>10.2f}'
      f'{promised:>9.2f}',
      flush=True,
    )
  if options.json:
    content = {'target': options.target, 'methods': results}
    options.json.write_text(json.dumps(content, indent=1))


if __name__ == '__main__':
  main()

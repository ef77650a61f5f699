"""What ImageNet at full size would take: VGG-11 at 224 x 224 on a TPU v4-32.

  python launch/scaling_imagenet.py
  python launch/scaling_imagenet.py --compile   # XLA's own count of the memory

By formula, without making anything; --compile compiles the steps for one CPU
device, without running them, at two batch sizes each.
"""

import argparse
import math

import scaling_arithmetic as arithmetic
import scaling_evaluation as evaluation
import scaling_forecast as forecast
import scaling_worker as worker

from gencnp_jax import GenCNP, ops, pathway
from gencnp_jax.explainers import CURVE
from gencnp_jax.model import size

NAME, SIDE, CLASSES = 'vgg11', 224, 1000
SYSTEM = forecast.SYSTEMS['TPU v4-32']
MEMORY = 32 * 2**30  # Of a TPU v4 chip.
IMAGES, TESTED = 1_281_167, 50_000
PCIE = 16e9  # Bytes a second from a device to its host.
COMPILED = (2, 4)

# Fields of the GEN-CNP, and the activations that it explains.
CHOICES = {
  'smallest map': ({}, None),
  '7 x 7': ({'embedding': (7, 7)}, None),
  '4 x 4': ({'embedding': (4, 4)}, None),
  '2 x 2': ({'embedding': (2, 2)}, None),
  'smallest map, k = 3': ({'kernel_sizes': (3,) * 8}, None),
  '7 x 7, last six ReLUs': ({'embedding': (7, 7)}, tuple(range(2, 8))),
  '7 x 7, last four ReLUs': ({'embedding': (7, 7)}, tuple(range(4, 8))),
}


def choice_line(title: str, share: float) -> str:
  """Returns the line of a GEN-CNP."""
  fields, relus = CHOICES[title]
  model = GenCNP(**fields)
  net = arithmetic.gencnp_net(model, NAME, SIDE, CLASSES, relus)
  target = arithmetic.target_of(NAME, SIDE, CLASSES).replace(relus=relus)
  shapes = target.activation_shapes((SIDE, SIDE, 3))
  state = size.measure(model, shapes, 1).state
  each = size.measure(model, shapes, 1).batch
  fit = max(0, int((MEMORY - state) // each))
  (kernel, _), (_, smallest) = model.plan(shapes)[0], model.plan(shapes)[-1]
  line = (
    f'{title:24}{f"{smallest[0]} x {smallest[1]}":>9}{kernel[0]:>5}'
    f'{net.parameters / 1e6:>9,.0f}{state / 1e9:>8.1f}{each / 1e6:>8,.0f}'
    f'{fit:>6}{net.flops / 1e9:>9,.0f}{net.most:>7}'
  )
  return line + epoch(net, fit, share)


def epoch(net: arithmetic.Net, rows: int, share: float) -> str:
  """Returns images a second, steps and hours of an epoch, and efficiency."""
  if not rows:
    return f'{"-":>9}{"-":>8}{"-":>8}{"-":>8}'
  rows = min(rows, forecast.BATCH)
  seconds = forecast.step(net, SYSTEM, rows, share).total
  rate = rows * SYSTEM.devices / seconds
  steps = IMAGES // (rows * SYSTEM.devices)
  kept = rows * net.flops / (share * SYSTEM.peak) / seconds
  return f'{rate:>9,.0f}{steps:>8,}{IMAGES / rate / 3600:>8.2f}{kept:>8.0%}'


def evaluation_line(name: str, side: int, classes: int, images: int) -> str:
  """Returns the line of what evaluation brings to every process."""
  target = arithmetic.target_of(name, side, classes)
  shapes = target.activation_shapes((side, side, 3))
  neurons = pathway.neuron_count(shapes)
  line = f'{f"{name}, {side} x {side}":20}{neurons:>11,}'
  for sparsities in (0, len(CURVE)):
    each = evaluation.result_bytes(shapes, classes, sparsities)
    ring = SYSTEM.link / ((SYSTEM.devices - 1) / SYSTEM.devices * each)
    kept = (1 + sparsities) * math.ceil(neurons / 8) * images
    line += (
      f'{each / 1e3:>9,.1f}{ring:>11,.0f}{PCIE / each:>11,.0f}'
      f'{kept / 1e9:>8.1f}'
    )
  return line + f'{4 * neurons / 1e3:>11,.0f}'


def compiled_line(row: str, **fields) -> str:
  """Compiles a step at two batch sizes; returns its memory and arithmetic."""
  shape = (SIDE, SIDE, 3)
  made = worker.job(row, shape, CLASSES, **fields)
  held = []
  for rows in COMPILED:
    with ops.use_lowering('native'):
      step = worker.lower(made, rows, shape)[0].compile()
    memory = step.memory_analysis()
    held.append(memory.argument_size_in_bytes + memory.temp_size_in_bytes)
  few, many = COMPILED
  each = (held[1] - held[0]) / (many - few)
  fixed = held[0] - few * each
  line = f'{row:24}{fixed / 1e9:>8.1f}{each / 1e6:>8,.0f}'
  line += f'{int((MEMORY - fixed) // each):>6}'
  if made.estimate:
    of = [made.estimate(rows) for rows in COMPILED]
    line += f'{(of[1] - of[0]) / (many - few) / 1e6:>10,.0f}'
  return line


def main() -> None:
  """Prints the tables."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--share', type=float, default=0.4, help='of the peak')
  parser.add_argument('--compile', action='store_true')
  options = parser.parse_args()
  net = arithmetic.target_net(NAME, SIDE, CLASSES)
  print(
    f'{NAME}, {SIDE} x {SIDE}, {CLASSES} classes: {net.parameters:,} '
    f'parameters, {net.flops / 1e9:.1f} GFLOP an image.\n'
    f'At {options.share:.0%} of the peak, {forecast.BATCH} images a chip: '
    'images/s, steps and hours of an epoch, share of\nthe time that is '
    f'arithmetic:{epoch(net, forecast.BATCH, options.share)}\n\n'
    f'{"GEN-CNP, embedding":24}{"h x w":>9}{"k_0":>5}{"M params":>9}'
    f'{"GB held":>8}{"MB/img":>8}{"fits":>6}{"GFLOP":>9}{"syncs":>7}'
    f'{"img/s":>9}{"steps":>8}{"hours":>8}{"arith.":>8}'
  )
  for title in CHOICES:
    print(choice_line(title, options.share))
  print(
    f'\n{"evaluation":20}{"neurons":>11}'
    f'{"KB/image":>9}{"ring img/s":>11}{"PCIe img/s":>11}{"GB kept":>8}'
    f'{"curve: KB":>9}{"ring img/s":>11}{"PCIe img/s":>11}{"GB kept":>8}'
    f'{"KB scores":>11}'
  )
  print(evaluation_line('alexnet', 32, 10, 10_000))
  print(evaluation_line('vgg11', 32, 10, 10_000))
  print(evaluation_line(NAME, SIDE, CLASSES, TESTED))
  if options.compile:
    print(
      f'\n{"XLA, batches of 2 and 4":24}{"GB held":>8}{"MB/img":>8}{"fits":>6}'
      f'{"estimate":>10}'
    )
    print(compiled_line(NAME))
    for row in f'{NAME}_gencnp', f'{NAME}_gencnp_loops':
      print(compiled_line(row, embedding=(7, 7)), flush=True)


if __name__ == '__main__':
  main()

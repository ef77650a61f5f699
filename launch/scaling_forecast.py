"""What a training step should take on accelerators that are not here.

  python launch/scaling_forecast.py
  python launch/scaling_forecast.py --share=.1

Nothing here is measured. A step is its arithmetic at a share of the peak, the
optimiser's pass over memory, the all-reduce of the gradients in a ring, and a
latency for each BatchNorm synchronisation; nothing overlaps.
"""

import argparse
import dataclasses
import math

import scaling_arithmetic as arithmetic

from gencnp_jax import GenCNP

BATCH = 128


@dataclasses.dataclass(frozen=True)
class System:
  """Devices and what connects them.

  Attributes:
    devices: of all nodes together.
    nodes: that share a network; a slice of a TPU counts as one.
    peak: bfloat16 operations a second of a device.
    memory: bytes a second of a device's memory.
    link: bytes a second that a device sends in a ring inside a node.
    network: likewise of a node between nodes.
    latency: seconds of an all-reduce of a few bytes (assumed).
  """

  devices: int
  nodes: int
  peak: float
  memory: float
  link: float
  network: float
  latency: float


# Where the numbers are from: docs/scaling.md.
SYSTEMS = {
  'TPU v4-32': System(16, 1, 275e12, 1.2e12, 2 * 45e9, math.inf, 10e-6),
  '8 A100, NVLink': System(8, 1, 312e12, 2.0e12, 300e9, math.inf, 20e-6),
  '2 x 4 A100, 100 Gb/s': System(8, 2, 312e12, 2.0e12, 300e9, 12.5e9, 50e-6),
}


def all_reduce(system: System, payload: float) -> float:
  """Returns the seconds of an all-reduce: in each node, then between nodes."""
  inside, between = system.devices // system.nodes, system.nodes
  return (
    2 * (inside - 1) / inside * payload / system.link
    + 2 * (between - 1) / between * payload / system.network
    + system.latency
  )


@dataclasses.dataclass(frozen=True)
class Step:
  """Seconds of a step, by what they are spent on."""

  compute: float
  update: float
  gradients: float
  syncs: float

  @property
  def total(self) -> float:
    """All of it, one behind the other."""
    return self.compute + self.update + self.gradients + self.syncs


def step(
  net: arithmetic.Net, system: System, rows: float, share: float
) -> Step:
  """Returns the seconds of a step with so many images on each device.

  Args:
    net: what is trained.
    system: where.
    rows: images on each device.
    share: of the peak that the arithmetic reaches.
  """
  # Gradients read; parameters and moments read and written.
  touched = 4 * net.parameters * (1 + 2 * (1 + net.moments))
  return Step(
    rows * net.flops / (share * system.peak),
    touched / system.memory,
    all_reduce(system, 4 * net.parameters),
    net.most * system.latency,
  )


def efficiency(net, system, rows: float, share: float) -> float:
  """Returns the share of a perfect scaling of one device with 128 images."""
  one = step(net, system, BATCH, share)
  alone = BATCH / (one.compute + one.update)
  return rows / step(net, system, rows, share).total / alone


def hidden_from(net, system, share: float) -> float:
  """Images on each device from which the backward pass outlasts the gradients'.

  Two thirds of the arithmetic are backward.
  """
  backward = 2 / 3 * net.flops / (share * system.peak)
  return all_reduce(system, 4 * net.parameters) / backward


def even_at(net, system, share: float) -> float:
  """Images on each device at which all exchanges take as long as the rest."""
  one = step(net, system, 0, share)
  exchanged = max(0.0, one.gradients + one.syncs - one.update)
  return exchanged * share * system.peak / net.flops


def nets() -> dict[str, arithmetic.Net]:
  """Returns the nets of the main job, at 32 x 32."""
  found = {}
  for name in arithmetic.TARGETS:
    found[name] = arithmetic.target_net(name)
    found[f'{name}_gencnp'] = arithmetic.gencnp_net(GenCNP(), name)
  return found


def main() -> None:
  """Prints the tables."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('--share', type=float, default=0.4, help='of the peak')
  share = parser.parse_args().share
  print(
    f'{"net":16}{"parameters":>12}{"MFLOP/image":>13}{"syncs a step":>14}\n'
    + '\n'.join(
      f'{name:16}{net.parameters:>12,}{net.flops / 1e6:>13,.0f}'
      f'{f"{net.fewest} to {net.most}":>14}'
      for name, net in nets().items()
    )
  )
  print(
    f'\nMilliseconds of a step at {share:.0%} of the peak, nothing '
    f'overlapping; efficiency: against one\ndevice with {BATCH} images. '
    'Hidden: images a device from which the gradients fit behind\nthe backward '
    'pass. Even: where exchanges take as long as the rest.'
  )
  for title, system in SYSTEMS.items():
    print(
      f'\n{title:22}{"rows":>5}{"compute":>9}{"update":>8}{"gradients":>11}'
      f'{"syncs":>7}{"total":>8}{"img/s":>10}{"effic.":>8}{"hidden":>8}'
      f'{"even":>7}'
    )
    for name, net in nets().items():
      for rows in BATCH // system.devices, BATCH:
        spent = step(net, system, rows, share)
        milliseconds = ''.join(
          f'{1e3 * seconds:>{width}.3f}'
          for seconds, width in (
            (spent.compute, 9),
            (spent.update, 8),
            (spent.gradients, 11),
            (spent.syncs, 7),
            (spent.total, 8),
          )
        )
        print(
          f'{name:22}{rows:>5}{milliseconds}'
          f'{rows * system.devices / spent.total:>10,.0f}'
          f'{efficiency(net, system, rows, share):>8.0%}'
          f'{hidden_from(net, system, share):>8.0f}'
          f'{even_at(net, system, share):>7.0f}'
        )


if __name__ == '__main__':
  main()

"""The benchmark of the methods: what it counts, and that it runs."""

import importlib.util
import json
import pathlib
import sys

import pytest

from gencnp_jax import settings

PATH = pathlib.Path(__file__).parent.parent / 'launch/benchmark_explainers.py'
# AlexNet's multiply-adds: convolutions 1 to 5, then the linear layer.
CONVOLUTIONS = (
  8 * 8 * 64 * 11 * 11 * 3,
  4 * 4 * 192 * 5 * 5 * 64,
  2 * 2 * 384 * 3 * 3 * 192,
  2 * 2 * 256 * 3 * 3 * 384,
  2 * 2 * 256 * 3 * 3 * 256,
)
LAYERS = (*CONVOLUTIONS, 256 * 10)


@pytest.fixture(scope='module')
def benchmark():
  spec = importlib.util.spec_from_file_location(PATH.stem, PATH)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def test_floors_are_the_layers_counted_by_hand(benchmark):
  target = benchmark.make_target('alexnet')
  made = benchmark.make_explainers(target, settings.METHODS)
  found = benchmark.floors(target, made)
  forward, behind = 2 * sum(LAYERS), 2 * sum(LAYERS[1:])
  suffixes = 2 * sum(sum(LAYERS[i + 1 :]) for i in range(5))
  own = found.pop('gencnp')
  assert found == {
    'random': forward,
    'original_activation': forward,
    'neuron_mct': forward + behind,
    'neuron_int_grad': forward + 11 * 2 * suffixes,
    'greedy': forward + 99 * 2 * behind,
    'dgr': forward + 1000 * 2 * behind,
    'dgr_r': forward + 1000 * 2 * behind,
  }
  # Blocks of (8, 64), (4, 192) and three maps of 2, there and back, and the PDN.
  shrinking = 2 * (6**2 + 4**2 + 2**2) * 9 * 64**2 + 2 * 4 * 9 * 192**2
  padded = 2 * 4 * 9 * (384**2 + 2 * 256**2)
  pdn = 2 * 2 * 4608 * 1024
  growing = 2 * (4**2 + 6**2 + 8**2) * 9 * 64**2 + 2 * 16 * 9 * 192**2
  assert own >= forward + shrinking + 2 * padded + pdn
  assert own <= forward + shrinking + growing + 2 * padded + pdn


def test_it_runs(benchmark, tmp_path, capsys, monkeypatch):
  monkeypatch.setattr(benchmark, 'PRODUCT', 64)
  monkeypatch.setattr(benchmark.ops, 'keep_freed_memory', lambda: True)
  monkeypatch.setattr(benchmark.compilation, 'use_cache', lambda: None)
  options = ['--methods=random,original_activation', '--batches=1,2']
  path = tmp_path / 'found.json'
  monkeypatch.setattr(
    sys, 'argv', ['x', *options, '--rounds=1', f'--json={path}']
  )
  benchmark.main()
  shown = capsys.readouterr().out
  content = json.loads(path.read_text())
  assert content['target'] == 'alexnet'
  for row in content['methods']:
    assert row['method'] in shown
    assert [r['batch'] for r in row['batches']] == [1, 2]
    assert all(r['images_per_second'] > 0 for r in row['batches'])

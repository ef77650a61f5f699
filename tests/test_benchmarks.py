"""The benchmark: what it counts, and that each of its parts runs."""

import json
import sys

import jax
import pytest

import gencnp_jax
from gencnp_jax import settings
from tests import launched

# AlexNet's multiply-adds: convolutions 1 to 5, then the linear layer.
CONVOLUTIONS = (
  8 * 8 * 64 * 11 * 11 * 3,
  4 * 4 * 192 * 5 * 5 * 64,
  2 * 2 * 384 * 3 * 3 * 192,
  2 * 2 * 256 * 3 * 3 * 384,
  2 * 2 * 256 * 3 * 3 * 256,
)
LAYERS = (*CONVOLUTIONS, 256 * 10)
FORWARD, BEHIND = 2 * sum(LAYERS), 2 * sum(LAYERS[1:])
# Blocks of (8, 64), (4, 192) and three maps of 2.
FIRST = 2 * 6**2 * 9 * 64**2 + 2 * 4 * 9 * (192**2 + 384**2 + 2 * 256**2)
EMBEDDERS = FIRST + 2 * (4**2 + 2**2) * 9 * 64**2
PDN = 2 * 2 * 4608 * 1024


@pytest.fixture(scope='module')
def target():
  return launched.module('benchmarks.synthetic').target('alexnet')


def test_operations_are_the_layers_counted_by_hand(target):
  made = launched.module('benchmarks.methods_jax').make(
    target, settings.METHODS
  )
  found = launched.module('benchmarks.operations').methods(target, made)
  suffixes = 2 * sum(sum(LAYERS[i + 1 :]) for i in range(5))
  assert found == {
    'gencnp': FORWARD + 2 * EMBEDDERS + PDN,
    'random': FORWARD,
    'original_activation': FORWARD,
    'neuron_mct': FORWARD + BEHIND,
    'neuron_int_grad': FORWARD + 11 * 2 * suffixes,
    'greedy': FORWARD + 99 * 2 * BEHIND,
    'dgr': FORWARD + 1000 * 2 * BEHIND,
    'dgr_r': FORWARD + 1000 * 2 * BEHIND,
  }


def test_a_step_is_counted_by_hand(target):
  operations = launched.module('benchmarks.operations')
  assert operations.training_step(target) == 2 * FORWARD + BEHIND
  model = gencnp_jax.GenCNP()
  # No gradient goes to the recorded activations.
  assert operations.training_step(target, model) == (
    2 * FORWARD + BEHIND + 3 * (2 * EMBEDDERS + PDN) - FIRST
  )
  # 1 parameter moves 7 times under SGD, and 1 neuron of 5 images twice.
  params = {'w': jax.ShapeDtypeStruct((1,), 'float32')}
  assert operations.training_bytes(params, 1, 5, 'sgd') == 4 * (7 + 2 * 5)


def test_a_loop_multiplies_what_is_in_it():
  def ten(a):
    return jax.lax.scan(lambda x, _: (x @ x, None), a, None, length=10)[0]

  found = launched.module('benchmarks.operations').products(
    ten, jax.numpy.ones((3, 3))
  )
  assert sum(found) == 10 * 2 * 27


@pytest.mark.parametrize(
  'row, batch, count',
  [
    ('step/alexnet', 8, 0),
    ('alexnet/neuron_mct', 2, 0),
    ('class_iou/alexnet', 1, 30),
    ('data/device', 8, 32),
    ('data/host', 8, 32),
    ('growth/batch/random', 1, 4),
    ('growth/passes', 2, 2),
    ('growth/neurons', 2, 100),
    ('growth/devices', 8, 4),
  ],
)
def test_each_row_does_its_work(row, batch, count):
  options = ['--threads=2', f'--row={row}', f'--batch={batch}']
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(sys, 'argv', ['x', *options, f'--count={count}'])
    patch.setattr('os.sched_setaffinity', lambda *_: None)
    chosen = launched.module('benchmarks.worker').parse()
  work = launched.module('benchmarks.jax_side').work(chosen)
  work.run()
  work.run()
  assert work.units > 0
  json.dumps(work.about)


def test_one_command_prints_a_table_and_writes_all(
  tmp_path, capsys, monkeypatch
):
  benchmark = launched.module('benchmark')
  path = tmp_path / 'found.json'
  options = ['--groups=methods', '--rows=random', '--rounds=2']
  more = ['--seconds=0.01', f'--json={path}', '--torch_python=/no/such/python']
  monkeypatch.setitem(benchmark.METHODS, 'random', 4)
  monkeypatch.setattr(sys, 'argv', ['x', *options, *more])
  benchmark.main()
  shown = capsys.readouterr().out
  assert 'alexnet/random' in shown and 'No PyTorch here' in shown
  content = json.loads(path.read_text())
  (row,) = content['methods']
  assert row['jax']['rate'] > 0 and len(row['jax']['rounds']) == 2
  # The floor of its arithmetic, at the rate of the product beside it.
  floor = row['jax']['operations'] / row['product']['rate'] * 1e3
  assert row['floor_arithmetic_ms'] == pytest.approx(floor)
  assert row['share'] == pytest.approx(floor / row['jax']['wall_ms'])


def test_unknown_rows_and_groups_are_named(monkeypatch, capsys):
  benchmark = launched.module('benchmark')
  for given in ('--groups=stepps', '--groups=steps --rows=alexnett'):
    monkeypatch.setattr(sys, 'argv', ['x', *given.split()])
    with pytest.raises(SystemExit):
      benchmark.main()
    assert given.split('=')[-1] in capsys.readouterr().err


def test_without_a_trick_the_numbers_are_the_same(target, monkeypatch):
  """Or what it is measured against would be no rival."""
  images = launched.module('benchmarks.synthetic').images(4)
  explainer = launched.module('benchmarks.methods_jax').make(
    target, ['neuron_mct']
  )
  index, classes = jax.numpy.arange(4), jax.numpy.full(4, -1)

  def found(trick=''):
    with launched.module('benchmarks.without').without(trick):
      call = jax.jit(lambda e: e.pathways(index, images, classes))
      return call(explainer['neuron_mct'])

  before = found()
  for trick in ('pooling', 'two_axes', 'bisection'):
    after = found(trick)
    scale = max(float(abs(x).max()) for x in before.importance)
    for a, b in zip(before.importance, after.importance):
      assert abs(a - b).max() < 1e-5 * scale
    kept = [sum(int(m.sum()) for m in x.masks) for x in (before, after)]
    assert kept[0] == kept[1]


def test_what_was_tried_computes_the_same(monkeypatch):
  tried = launched.module('tried')
  monkeypatch.setattr(tried, 'milliseconds', lambda fn, *args: fn(*args))
  monkeypatch.setattr(tried, 'BATCH', 16)
  found = tried.products(6, 5)
  for name in ('transposed copy', 'batched', 'loop over rows'):
    assert jax.numpy.allclose(found[name], found['weights, kept'], atol=1e-4)
  found = tried.convolutions(6, 5)
  assert jax.numpy.allclose(
    found['in pieces'], found['forward, kept'], atol=1e-4
  )
  for name in ('of pieces', 'two-sided patches'):
    assert jax.numpy.allclose(found[name], found['weights, kept'], atol=1e-3)

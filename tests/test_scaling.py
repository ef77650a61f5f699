"""What a step costs: collectives as compiled, beside formula and definition."""

import json
import math
import sys

import jax
import jax.numpy as jnp
import pytest

from gencnp_jax import GenCNP, settings, training
from gencnp_jax.runtime import devices
from tests import launched
from tests.training import tiny

HLO = """\
HloModule jit_f, is_scheduled=true

%region_0.1 (a: f32[], b: f32[]) -> f32[] {
  %a = f32[] parameter(0)
  %b = f32[] parameter(1)
  ROOT %add = f32[] add(%a, %b)
}

%body.2 (state: (s32[], bf16[64])) -> (s32[], bf16[64]) {
  %state = (s32[], bf16[64]{0}) parameter(0)
  %psum.1 = bf16[64]{0} all-reduce(%x), replica_groups={{0,1}}, \
to_apply=%region_0.1, metadata={op_name="jit(f)/jvp(Net)/while/body/norm/psum"}
  ROOT %next = (s32[], bf16[64]{0}) tuple(%i, %psum.1)
}

%again.3 (state: (s32[], bf16[64])) -> (s32[], bf16[64]) {
  %state.1 = (s32[], bf16[64]{0}) parameter(0)
  ROOT %while.1 = (s32[], bf16[64]{0}) while(%state.1), condition=%less, \
body=%body.2, backend_config={"known_trip_count":{"n":"5"}}
}

ENTRY %main (p: f32[3,2]) -> f32[3,2] {
  %p = f32[3,2]{1,0} parameter(0)
  %while.2 = (s32[], bf16[64]{0}) while(%t), condition=%less, body=%again.3, \
backend_config={"known_trip_count":{"n":"2"}}
  %all-reduce.7 = (f32[3,2]{1,0}, /*index=1*/f32[4]{0}, f32[]) all-reduce(%p, \
%q, %r), to_apply=%region_0.1, metadata={op_name="jit(f)/\
(psum:transpose(jvp(Net))/norm/psum:psum)" stack_frame_id=9}
  %ppermute.1 = u8[1,8,8,3]{3,2,1,0} collective-permute(%s), \
source_target_pairs={{0,1},{1,0}}, metadata={op_name="jit(f)/jvp()/ppermute"}
  %share = f32[] all-reduce(%d), to_apply=%region_0.1, \
metadata={op_name="jit(f)/jvp()/psum"}
  ROOT %gather = pred[8]{0} all-gather(%g), dimensions={0}
}
"""


collectives = launched.module('scaling_collectives')
worker = launched.module('scaling_worker')
arithmetic = launched.module('scaling_arithmetic')
evaluation = launched.module('scaling_evaluation')
forecast = launched.module('scaling_forecast')
scaling = launched.module('scaling')


def _job(task, kind, frozen=None):
  return worker.Job(task, frozen, settings.defaults()[kind])


def test_the_parser_reads_what_each_collective_carries():
  found = collectives.pieces(HLO)
  assert [(p.kind, p.group, p.dtype, p.shape, p.times) for p in found] == [
    ('all-reduce', 'norm_forward', 'bf16', (64,), 10),
    ('all-reduce', 'gradients', 'f32', (3, 2), 1),
    ('all-reduce', 'norm_backward', 'f32', (4,), 1),
    ('all-reduce', 'sums', 'f32', (), 1),
    ('collective-permute', 'swap', 'u8', (1, 8, 8, 3), 1),
    ('all-reduce', 'swap', 'f32', (), 1),
    ('all-gather', 'results', 'pred', (8,), 1),
  ]
  assert collectives.by_group(found) == {
    'norm_forward': 10 * 64 * 2,
    'gradients': 24,
    'norm_backward': 16,
    'sums': 4,
    'swap': 192 + 4,
    'results': 8,
  }
  # Ten rounds of a loop in a loop; three arrays in one; three more.
  assert collectives.launches(found) == 10 + 1 + 3


def test_the_parser_refuses_what_it_cannot_count():
  endless = HLO.replace('"known_trip_count":{"n":"5"}', '')
  with pytest.raises(ValueError, match=r'psum\.1 is in a loop of unknown'):
    collectives.pieces(endless)
  nameless = HLO.replace('/norm/psum:psum)', '/norm/psum)')
  with pytest.raises(ValueError, match=r'all-reduce\.7 has 3 arrays and 2 nam'):
    collectives.pieces(nameless)


def test_the_parser_reads_a_compiled_function():
  """Four devices: a loop of three sums, then a gather and a shift."""

  def run(x):
    def body(x, _):
      return jax.lax.pmean(jnp.sin(x), devices.AXIS), None

    x, _ = jax.lax.scan(body, x, None, length=3)
    return jax.lax.all_gather(x, devices.AXIS), devices.next_row(x)

  x = jax.ShapeDtypeStruct((4, 2, 5), jnp.float32)
  compiled = devices.data_parallel(run, (0,)).lower(x).compile()
  found = collectives.pieces(compiled.as_text())
  assert {(p.kind, p.payload, p.times) for p in found} == {
    ('all-reduce', 3 * 2 * 5 * 4, 3),
    ('all-gather', 4 * 2 * 5 * 4, 1),
    ('collective-permute', 1 * 5 * 4, 1),
  }


@pytest.mark.parametrize('number', [1, 2, 4, 8])
def test_a_ring_sends_what_its_definition_says(number):
  """Pieces of 1 / n go round: once to be added, once to be handed out."""
  payload, sent = 840, {'all-reduce': 0, 'all-gather': 0}
  for _ in range(number - 1):
    sent['all-gather'] += payload / number
    sent['all-reduce'] += 2 * payload / number
  for kind, expected in sent.items():
    assert collectives.wire(kind, payload, number) == pytest.approx(expected)
  once = payload if number > 1 else 0
  assert collectives.wire('collective-permute', payload, number) == once


@pytest.fixture
def quick():
  """Optimised, it takes twice as long to compile, and exchanges the same."""
  jax.config.update('jax_disable_most_optimizations', True)
  yield
  jax.config.update('jax_disable_most_optimizations', False)


@pytest.mark.parametrize('kind', ['target', 'gencnp'])
def test_a_training_step_exchanges_what_the_formula_says(kind, quick):
  if kind == 'target':
    job = _job(tiny.classification(), kind)
  else:  # One loop a block.
    model = GenCNP(hidden=8, canvases=1, axis_name=devices.AXIS)
    task = training.Distillation(model, gamma=0.5)
    job = _job(task, kind, (tiny.target(), None))
  lowered, (state, *_) = worker.lower(job, per_device=2, image_shape=(8, 8, 3))
  carried = collectives.pieces(lowered.compile().as_text())
  assert any(p.times > 1 for p in carried) == (kind == 'gencnp')
  found = collectives.by_group(carried)
  assert found['gradients'] == 4 * worker.count(state.params)
  assert found == collectives.predicted(
    worker.count(state.params),
    worker.count(state.batch_stats),
    len(lowered.out_info[1]),
    8 * 8 * 3 if kind == 'gencnp' else 0,
  )
  rows = worker.table(carried)
  assert sum(row['count'] for row in rows) == sum(p.times for p in carried)


def test_evaluation_gathers_what_the_formula_says():
  """By hand: 3 logits; two maps of 8 x 8 x 4 and 4 x 4 x 6; seven times."""
  found = evaluation.gathered(tiny.target(), (8, 8, 3), rows=2)
  each = 4 * 3 + 7 * (4 * 4 * 3 + 2 * 4 + (8 * 8 * 4 + 4 * 4 * 6) // 8 + 4)
  assert found['carried'] == found['expected'] == {'results': 4 * 2 * each}


def test_the_arithmetic_is_the_layers_counted_by_hand():
  """AlexNet's GEN-CNP: blocks of (8, 64), (4, 192), three of 2, and the PDN."""
  net = arithmetic.gencnp_net(GenCNP(), 'alexnet')
  blocks = (6**2 + 4**2 + 2**2) * 9 * 64**2 + 4 * 9 * 192**2
  blocks += 4 * 9 * (384**2 + 2 * 256**2)
  forward = 2 * (2 * blocks + 2 * 4608 * 1024)
  target = arithmetic.target_net('alexnet')
  assert net.flops == 3 * forward + target.flops
  # Three, one and three times one pass, there and back, and both backward.
  assert (net.fewest, net.most) == (4 * 3, 4 * (3 + 1 + 3))
  assert (target.parameters, target.most) == (2_472_266, 0)


def test_a_forecast_is_its_parts():
  net = arithmetic.Net(1_000_000, 3e9, fewest=2, most=4, moments=2)
  system = forecast.System(8, 2, 1e12, 1e9, 1e8, 1e7, latency=1e-3)
  spent = forecast.step(net, system, rows=16, share=0.5)
  assert spent.compute == pytest.approx(16 * 3e9 / 0.5e12)
  assert spent.update == pytest.approx(7 * 4e6 / 1e9)
  # Four in a ring, then two nodes: 1.5 and once the gradients.
  ring = 1.5 * 4e6 / 1e8 + 4e6 / 1e7 + 1e-3
  assert spent.gradients == pytest.approx(ring)
  assert spent.syncs == pytest.approx(4e-3)
  alone = 128 / (128 * 3e9 / 0.5e12 + 28e-3)
  assert forecast.efficiency(net, system, 16, 0.5) == pytest.approx(
    16 / spent.total / alone
  )
  rows = forecast.hidden_from(net, system, 0.5)
  assert 2 / 3 * rows * 3e9 / 0.5e12 == pytest.approx(ring)
  rows = forecast.even_at(net, system, 0.5)
  even = forecast.step(net, system, rows, 0.5)
  assert even.compute + even.update == pytest.approx(even.gradients + 4e-3)


def _answers(number, models, steps):
  """What a worker says, with a loss that depends on the device count."""
  assert (models, steps) == (['alexnet'], 3)
  common = {'devices': number, 'batch': 16}
  yield {
    'row': 'alexnet',
    **common,
    'flops': 1e9,
    'argument_bytes': 1e6,
    'temporary_bytes': 1e6,
    'estimated_bytes': None if number == 1 else 3e6,
    'launches': 2,
    'compile_seconds': 1.0,
    'carried': {'gradients': 400, 'sums': 12},
    'expected': {'gradients': 400, 'sums': 12 if number < 4 else 16},
  }
  losses = [2.0, 1.0 + number / 1e4]
  for run in 'alexnet', 'alexnet_gencnp_swap', 'alexnet_gencnp_swap_soft':
    yield {'run': run, **common, 'losses': losses}


def test_the_command_says_where_they_differ(monkeypatch, tmp_path, capsys):
  path = tmp_path / 'found.json'
  options = ['--models=alexnet', '--devices=1,2,4', f'--json={path}']
  monkeypatch.setattr(sys, 'argv', ['x', *options])
  monkeypatch.setattr(scaling, 'results', _answers)
  with pytest.raises(SystemExit) as end:
    scaling.main()
  assert end.value.code == 1
  said = capsys.readouterr().out
  # Hard masks may differ behind the first step.
  assert '1 of 3 are not' in said and '4 of 9 runs' in said
  assert f'1: 0, 2: {400}, 4: {600}' in said
  assert len(json.loads(path.read_text())['found']) == 3 * 4
  last = [line for line in said.splitlines() if 'sums' in line][-1]
  assert last.split()[-5:] == ['12', '16', '-4', '4:', '18']


def test_values_are_the_same_for_every_device_count():
  shapes = {
    'kernel': jax.ShapeDtypeStruct((3, 3, 8, 16), jnp.float32),
    'scale': jax.ShapeDtypeStruct((16,), jnp.float32),
    'bias': jax.ShapeDtypeStruct((16,), jnp.float32),
  }
  made = worker.values(shapes)
  assert float(made['kernel'].std()) == pytest.approx(
    math.sqrt(2 / (9 * 8)), rel=0.1
  )
  assert made['scale'].min() == 1 and not made['bias'].any()


def test_a_balanced_target_tells_images_apart():
  images = tiny.splits().train.images
  target, off = worker.balanced((tiny.target(), None), images)
  logits = target(jnp.asarray(images))
  assert jnp.abs(logits.mean(0)).max() < 1e-5 and off is None
  assert len(set(logits.argmax(1).tolist())) == 3

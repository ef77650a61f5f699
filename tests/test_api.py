"""The names and signatures that notebooks and scripts are written against."""

import inspect
import subprocess
import sys

import pytest

import gencnp_jax
from gencnp_jax import explainers, metrics


def _parameters(fn):
  return {
    name: p.default
    for name, p in inspect.signature(fn).parameters.items()
    if name != 'self'
  }


NONE = inspect.Parameter.empty
SIGNATURES = [
  (
    gencnp_jax.daq,
    {
      'x': NONE,
      'lower': -1.5,
      'upper': 1.5,
      'bits': 1,
      'sigma': 2.0,
      'temperature': 2.0,
    },
  ),
  (
    gencnp_jax.Target,
    {'apply_fn': NONE, 'variables': NONE, 'preprocess': None, 'layout': 'auto'},
  ),
  (explainers.Random, {'target': NONE, 'sparsity': NONE, 'seed': 0}),
  (explainers.OriginalActivation, {'target': NONE, 'sparsity': NONE}),
  (explainers.NeuronMCT, {'target': NONE, 'sparsity': NONE, 'seed': 0}),
  (
    explainers.NeuronIntGrad,
    {'target': NONE, 'sparsity': NONE, 'seed': 0, 'off': None, 'steps': 11},
  ),
  (
    explainers.Greedy,
    {
      'target': NONE,
      'sparsity': NONE,
      'seed': 0,
      'off': None,
      'stop_when_flipped': False,
      'quirk': False,
    },
  ),
  (
    explainers.DGR,
    {
      'target': NONE,
      'sparsity': NONE,
      'init': 'ones',
      'num_steps': 1000,
      'seed': 0,
      'off': None,
    },
  ),
  (
    gencnp_jax.evaluate,
    {'explainers': NONE, 'images': NONE, 'labels': None, 'sparsities': ()},
  ),
  (
    gencnp_jax.explain_dataset,
    {'explainer': NONE, 'dataset': NONE, 'out_dir': NONE, 'batch_size': None},
  ),
  (
    explainers.NeuronMCT.__call__,
    {'images': NONE, 'classes': None, 'batch_size': None},
  ),
  (
    metrics.faithfulness,
    {
      'target': NONE,
      'images': NONE,
      'masks': NONE,
      'labels': NONE,
      'off': None,
    },
  ),
  (metrics.class_iou, {'masks': NONE, 'labels': NONE, 'kind': 'pairwise'}),
  (
    metrics.leakage,
    {
      'target': NONE,
      'images': NONE,
      'masks': NONE,
      'off': None,
      'blank': None,
      'seed': 0,
    },
  ),
  (
    metrics.roap,
    {
      'target': NONE,
      'images': NONE,
      'masks': NONE,
      'labels': NONE,
      'off': None,
    },
  ),
  (
    gencnp_jax.class_pathways,
    {'masks': NONE, 'labels': NONE, 'threshold': NONE},
  ),
  (gencnp_jax.load_explainer, {'workdir': NONE}),
  (gencnp_jax.Explanation.save, {'path': NONE}),
  (gencnp_jax.Explanation.load, {'path': NONE}),
]


@pytest.mark.parametrize(
  'fn, expected', SIGNATURES, ids=lambda x: getattr(x, '__qualname__', '')
)
def test_signatures_begin_as_documented(fn, expected):
  found = _parameters(fn)
  assert dict(list(found.items())[: len(expected)]) == expected
  # What is past the documented must not be needed.
  rest = list(inspect.signature(fn).parameters.values())
  rest = [p for p in rest if p.name != 'self'][len(expected) :]
  assert all(p.default is not NONE for p in rest)


@pytest.mark.parametrize('net', ['AlexNet', 'VGG11'])
def test_zoo_modules(net):
  module = getattr(gencnp_jax.zoo, net)(num_classes=10)
  assert module.num_classes == 10
  assert _parameters(type(module).__call__) == {'images': NONE, 'train': False}


def test_fields_of_results():
  fields = lambda cls: set(cls.__dataclass_fields__)  # noqa: E731
  assert fields(metrics.Faithfulness) >= {
    'accuracy',
    'agreement',
    'increase_rate',
    'mean_increase',
    'mean_decrease',
    'mean_increase_of_risers',
    'mean_decrease_of_fallers',
    'firing_sparsity',
  }
  assert fields(metrics.ClassIoU) >= {
    'within',
    'between',
    'uniform_floor',
    'profile_floor',
  }
  assert fields(metrics.Leakage) >= {
    'swap',
    'own',
    'blank',
    'disconnected',
    'influence',
    'empty_layer',
  }
  assert fields(gencnp_jax.Explanation) >= {
    'masks',
    'logits',
    'pathway_logits',
    'importance',
  }
  assert isinstance(gencnp_jax.Explanation.firing_sparsity, property)


def test_every_public_name_has_a_summary():
  for room in (gencnp_jax, explainers, metrics, gencnp_jax.zoo):
    for name in dir(room):
      thing = getattr(room, name)
      if name.startswith('_') or not callable(thing):
        continue
      summary = (inspect.getdoc(thing) or '').splitlines()
      assert summary and summary[0].endswith('.'), f'{room.__name__}.{name}'


def test_importing_is_light():
  """Neither TensorFlow nor the readers of data sets; no device is touched."""
  heavy = (
    'tensorflow',
    'tensorflow_datasets',
    'sklearn',
    'torch',
    'tensorboardX',
    'array_record',
  )
  code = (
    'import time, sys\n'
    'import gencnp_jax\n'
    'from jax._src import xla_bridge\n'
    f'print([m for m in {heavy!r} if m in sys.modules],'
    ' bool(xla_bridge._backends), time.process_time())'
  )
  out = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, check=True
  ).stdout
  loaded, _, rest = out.partition(']')
  started, seconds = rest.split()
  assert loaded == '['
  assert started == 'False'
  # About 2 s of processor time, half of it jax and flax.
  assert float(seconds) < 15

"""Arrays and numbers that callers pass: refused by the argument's name."""

import functools
import math

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies as st

import gencnp_jax
from gencnp_jax import metrics
from gencnp_jax.explainers import Greedy, NeuronMCT, Random
from gencnp_jax.metrics import class_variance
from gencnp_jax.report import plot
from tests import tiny
from tests.fuzz import cases

# matplotlib warns of axes without an extent.
pytestmark = pytest.mark.filterwarnings('ignore')
RNG = np.random.default_rng(0)
IMAGES = tiny.images(4)
LABELS = np.array([0, 1, 0, 2])
MASKS = tuple(RNG.random((4, *shape)) < 0.5 for shape in tiny.SHAPES)
LOGITS = RNG.normal(size=(4, tiny.CLASSES)).astype(np.float32)
NAMES = [str(i) for i in range(tiny.CLASSES)]
X = np.linspace(-2, 2, 8).astype(np.float32)

# What an array may be instead: never of use, whatever it should have been.
OTHERS = {
  'None': lambda a: None,
  'a word': lambda a: 'abc',
  'a mapping': lambda a: {},
  'words': lambda a: np.full(a.shape, 'a'),
  'bytes': lambda a: np.full(a.shape, b'a'),
  'objects': lambda a: np.full(a.shape, None),
  'dates': lambda a: np.zeros(a.shape, 'datetime64[s]'),
  'complex': lambda a: a.astype(complex),
  'ragged': lambda a: [[1], [1, 2]],
  'a number': lambda a: 3,
  'one row less': lambda a: a[:-1],
  'no row': lambda a: a[:0],
  'an axis more': lambda a: a[None],
  'an axis less': lambda a: a[0],
  'nan': lambda a: np.full(a.shape, np.nan, np.float32),
  'infinite': lambda a: np.full(a.shape, np.inf, np.float32),
}


def _explain(**given):
  images = given.pop('images', IMAGES)
  return Random(tiny.target(), 0.9, off=given.pop('off', None))(images, **given)


def _worn(metric, **given):
  return metric(tiny.target(), **{'images': IMAGES, 'masks': MASKS} | given)


_faithfulness = functools.partial(_worn, metrics.faithfulness, labels=LABELS)
_leakage = functools.partial(_worn, metrics.leakage)
_roap = functools.partial(_worn, metrics.roap, labels=LABELS)


def _class_iou(**given):
  return metrics.class_iou(**{'masks': MASKS, 'labels': LABELS} | given)


def _class_pathways(**given):
  defaults = {'masks': MASKS, 'labels': LABELS, 'threshold': 0.5}
  return gencnp_jax.class_pathways(**defaults | given)


def _daq(**given):
  return gencnp_jax.daq(**{'x': jnp.asarray(X)} | given)


def _variance(**given):
  return class_variance(**{'embeddings': LOGITS, 'labels': LABELS} | given)


def _examples(**given):
  defaults = {
    'images': IMAGES,
    'masks': MASKS,
    'logits': LOGITS,
    'pathway_logits': LOGITS,
    'class_names': NAMES,
  }
  return plot.examples(**defaults | given)


def _card(**given):
  defaults = {
    'image': IMAGES[0],
    'masks': [m[0] for m in MASKS],
    'logits': LOGITS[0],
    'pathway_logits': LOGITS[0],
    'class_names': NAMES,
  }
  return plot.explanation(**defaults | given)


# A call, an argument, and what it is.
ARRAYS = (
  (_explain, 'images', IMAGES),
  (_explain, 'classes', LABELS),
  (_faithfulness, 'images', IMAGES),
  (_faithfulness, 'labels', LABELS),
  (_roap, 'images', IMAGES),
  (_roap, 'labels', LABELS),
  (_leakage, 'images', IMAGES),
  (_leakage, 'blank', IMAGES[0]),
  (_class_iou, 'labels', LABELS),
  (_class_pathways, 'labels', LABELS),
  (_variance, 'embeddings', LOGITS),
  (_variance, 'labels', LABELS),
  (_daq, 'x', X),
  (_examples, 'images', IMAGES),
  (_examples, 'logits', LOGITS),
  (_examples, 'pathway_logits', LOGITS),
  (_card, 'image', IMAGES[0]),
  (_card, 'logits', LOGITS[0]),
)
# What is of use all the same.
FINE = {
  # The target's own class, unlabelled images, their mean.
  *((_explain, 'classes', 'None'), (_leakage, 'blank', 'None')),
  *((call, 'labels', 'None') for call in (_faithfulness, _roap)),
  # Fewer images or pixels.
  *((_explain, 'images', 'one row less'), (_card, 'image', 'one row less')),
  # Any shape and any number, and whatever comes of it.
  *(
    (_daq, 'x', name)
    for name in OTHERS
    if name.split()[-1] in ('less', 'row', 'more', 'nan', 'infinite')
  ),
}
CASES = [
  (call, argument, value, name)
  for call, argument, value in ARRAYS
  for name in OTHERS
  if (call, argument, name) not in FINE
]


def _refused(call, names, **given):
  """Asserts that a call is refused by the name of one of its arguments."""
  with pytest.raises(ValueError) as raised:
    call(**given)
  said = str(raised.value)
  assert any(name in said for name in names), said
  assert len(said) < 700


@cases.several(60, len(CASES), case=st.sampled_from(CASES))
def test_what_is_no_such_array_is_refused(case):
  call, argument, value, name = case
  # Of two that do not fit, either may be named.
  also = ['image'] if argument == 'images' else []  # One of them.
  if 'row' in name or 'axis' in name:
    also += ['labels', 'masks', 'logits']
  _refused(call, (argument, *also), **{argument: OTHERS[name](value)})


@pytest.mark.parametrize(
  'call, argument',
  [
    (_explain, 'classes'),
    (_faithfulness, 'labels'),
    (_roap, 'labels'),
    (_class_iou, 'labels'),
    (_class_pathways, 'labels'),
    (_variance, 'labels'),
  ],
)
@pytest.mark.parametrize('wrong', [-5, 2**40, 0.5])
def test_what_is_no_class_is_refused(call, argument, wrong):
  if wrong != 0.5 and call in (_class_iou, _class_pathways, _variance):
    call(**{argument: LABELS + wrong})  # Any integers tell classes apart.
    return
  _refused(call, (argument,), **{argument: LABELS + wrong})


@cases.several(
  30,
  120,
  call=st.sampled_from(
    (_faithfulness, _leakage, _roap, _class_iou, _class_pathways, _examples)
  ),
  name=st.sampled_from(sorted(OTHERS)),
  layer=st.integers(0, 1),
)
def test_what_is_no_mask_is_refused(call, name, layer):
  if name == 'an axis less' and call in (_class_iou, _class_pathways):
    return  # Of as many rows by chance, and of any target.
  masks = list(MASKS)
  masks[layer] = OTHERS[name](masks[layer])
  also = ('labels', 'images') if 'row' in name or 'axis' in name else ()
  _refused(call, ('masks', *also), masks=tuple(masks))


@pytest.mark.parametrize(
  'call',
  [
    *(_faithfulness, _leakage, _roap, _class_iou, _class_pathways, _examples),
    _card,
  ],
)
@pytest.mark.parametrize('masks', [None, 5, 'ab', (), MASKS[0], {0: MASKS[0]}])
def test_what_are_no_masks_of_layers_is_refused(call, masks):
  _refused(call, ('masks',), masks=masks)


@pytest.mark.parametrize('call', [_faithfulness, _leakage, _roap])
@pytest.mark.parametrize('value', [-1, 2, 1e9])
def test_a_mask_is_between_off_and_on(call, value):
  masks = (np.full(MASKS[0].shape, value), MASKS[1])
  _refused(call, ('masks[0]',), masks=masks)


OFF = tuple(np.zeros(shape, np.float32) for shape in tiny.SHAPES)


@pytest.mark.parametrize('call', [_explain, _faithfulness, _leakage, _roap])
@pytest.mark.parametrize(
  'off',
  [
    *((), 5, 'ab', OFF[0], {}, ('a', 'b'), (None, None)),
    (OFF[0], np.full_like(OFF[1], np.nan)),
    (np.full_like(OFF[0], np.inf), OFF[1]),
  ],
)
def test_what_stands_in_for_no_neuron_is_refused(call, off):
  _refused(call, ('off',), off=off)


ODD = (0, -1, 1.5, 'a', None, True, math.nan, math.inf, 2**31, 2**70, [4], {})


@cases.several(
  30,
  120,
  call=st.sampled_from((_explain, _faithfulness, _leakage, _roap)),
  argument=st.sampled_from(('batch_size', 'first_index', 'seed')),
  value=st.sampled_from(ODD),
)
def test_what_is_no_whole_number_is_refused(call, argument, value):
  if argument == 'first_index' and call is not _explain:
    return
  if argument == 'seed' and call is not _leakage:
    return
  if value is None and (call, argument) == (_explain, 'batch_size'):
    return  # What fits.
  if value == 0 and value is not False and argument != 'batch_size':
    return
  if argument == 'batch_size' and value == 2**31:
    value += 1
  _refused(call, (argument,), **{argument: value})


@pytest.mark.parametrize(
  'sparsity', [0, 1, -1, 2, math.nan, math.inf, 'a', None, True, 1e-9, 1 + 1j]
)
def test_what_is_no_sparsity_is_refused(sparsity):
  for make in (Random, NeuronMCT, Greedy):
    with pytest.raises(ValueError, match='sparsity='):
      make(tiny.target(), sparsity)(IMAGES)
  if sparsity is not None:  # Each image its own.
    with pytest.raises(ValueError, match='sparsity='):
      tiny.generative().replace(sparsity=sparsity)(IMAGES)


@pytest.mark.parametrize('seed', ['a', 1.5, None, 2**31, -(2**40), True])
def test_what_is_no_seed_is_refused(seed):
  with pytest.raises(ValueError, match='seed='):
    Random(tiny.target(), 0.9, seed=seed)(IMAGES)


@pytest.mark.parametrize(
  'shape, message',
  [
    ((2, 0, 8, 3), 'images is empty'),
    ((2, 8, 8, 0), 'images is empty'),
    ((0, 8, 8, 3), 'images is empty'),
    ((2, 1, 1, 3), 'images of shape .* are too small: activation 1'),
    ((2, 8, 8, 4), 'images of shape .* 4 channels'),
  ],
)
def test_images_of_another_size_are_refused(shape, message):
  with pytest.raises(ValueError, match=message):
    _explain(images=np.zeros(shape, np.uint8))


def test_numbers_that_float32_does_not_hold_are_not_finite():
  images = np.full((2, 8, 8, 3), 1e300)
  with pytest.raises(ValueError, match=r'images\[0\] holds NaN or infinite'):
    _explain(images=images)


@pytest.mark.parametrize(
  'options',
  [{'threshold': value} for value in (-0.1, 1, 'a', None, math.nan, [0.5], 1j)],
)
def test_what_is_no_threshold_is_refused(options):
  _refused(_class_pathways, ('threshold',), **options)


@pytest.mark.parametrize('kind', ['x', None, 5, ['pairwise'], ''])
def test_an_unknown_kind_of_overlap_is_refused(kind):
  _refused(_class_iou, ('kind',), kind=kind)


@pytest.mark.parametrize(
  'name, value',
  [
    *(('bits', value) for value in (0, 1.5, 'a', 100, True, None)),
    *(
      (name, value)
      for name in ('sigma', 'temperature')
      for value in (0, -1, math.nan, math.inf, 'a', None, 1e-200, 1e200)
    ),
    *(
      (name, value)
      for name in ('lower', 'upper')
      for value in (math.nan, math.inf, -math.inf, 'a', None, [[1]], np.ones(3))
    ),
  ],
)
def test_what_daq_cannot_quantise_by_is_refused(name, value):
  _refused(_daq, (name,), **{name: value})


@pytest.mark.parametrize('call', [_examples, _card])
@pytest.mark.parametrize('names', [None, 5, [], NAMES[:3], [1] * 10, {}])
def test_what_are_no_class_names_is_refused(call, names):
  _refused(call, ('class_names', 'class name'), class_names=names)


# Rows of tables.

VALUES = st.sampled_from(
  (0, 0.5, 0.9, 1, math.nan, None, 'x', True, -5, 1e9, [0.5], 10**400)
)
ROW = st.dictionaries(
  st.sampled_from(
    (
      *('method', 'cut', 'setting', 'agreement', 'swap', 'roap', 'within'),
      *('by', 'sample_sparsity', 'class_sparsity', 'accuracy', 'step', 'split'),
      *('loss', 'within_per_layer', 'profile_floor', 'firing_sparsity'),
    )
  ),
  VALUES | st.sampled_from(('GEN-CNP', 'train', 'true class')),
)
PLOTS = {
  'rows': (
    plot.comparison,
    plot.leakage_curves,
    plot.leakage_tradeoff,
    plot.sparsity_curve,
    plot.transfer,
    functools.partial(plot.roap_curve, target_accuracy=0.9),
    functools.partial(plot.layer_overlap, layer_names=['a', 'b']),
    functools.partial(plot.transfer_grid, key='accuracy', title=''),
  ),
  'records': (plot.training_curves,),
}


@cases.several(
  15,
  400,
  case=st.sampled_from([(name, f) for name in PLOTS for f in PLOTS[name]]),
  rows=st.lists(ROW, max_size=2)
  | st.sampled_from((None, 5, 'ab', [1], [None], {}, [[]], ['a'])),
)
def test_rows_are_drawn_or_refused(case, rows):
  name, draw = case
  try:
    assert draw(rows).axes
  except ValueError as error:
    said = str(error)
    others = ('was not measured', 'by=', 'within_per_layer')
    assert any(words in said for words in (name, *others)), said

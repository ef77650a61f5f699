"""evaluate(): the public metrics, in one pass, for all methods."""

import dataclasses
import math

import jax
import numpy as np
import pytest

import gencnp_jax
from gencnp_jax import explainers as explainers_lib
from gencnp_jax import metrics, pathway, selection
from gencnp_jax.explainers import (
  NeuronMCT,
  OriginalActivation,
  Random,
  activation_means,
)
from tests import tiny
from tests.training.conftest import compile_once  # noqa: F401

IMAGES = tiny.images(30)
LABELS = np.random.default_rng(0).integers(0, tiny.CLASSES, 30)


def _explainers():
  target = tiny.target()
  off = activation_means(target, IMAGES)
  return [
    tiny.generative(),
    NeuronMCT(target, 0.6),
    OriginalActivation(target, 0.6, off=off),
    Random(target, 0.6, seed=2),
  ]


@pytest.fixture(scope='module')
def measured():
  return gencnp_jax.evaluate(_explainers(), IMAGES, LABELS, batch_size=16)


def _flat(tree, prefix=''):
  """Numbers of nested dataclasses, dicts and tuples, by path."""
  if dataclasses.is_dataclass(tree):
    tree = dataclasses.asdict(tree)
  if isinstance(tree, tuple):
    tree = dict(enumerate(tree))
  if not isinstance(tree, dict):
    return {prefix: math.nan if tree is None else tree}
  return {
    path: value
    for key, part in tree.items()
    for path, value in _flat(part, f'{prefix}/{key}').items()
  }


def _check(found, expected, rtol=1e-5, atol=1e-6):
  found, expected = _flat(found), _flat(expected)
  assert found.keys() == expected.keys()
  np.testing.assert_allclose(
    list(found.values()), list(expected.values()), rtol, atol
  )


@pytest.mark.parametrize('i', range(4))
def test_numbers_are_those_of_the_public_metrics(measured, i):
  explainer, found = _explainers()[i], measured[i]
  masks = explainer(IMAGES, batch_size=16, importance=False).masks
  off = explainer.ablation
  _check(
    found.faithfulness,
    metrics.faithfulness(explainer.target, IMAGES, masks, LABELS, off=off),
  )
  _check(
    found.leakage,
    metrics.leakage(explainer.target, IMAGES, masks, off=off),
  )
  _check(found.class_iou, metrics.class_iou(masks, LABELS))
  _check(found.predicted_iou, metrics.class_iou(masks, found.predictions))
  _check(
    found.consensus_iou,
    metrics.class_iou(masks, LABELS, kind='consensus'),
  )
  on = np.stack([m.reshape(30, -1).sum(1) for m in masks], axis=1)
  np.testing.assert_array_equal(found.layer_counts, on)
  np.testing.assert_allclose(
    found.sparsity_of_images, 1 - on.sum(1) / tiny.NEURONS, rtol=1e-6
  )
  assert found.method == explainer.name


def test_the_batch_size_changes_nothing(measured):
  """But what is within rounding: Random's masks have none of that."""
  explainers = [_explainers()[3]]
  for batch_size in (1, 7, None):
    (again,) = gencnp_jax.evaluate(
      explainers, IMAGES, LABELS, batch_size=batch_size
    )
    _check(again.faithfulness, measured[3].faithfulness)
    _check(again.leakage, measured[3].leakage)
    _check(again.class_iou, measured[3].class_iou, rtol=0, atol=0)


@pytest.mark.parametrize('i', range(4))
def test_roap_is_that_of_the_public_metric(measured, i):
  explainer, found = _explainers()[i], measured[i]
  masks = explainer(IMAGES, batch_size=16, importance=False).masks
  expected = metrics.roap(
    explainer.target, IMAGES, masks, LABELS, explainer.ablation
  )
  assert found.roap == pytest.approx(expected)
  np.testing.assert_array_equal(found.masks.bits, pathway.pack(masks))
  logits = np.asarray(explainer.target(IMAGES))
  np.testing.assert_allclose(
    found.confidences, np.asarray(jax.nn.softmax(logits)).max(1), rtol=1e-5
  )


def test_roap_alone_is_measured_where_the_curve_is_not():
  explainer = NeuronMCT(tiny.target(), 0.6)
  found = gencnp_jax.evaluate(
    [explainer],
    IMAGES,
    LABELS,
    sparsities=(0.8,),
    roap_sparsities=(0.3, 0.8, 0.5),
  )
  assert [row['cut'] for row in found.roap] == [0.3, 0.5, 0.8]
  assert [e.cut for e in found.curve] == [0.8]
  for row in found.roap:
    masks = NeuronMCT(tiny.target(), row['cut'])(IMAGES).masks
    expected = metrics.roap(tiny.target(), IMAGES, masks, LABELS)
    assert row['roap'] == pytest.approx(expected)
  unlabelled = gencnp_jax.evaluate(
    [explainer], IMAGES, sparsities=(0.8,), roap_sparsities=(0.3,)
  )
  assert unlabelled.roap == () and unlabelled[0].roap is None


def test_predictions_are_those_of_the_target(measured):
  expected = np.asarray(tiny.target()(IMAGES)).argmax(1)
  for found in measured:
    np.testing.assert_array_equal(found.predictions, expected)
  accuracy = np.mean(expected == LABELS)
  assert measured[0].faithfulness.target_accuracy == pytest.approx(accuracy)
  assert len(set(expected.tolist())) > 2


def test_unlabelled_images_have_no_accuracy():
  explainer = _explainers()[3]
  (found,) = gencnp_jax.evaluate([explainer], IMAGES, batch_size=16)
  assert found.faithfulness.accuracy is None
  assert found.faithfulness.target_accuracy is None
  masks = explainer(IMAGES, batch_size=16).masks
  _check(found.class_iou, metrics.class_iou(masks, found.predictions))
  _check(found.predicted_iou, found.class_iou)


def test_one_image():
  (found,) = gencnp_jax.evaluate([_explainers()[3]], IMAGES[:1], LABELS[:1])
  assert found.faithfulness.images == 1
  assert found.leakage.left_out == 1
  assert math.isnan(found.leakage.swap) and math.isnan(found.class_iou.within)
  assert found.class_iou.left_out == 1
  # Compilation is not counted, or one image would take a second.
  assert found.images_per_second > 5
  assert found.images_per_second == pytest.approx(1 / found.seconds)


def test_seed_and_blank_reach_the_leakage(measured):
  explainer = _explainers()[1]
  blank = np.full((8, 8, 3), 255, np.uint8)
  (found,) = gencnp_jax.evaluate(
    [explainer], IMAGES, LABELS, batch_size=16, blank=blank, seed=7
  )
  masks = explainer(IMAGES, batch_size=16).masks
  expected = metrics.leakage(
    explainer.target, IMAGES, masks, blank=blank, seed=7
  )
  _check(found.leakage, expected)
  _check(found.faithfulness, measured[1].faithfulness)


def test_one_device_says_what_four_say(measured, monkeypatch):
  devices = jax.local_devices()
  monkeypatch.setattr(jax, 'local_devices', lambda *a, **k: devices[:1])
  monkeypatch.setattr(jax, 'local_device_count', lambda *a, **k: 1)
  monkeypatch.setattr(jax, 'device_count', lambda *a, **k: 1)
  (one,) = gencnp_jax.evaluate(
    [_explainers()[3]], IMAGES, LABELS, batch_size=16
  )
  _check(one.faithfulness, measured[3].faithfulness)
  _check(one.class_iou, measured[3].class_iou, rtol=0, atol=0)


@pytest.mark.parametrize(
  'images, labels, message',
  [
    (IMAGES[:0], LABELS[:0], 'empty'),
    (IMAGES[0], None, r'image\[None\]'),
    (IMAGES, LABELS[:5], 'labels'),
    (IMAGES, np.tile(LABELS, 2), 'labels'),
    (IMAGES, LABELS + 0.5, 'integers'),
    (IMAGES, np.full(30, 10), '10 classes'),
  ],
)
def test_bad_input(images, labels, message):
  with pytest.raises(ValueError, match=message):
    gencnp_jax.evaluate([_explainers()[3]], images, labels)


def test_labels_as_a_list():
  explainer = _explainers()[3]
  (found,) = gencnp_jax.evaluate([explainer], IMAGES, LABELS.tolist())
  masks = explainer(IMAGES).masks
  _check(found.class_iou, metrics.class_iou(masks, LABELS))


def test_no_explainer():
  with pytest.raises(ValueError, match='explainers is empty'):
    gencnp_jax.evaluate([], IMAGES, LABELS)


@pytest.mark.parametrize(
  'explainers, options, message',
  [
    (lambda e: e, {}, 'explainers is Random.*in a list'),
    (lambda e: [e.target], {}, r'(?s)explainers is \[Target.*in a list'),
    (lambda e: [e], {'sparsities': 0.9}, r'sparsities=0\.9: .* in a tuple'),
    (lambda e: [e], {'batch_size': '8'}, "batch_size='8'"),
  ],
)
def test_wrong_arguments_are_named(explainers, options, message):
  given = explainers(Random(tiny.target(), 0.9))
  with pytest.raises(ValueError, match=message):
    gencnp_jax.evaluate(given, IMAGES, **options)


def test_explainers_are_of_one_target():
  one = tiny.target()
  same = one.replace(apply_fn=lambda v, x: one.apply_fn(v, x))  # Made again.
  other = one.replace(variables=jax.tree.map(lambda x: 2 * x, one.variables))
  found = gencnp_jax.evaluate([Random(one, 0.9), Random(same, 0.9)], IMAGES)
  assert found[0].leakage.swap == found[1].leakage.swap
  with pytest.raises(ValueError, match=r'explainers\[1\].*another target'):
    gencnp_jax.evaluate([Random(one, 0.9), Random(other, 0.9)], IMAGES)


SPARSITIES = (0.5, 0.9)


@pytest.fixture(scope='module')
def curve():
  return gencnp_jax.evaluate(
    _explainers(), IMAGES, LABELS, sparsities=SPARSITIES, batch_size=16
  )


def test_the_curve_is_every_method_at_every_sparsity(curve, measured):
  assert [(e.method, e.cut) for e in curve.curve] == [
    (explainer.name, s) for explainer in _explainers() for s in SPARSITIES
  ]
  assert [e.cut for e in curve] == [None] * 4
  for one, other in zip(curve, measured):  # Their own pathways stay theirs.
    _check(one.faithfulness, other.faithfulness)
    _check(one.leakage, other.leakage)


@pytest.mark.parametrize('i', (1, 2, 3))
def test_a_cut_is_the_method_at_that_sparsity(curve, i):
  explainer = _explainers()[i]
  for j, sparsity in enumerate(SPARSITIES):
    (alone,) = gencnp_jax.evaluate(
      [dataclasses.replace(explainer, sparsity=sparsity)],
      IMAGES,
      LABELS,
      batch_size=16,
    )
    found = curve.curve[2 * i + j]
    _check(found.faithfulness, alone.faithfulness)
    _check(found.leakage, alone.leakage)
    _check(found.class_iou, alone.class_iou, rtol=0, atol=0)
    assert found.tied == alone.tied


def test_gencnp_is_cut_by_its_scores_before_quantisation(curve):
  found = tiny.generative()(IMAGES, batch_size=16)
  rows = np.asarray(pathway.flat(found.importance))
  count = selection.kept_count(0.9, tiny.NEURONS)
  top = np.zeros(rows.shape, bool)
  np.put_along_axis(top, np.argsort(-rows, axis=1)[:, :count], True, axis=1)
  masks = pathway.split(top, tiny.SHAPES)
  _check(
    curve.curve[1].faithfulness,
    metrics.faithfulness(tiny.target(), IMAGES, masks, LABELS),
  )


def test_a_comparison_shows_itself(curve, measured):
  text = str(curve)
  for table in curve.tables():
    assert table.title in text and table.title in curve._repr_html_()
  assert 'Agreement over firing sparsity' in text
  assert 'over firing sparsity' not in str(measured)
  (agreement,) = [
    t for t in curve.tables() if t.title.startswith('Agreement over')
  ]
  rows = {row['method']: row for row in agreement.rows}
  for e in curve.curve:
    assert rows[e.method][f'at_{e.cut:g}'] == e.faithfulness.agreement


@pytest.mark.parametrize('sparsity', [0.0, 1.0, -0.2, 0.001])
def test_a_sparsity_of_the_curve_that_will_not_do(sparsity):
  with pytest.raises(ValueError, match='sparsity='):
    gencnp_jax.evaluate(_explainers()[:1], IMAGES, sparsities=(0.5, sparsity))


def test_the_curve_tells_methods_apart():
  assert explainers_lib.CURVE == (0.7, 0.8, 0.9, 0.95, 0.98, 0.99)


def test_seconds_are_of_explaining_alone():
  """Measuring many cuts takes longer; explaining does not."""
  images = tiny.images(64)
  explainer = [OriginalActivation(tiny.target(), 0.6)]

  def seconds(sparsities):
    found = gencnp_jax.evaluate(
      explainer, images, sparsities=sparsities, batch_size=32
    )
    return found[0].seconds

  many = tuple(np.linspace(0.1, 0.9, 8).tolist())
  # The best of three: other work on the machine only ever adds.
  alone = min(seconds(()) for _ in range(3))
  beside = min(seconds(many) for _ in range(3))
  assert beside < 6 * alone

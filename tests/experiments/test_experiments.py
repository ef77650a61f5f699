"""All experiments on a tiny run: what they leave, share, resume and show."""

import csv
import json
import pathlib
import shutil
import types

import numpy as np
import pytest
from etils import epath

from gencnp_jax import (
  attribution,
  data,
  explainers,
  metrics,
  pathway,
  training,
  workspace,
)
from gencnp_jax.experiments import (
  ablations,
  leakage,
  methods,
  paper,
  registry,
  variants,
)
from gencnp_jax.experiments import transferability as transfer
from gencnp_jax.experiments.run import Run
from tests import tiny
from tests.training.conftest import compile_once  # noqa: F401

CHANGES = {
  'data.limit': 128,
  'evaluate.limit': 0,
  'evaluate.methods': 'neuron_mct,random',
  'evaluate.sparsities': (0.7, 0.95),
  'evaluate.roap_sparsities': (0.4,),
  'evaluate.pathways': 0.9,
  'experiments.names': 'all',
  'experiments.embedded': 40,
  'experiments.pictured': 3,
  'experiments.sample_sparsities': (0.5, 0.7),
  'experiments.class_sparsities': (0.3, 0.6),
}
CURVE = (0.7, 0.9, 0.95)  # With the one at which pathways are kept.
METHODS = ['GEN-CNP', 'NeuronMCT', 'Random']
# All but the report, which draws every figure anew.
MEASURING = {'stages': 'target,gencnp,evaluate,experiments'}


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
  """A workdir after all experiments; not to be changed."""
  path = tmp_path_factory.mktemp('experiments') / 'run'
  tiny.run(path, **CHANGES)
  return path


@pytest.fixture
def copy(whole, tmp_path):
  return pathlib.Path(shutil.copytree(whole, tmp_path / 'copy'))


@pytest.fixture(scope='module')
def loaded(whole):
  """The explainer, and the images that it was measured on."""
  with tiny.in_the_zoo():
    explainer = workspace.load_explainer(whole)
  splits = data.load(tiny.config(**CHANGES).data, 0)
  return explainer, splits


def _measured(workdir, name):
  path = workdir / 'experiments' / name / 'measured.json'
  return json.loads(path.read_text())


def _results(workdir):
  return json.loads((workdir / 'evaluate' / 'results.json').read_text())


def _no_work(monkeypatch):
  def refuse(*unused, **also):
    raise AssertionError('Measured or trained again.')

  monkeypatch.setattr(explainers, 'evaluate', refuse)
  monkeypatch.setattr(training, 'train', refuse)


def test_every_experiment_leaves_tables_and_figures(whole):
  for name in registry.EXPERIMENTS:
    folder = whole / 'experiments' / name
    kinds = {path.suffix for path in folder.iterdir()}
    assert '.csv' in kinds, name
    if name != 'ablations':  # A table says it all.
      pictures = {p.stem for p in folder.glob('*.png')}
      assert pictures and pictures == {p.stem for p in folder.glob('*.svg')}
    for path in folder.glob('*.csv'):
      rows = list(csv.DictReader(path.open()))
      assert rows and all(len(row) == len(rows[0]) for row in rows)
  page = (whole / 'report.html').read_text()
  for heading in (
    *('Faithfulness', 'share neurons?', '(ROAP)', 'transfer?'),
    *('each part is for', 'as embeddings', 'carry the answer?'),
    *('How many neurons an image needs', 'What pathways look at'),
  ):
    assert heading in page, heading
  assert 'src="http' not in page


def test_a_second_run_measures_nothing(copy, monkeypatch):
  _no_work(monkeypatch)
  tiny.run(copy, **CHANGES | MEASURING)


def test_a_killed_experiment_goes_on_with_what_is_missing(copy, monkeypatch):
  """The parts of methods and the trained variants are kept."""
  before = _measured(copy, 'leakage'), _measured(copy, 'transferability')
  for name in ('leakage', 'transferability'):
    (copy / 'experiments' / name / 'measured.json').unlink()
  (copy / 'experiments' / 'transferability' / 'random.json').unlink()
  measured, evaluate = [], explainers.evaluate

  def spy(compared, *args, **kwargs):
    measured.extend(e.name for e in compared)
    return evaluate(compared, *args, **kwargs)

  monkeypatch.setattr(explainers, 'evaluate', spy)
  monkeypatch.setattr(training, 'train', None)  # Nothing is trained again.
  tiny.run(copy, **CHANGES | MEASURING)
  # Of each setting, the form that no baseline stands beside.
  assert measured == ['GEN-CNP'] * 2
  after = _measured(copy, 'leakage'), _measured(copy, 'transferability')
  for one, other in zip(before, after):
    assert [r['agreement'] for r in one['rows']] == [
      r['agreement'] for r in other['rows']
    ]


def test_what_was_measured_otherwise_is_not_shown(copy, monkeypatch, caplog):
  _no_work(monkeypatch)
  other = {'experiments.class_sparsities': (0.3,), 'stages': 'report'}
  tiny.run(copy, **CHANGES | other)
  page = (copy / 'report.html').read_text()
  assert 'transfer?' not in page and 'as embeddings' in page
  assert 'class_sparsities' in caplog.text and 'left out' in caplog.text


def test_new_numbers_of_the_evaluation_are_needed_first(copy):
  other = {'evaluate.limit': 16, 'stages': 'experiments'}
  with pytest.raises(ValueError, match='add evaluate to'):
    tiny.run(copy, **CHANGES | other)


@pytest.mark.parametrize(
  'name, field',
  [
    ('roap', 'evaluate.roap_sparsities'),
    ('transferability', 'evaluate.pathways'),
    ('leakage', 'evaluate.sparsities'),
  ],
)
def test_an_experiment_says_what_the_evaluation_must_measure(
  name, field, tmp_path
):
  with pytest.raises(ValueError, match=rf'config\.{field}=.*experiment {name}'):
    tiny.run(tmp_path / 'run', **{'experiments.names': name})
  assert not (tmp_path / 'run').exists()


def test_ablations_stand_at_their_own_and_at_one_sparsity(whole):
  rows = _measured(whole, 'ablations')['rows']
  assert [(r['method'], r['sparsities']) for r in rows] == [
    (form, sparsities)
    for form in ablations.FORMS
    for sparsities in (ablations.OWN, ablations.ONE)
  ]
  full = _results(whole)['rows'][0]
  for key in ('agreement', 'firing_sparsity', 'within', 'swap'):
    assert rows[0][key] == pytest.approx(full[key])
  kept = round((1 - full['firing_sparsity']) * tiny.NEURONS)
  for row in rows:
    if row['sparsities'] == ablations.ONE:
      assert row['firing_sparsity_std'] == pytest.approx(0, abs=1e-6)
      assert row['firing_sparsity'] == pytest.approx(1 - kept / tiny.NEURONS)
  with tiny.in_the_zoo():
    variants = {
      name: workspace.load_explainer(whole / 'variants' / folder)
      for name, (folder, _) in ablations.FORMS.items()
      if name != ablations.FULL  # That is the run's own.
    }
  assert 'rfe_0' not in variants['w/o RFEs'].variables['params']
  assert 'pdn_1' in variants['l.-w. PDNs'].variables['params']
  assert variants['w/o DAQ'].model.quantiser == 'sigmoid'


def test_the_paper_stands_beside_the_sparsity_it_is_of():
  rows = [
    {'method': form, 'sparsities': sparsities, 'accuracy': 0.7}
    for form in ablations.FORMS
    for sparsities in (ablations.OWN, ablations.ONE)
  ]
  table = ablations.table(rows, 'cifar10', 'alexnet')
  beside = {
    (row['method'], row['sparsities']): row['accuracy_paper']
    for row in table.rows
    if 'accuracy_paper' in row
  }
  assert beside == pytest.approx(
    {
      (ablations.FULL, ablations.OWN): 0.7712,
      ('w/o RFEs', ablations.OWN): 0.7343,
      ('l.-w. PDNs', ablations.OWN): 0.7669,
      ('w/o DAQ', ablations.ONE): 0.7697,
    }
  )
  other = ablations.table(rows, '', 'alexnet')
  assert 'paper' not in other.title and 'paper' not in other.note


def test_leakage_has_both_ablations_with_and_without_evidence(whole):
  content = _measured(whole, 'leakage')
  zero, mean = leakage.OFF.values()
  own, *others = METHODS
  expected = [(m, zero) for m in (own, *others, leakage.EVIDENCE)]
  expected += [(m, mean) for m in (leakage.EVIDENCE, *others, own)]
  assert [(r['method'], r['setting']) for r in content['rows']] == expected
  for row, evaluated in zip(content['rows'], _results(whole)['rows']):
    assert row == evaluated | {'setting': zero}
  # Baselines stand at the sparsity of the form above them.
  first, *beside = content['rows'][len(METHODS) + 1 :][: len(METHODS)]
  for row in beside:
    assert row['firing_sparsity'] == pytest.approx(
      first['firing_sparsity'], abs=0.51 / tiny.NEURONS
    )
  cuts = {(r['method'], r['setting'], r['cut']) for r in content['curve']}
  assert cuts == {(*pair, cut) for pair in expected for cut in CURVE}


def test_methods_under_the_mean_wear_the_mean(whole, loaded):
  explainer, splits = loaded
  off = explainers.activation_means(explainer.target, splits.train.images)
  (row,) = [
    row
    for row in _measured(whole, 'leakage')['curve']
    if row['method'] == 'NeuronMCT'
    and row['setting'] == 'off = mean'
    and row['cut'] == 0.7
  ]
  found = explainers.NeuronMCT(explainer.target, 0.7, off=off)(
    splits.test.images
  )
  assert row['agreement'] == pytest.approx(found.agreement.mean())


def test_transfer_uses_the_pathways_that_the_evaluation_kept(whole, loaded):
  explainer, splits = loaded
  images, labels = splits.test.images, splits.test.labels
  mct = explainers.NeuronMCT(explainer.target, 0.9)(images)
  cut = explainer.replace(sparsity=0.9)(images)
  sizes = tuple(int(np.prod(shape)) for shape in tiny.SHAPES)
  kept = {
    name: methods.read_pathways(whole / 'evaluate', name, sizes)
    for name in ('gencnp', 'neuron_mct')
  }
  for name, found in (('neuron_mct', mct), ('gencnp', cut)):
    packed = metrics.PackedMasks.pack(found.masks)
    np.testing.assert_array_equal(kept[name].bits, packed.bits)
  rows = _measured(whole, 'transferability')['rows']
  assert len(rows) == len(METHODS) * 2 * 2 * 2
  split = metrics.transfer_split(labels, (0.5, 0.7), 0)
  wearing = metrics.Wearing(explainer.target, images, labels, labels, split)
  frequencies = metrics.neuron_frequencies(kept['neuron_mct'], split, 0.7)
  expected = transfer.row(wearing(frequencies > 0.3))
  (found,) = [
    row
    for row in rows
    if row['method'] == 'NeuronMCT'
    and row['by'] == transfer.TRUE
    and (row['sample_sparsity'], row['class_sparsity']) == (0.7, 0.3)
  ]
  for key, value in expected.items():
    assert found[key] == pytest.approx(value), key


def test_variance_is_that_of_the_raw_embeddings(whole, loaded):
  explainer, splits = loaded
  order = np.random.default_rng(0).permutation(len(splits.test.images))
  drawn = np.sort(order[:40])
  images, labels = splits.test.images[drawn], splits.test.labels[drawn]
  _, activations, generated = explainer.generate(images, np.full(40, -1))
  rows = _measured(whole, 'embedding')['rows']
  for row, *pair in zip(rows, activations, generated.importance):
    for kind, values in zip(('features', 'importance'), pair):
      expected = metrics.class_variance(np.asarray(values), labels)
      assert row[f'{kind}_within'] == pytest.approx(expected.within, rel=1e-4)
      assert row[f'{kind}_between'] == pytest.approx(expected.between, rel=1e-4)


def test_pictures_are_of_images_that_the_target_gets_right(whole, loaded):
  explainer, splits = loaded
  images, labels = splits.test.images, splits.test.labels
  said = np.asarray(explainer.target(images)).argmax(1)
  content = _measured(whole, 'pictures')
  with np.load(whole / 'experiments' / 'pictures' / 'pictures.npz') as arrays:
    drawn = dict(arrays)
  for image, c in zip(drawn['images'], content['classes'], strict=True):
    place = np.flatnonzero((images == image).all((1, 2, 3)))
    assert ((said == labels) & (said == c))[place].any()
  for title in (*METHODS, 'Full target'):
    expected = explainer.target.activation_shapes((8, 8, 3))[1][:2]
    assert drawn[f'cam/{title}'].shape[1:] == expected
  assert len({c for c in content['classes']}) == len(content['classes'])
  own = explainer(drawn['images'], importance=False)
  np.testing.assert_allclose(
    drawn['cam/GEN-CNP'],
    attribution.grad_cam(explainer.target, drawn['images'], own.masks, layer=1),
    atol=1e-5,
  )


def test_peaks_of_heat_are_of_all_images(whole, loaded):
  explainer, splits = loaded
  images = splits.test.images
  rows = {r['method']: r for r in _measured(whole, 'pictures')['peaks']}
  assert list(rows) == ['Full target', *METHODS]
  cams = attribution.grad_cam(explainer.target, images, layer=1)
  places = cams.reshape(len(cams), -1).argmax(1)[cams.max((1, 2)) > 0]
  assert rows['Full target']['same'] == pytest.approx(
    np.bincount(places).max() / len(places)
  )
  # The pathways that the evaluation kept, at .9.
  assert rows['Random']['sparsity'] == pytest.approx(0.9, abs=1 / 384)
  own = explainer(images, importance=False).firing_sparsity.mean()
  assert rows['GEN-CNP']['sparsity'] == pytest.approx(own, abs=1e-6)


def test_a_class_pathway_is_worn_by_images_that_did_not_build_it(whole, loaded):
  explainer, splits = loaded
  content = _measured(whole, 'pictures')
  with np.load(whole / 'experiments' / 'pictures' / 'pictures.npz') as arrays:
    drawn = dict(arrays)
  assert content['worn']
  for i, worn in enumerate(content['worn']):
    own, others = (drawn[f'worn{i}/{side}/images'] for side in ('own', 'other'))
    assert not any((own == x).all((1, 2, 3)).any() for x in others)
    said = np.asarray(explainer.target(splits.test.images)).argmax(1)
    right = (said == splits.test.labels) & (said == worn['class'])
    built = explainer(splits.test.images[right][len(others) :])
    core = pathway.class_pathways(built.masks, np.zeros(len(built), int), 0.5)[
      0
    ]
    for j, mask in enumerate(core):
      np.testing.assert_array_equal(drawn[f'worn{i}/core{j}'], mask)
    masked = explainer.target.masked(others, [m[None] for m in core])
    np.testing.assert_allclose(
      drawn[f'worn{i}/other/pathway_logits'], masked, atol=1e-4
    )


def test_roap_stands_in_every_row(whole):
  content = _results(whole)
  cuts = [(row['method'], row['cut']) for row in content['roap']]
  assert cuts == [(m, cut) for m in METHODS for cut in (0.4, *CURVE)]
  curve = {(r['method'], r['cut']): r['roap'] for r in content['curve']}
  for row in content['roap']:
    if row['cut'] != 0.4:
      assert row['roap'] == curve[row['method'], row['cut']]


def test_a_variant_of_other_settings_is_refused(whole):
  """Its numbers would be those of another penalty."""
  run = Run(tiny.config(**CHANGES), epath.Path(whole), None)
  with (
    tiny.in_the_zoo(),
    pytest.raises(ValueError, match=r'gencnp\.beta: the workdir has 30\.0'),
  ):
    variants.trained(run, 'no_daq', quantiser='sigmoid', beta=2.0)


def test_what_is_trained_anew_forgets_its_variants(copy):
  """They were trained on another target."""
  for stage in ('target', 'gencnp'):
    shutil.rmtree(copy / stage)
  tiny.run(copy, **CHANGES | {'stages': 'target'})
  left = {path.name for path in copy.iterdir() if path.is_dir()}
  assert left == {'target'}


def test_unlabelled_images_have_all_experiments_but_accuracy(whole, tmp_path):
  digits = data.load(tiny.config(**CHANGES).data, 0)
  np.savez(tmp_path / 'photos.npz', images=digits.train.images)
  changes = {
    'data.name': 'npz',
    'data.path': str(tmp_path / 'photos.npz'),
    'data.limit': 0,
    'data.validation_share': 0.0,
    'target.workdir': str(whole),
    'evaluate.limit': 20,
    'experiments.names': 'transferability,embedding,instance_sparsity',
  }
  tiny.run(tmp_path / 'run', **CHANGES | changes)
  rows = _measured(tmp_path / 'run', 'transferability')['rows']
  assert {row['by'] for row in rows} == {transfer.PREDICTED}
  assert all(row['accuracy'] is None for row in rows)
  assert _results(tmp_path / 'run')['roap'] == []
  page = (tmp_path / 'run' / 'report.html').read_text()
  assert 'transfer?' in page and '(ROAP)' not in page


@pytest.mark.parametrize(
  'labels, limit, taken',
  [
    ([0, 0, 0, 1, 1, 1, 2, 2, 2], 3, [0, 3, 6]),
    ([0, 0, 0, 1, 1, 1, 2, 2, 2], 7, [0, 1, 2, 3, 5, 6, 7]),
    ([0, 0, 0, 1, 1, 1, 2, 2, 2], 0, range(9)),
    ([0, 0, 0, 1, 1, 1, 2, 2, 2], 12, range(9)),
    ([2, 0, 0, 1, 1, 1, 2, 2, 2], 3, [0, 1, 2]),
    (None, 3, [0, 1, 2]),
  ],
)
def test_a_limit_takes_of_all_classes_where_images_are_sorted(
  labels, limit, taken
):
  run = Run(tiny.config(**{'evaluate.limit': limit}), None, None)
  images = np.arange(9).reshape(9, 1, 1, 1)
  labels = None if labels is None else np.array(labels, np.int32)
  run.chosen = types.SimpleNamespace(images=images, labels=labels)
  taken = list(taken)
  np.testing.assert_array_equal(run.images.ravel(), taken)
  if labels is None:
    assert run.labels is None
  else:
    np.testing.assert_array_equal(run.labels, labels[taken])


@pytest.mark.parametrize(
  'labels, limit, shown',
  [
    ([0, 0, 0, 1, 1, 1, 2, 2, 2], 0, [0, 3, 6]),
    ([0, 0, 0, 1, 1, 1, 2, 2, 2], 6, [0, 3, 6]),
    ([2, 0, 0, 1, 1, 1, 2, 2, 2], 6, [0, 1, 2]),
    (None, 6, [0, 1, 2]),
  ],
)
def test_the_examples_are_of_all_classes_too(labels, limit, shown):
  changes = {'evaluate.limit': limit, 'evaluate.examples': 3}
  run = Run(tiny.config(**changes), None, None)
  images = np.arange(9).reshape(9, 1, 1, 1)
  labels = None if labels is None else np.array(labels, np.int32)
  run.chosen = types.SimpleNamespace(images=images, labels=labels)
  np.testing.assert_array_equal(run.shown.ravel(), shown)


def test_the_data_must_be_the_papers_for_its_numbers():
  run = Run(tiny.config(**CHANGES), None, None)
  run.config.data.limit = 0
  for name, path, size, classes, expected in (
    ('digits', '', 32, 10, ''),
    ('cifar10', '', 32, 10, 'cifar10'),
    ('cifar10', '', 64, 10, ''),
    ('downsampled_imagenet', 'x', 32, 1000, 'imagenet'),
    ('downsampled_imagenet', 'x', 64, 1000, ''),
    ('downsampled_imagenet', 'x', 32, 10, ''),
    ('tfds', 'imagenet_resized/32x32', 32, 1000, 'imagenet'),
    ('npz', 'tiny-imagenet-200', 32, 200, ''),
    ('folder', 'imagenette', 32, 10, ''),
  ):
    run.config.data.name, run.config.data.path = name, path
    run.about_target = {
      'image_shape': [size, size, 3],
      'class_names': ['x'] * classes,
      'config': {'data': {}},
    }
    assert paper.data_set(run) == expected, (name, size, classes)
  run.config.data.name = 'cifar10'
  run.about_target |= {'image_shape': [32, 32, 3], 'class_names': ['x'] * 10}
  assert paper.data_set(run) == 'cifar10'
  for section, field, value in (
    ('evaluate', 'split', 'validation'),
    ('data', 'limit', 2048),
  ):
    before = run.config[section][field]
    run.config[section][field] = value
    assert paper.data_set(run) == '', field
    run.config[section][field] = before
  # Wherever it was trained: the target says so itself.
  run.about_target['config']['data']['train_on'] = 'test'
  assert paper.data_set(run) == ''

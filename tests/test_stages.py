"""The stages: what they leave, skip and need; what stops them, and going on."""

import csv
import json
import logging as python_logging
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from gencnp_jax import (
  data,
  explainers,
  pathway,
  products,
  settings,
  stages,
  workspace,
)
from gencnp_jax.runtime import run_log, workdir
from tests import tiny
from tests.training.conftest import compile_once  # noqa: F401

SKIPPED = 'is there: stage'


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
  """A workdir after all four stages; not to be changed."""
  path = tmp_path_factory.mktemp('whole') / 'run'
  tiny.run(path)
  return path


@pytest.fixture
def copy(trained, tmp_path):
  return pathlib.Path(shutil.copytree(trained, tmp_path / 'copy'))


def _results(workdir):
  return json.loads((workdir / 'evaluate' / 'results.json').read_text())


def _refuse(*unused, **also):
  raise AssertionError('The data were loaded for nothing.')


def test_a_whole_run_leaves_results_of_all_methods(trained):
  content = _results(trained)
  rows, facts = content['rows'], content['facts']
  assert [row['method'] for row in rows] == [
    'GEN-CNP',
    'NeuronMCT',
    'Original Activation',
    'Random',
  ]
  own = rows[0]
  kept = max(1, round((1 - own['firing_sparsity']) * tiny.NEURONS))
  for row in rows:
    assert row['images'] == 24
    assert 0 <= row['accuracy'] <= 1 and 0 <= row['target_accuracy'] <= 1
    assert len(row['firing_sparsity_per_layer']) == 2
    if row is not own:  # At the mean of GEN-CNP's own.
      assert row['firing_sparsity'] == pytest.approx(1 - kept / tiny.NEURONS)
      assert row['firing_sparsity_std'] == 0
  assert [row['baseline'] for row in rows] == [False, False, False, True]
  assert facts['test images'] == 24 and facts['seed'] == 0
  assert facts['device'].startswith('4 x')
  assert {'target', 'data set', 'date', 'versions'} <= facts.keys()


def test_the_tables_are_there_as_csv(trained):
  found = {}
  for path in (trained / 'evaluate').glob('*.csv'):
    with path.open() as file:
      found[path.stem] = list(csv.DictReader(file))
  assert found.keys() == {
    'faithfulness',
    'class_iou',
    'does_the_mask_itself_carry_the_answer',
    'speed_of_explaining',
  }
  for table in found.values():
    assert [next(iter(row.values())) for row in table] == [
      row['method'] for row in _results(trained)['rows']
    ]


def test_the_report_opens_without_network(trained):
  page = (trained / 'report.html').read_text()
  assert not re.search(
    r'(src|href|srcset|action)\s*=\s*["\']?(https?:)?//', page
  )
  assert not re.search(r'url\(\s*["\']?(https?:)?//|@import', page)
  assert '<script' not in page
  for word in ('GEN-CNP', 'NeuronMCT', 'Original Activation', 'Random', 'beta'):
    assert word in page
  assert page.count('<table') >= 3 and page.count('<img') >= 4


def test_the_parts_fit_together(trained):
  """Details, examples and results tell of the same images."""
  with np.load(trained / 'evaluate' / 'details.npz') as arrays:
    details = dict(arrays)
  examples = pathway.Explanation.load(trained / 'evaluate' / 'examples.npz')
  own = _results(trained)['rows'][0]
  assert details['sparsity'].mean() == pytest.approx(
    own['firing_sparsity'], abs=1e-6
  )
  assert len(examples) == len(details['example_images']) == 2
  np.testing.assert_array_equal(
    examples.logits.argmax(1), details['predictions'][:2]
  )
  np.testing.assert_allclose(
    examples.firing_sparsity, details['sparsity'][:2], atol=1e-6
  )
  with tiny.in_the_zoo():
    explainer = workspace.load_explainer(trained)
  again = explainer(details['example_images'])
  for a, b in zip(again.masks, examples.masks):
    np.testing.assert_array_equal(a, b)


def test_evaluation_uses_the_first_test_images(trained):
  test = data.load(tiny.config().data, 0).test
  with np.load(trained / 'evaluate' / 'details.npz') as details:
    np.testing.assert_array_equal(details['example_images'], test.images[:2])
  with tiny.in_the_zoo():
    explainer = workspace.load_explainer(trained)
  (own, *_) = _results(trained)['rows']
  found = explainer(test.images[:24], batch_size=16)
  assert own['agreement'] == pytest.approx(found.agreement.mean())
  right = found.pathway_logits.argmax(1) == test.labels[:24]
  assert own['accuracy'] == pytest.approx(right.mean())


def test_a_second_run_trains_and_loads_nothing(copy, monkeypatch, caplog):
  before = tiny.files(copy)
  monkeypatch.setattr(data, 'load', _refuse)
  with caplog.at_level(python_logging.INFO, logger='absl'):
    tiny.run(copy)
  said = [r.getMessage() for r in caplog.records]
  for stage in ('target', 'gencnp', 'evaluate'):
    assert any(f'{SKIPPED} {stage} is skipped' in line for line in said)
  after = tiny.files(copy)
  # What is shown alone is written anew: it is quick, and its look may change.
  written = {k for k in after if after[k] != before.get(k)}
  shown = {k for k in after if k.startswith('experiments')}
  assert written == shown | {'report.html'}
  assert after.keys() == before.keys()


def _count_evaluations(monkeypatch):
  """Returns a list to which every measured method's name is added."""
  measured, evaluate = [], explainers.evaluate

  def spy(methods, *args, **kwargs):
    measured.extend(m.name for m in methods)
    return evaluate(methods, *args, **kwargs)

  monkeypatch.setattr(explainers, 'evaluate', spy)
  return measured


def test_other_settings_of_the_evaluation_measure_again(copy, monkeypatch):
  """The trained stages stay; what is equal is not measured again."""
  before = tiny.files(copy)
  measured = _count_evaluations(monkeypatch)
  more = {'evaluate.methods': 'gencnp,neuron_mct,random,original_activation'}
  tiny.run(copy, **more, stages='evaluate')  # The same set, in other words.
  assert measured == []
  tiny.run(copy, **{'evaluate.limit': 8, 'evaluate.sparsities': (0.5, 0.9)})
  assert measured == ['GEN-CNP', 'NeuronMCT', 'Original Activation', 'Random']
  content = _results(copy)
  assert {row['images'] for row in content['rows']} == {8}
  assert [(r['method'], r['cut']) for r in content['curve']] == [
    (method, cut) for method in measured for cut in (0.5, 0.9)
  ]
  assert (copy / 'evaluate' / 'agreement_over_firing_sparsity.csv').exists()
  assert 'over firing sparsity' in (copy / 'report.html').read_text()
  after = tiny.files(copy)
  measured = ('evaluate', 'experiments', 'report')
  trained = {k for k in before if not k.startswith(measured)}
  assert {k: after[k] for k in trained} == {k: before[k] for k in trained}


def test_a_method_more_measures_that_method_alone(copy, monkeypatch):
  measured = _count_evaluations(monkeypatch)
  tiny.run(
    copy,
    **{'evaluate.methods': 'random,neuron_int_grad', 'stages': 'evaluate'},
  )
  assert measured == ['NeuronIntGrad']
  assert [row['method'] for row in _results(copy)['rows']] == [
    'GEN-CNP',
    'NeuronIntGrad',
    'Random',
  ]


def test_an_interrupted_evaluation_with_other_settings_leaves_no_mixture(
  copy, monkeypatch
):
  """The numbers of one setting beside the pictures of another."""
  evaluate = explainers.evaluate

  def stop(methods, *args, **kwargs):
    if methods[0].name == 'Random':
      raise KeyboardInterrupt
    return evaluate(methods, *args, **kwargs)

  other = {'evaluate.limit': 8, 'stages': 'evaluate'}
  with monkeypatch.context() as patch:
    patch.setattr(explainers, 'evaluate', stop)
    with pytest.raises(KeyboardInterrupt):
      tiny.run(copy, **other)
  assert not list((copy / 'evaluate').glob('*.csv'))
  with pytest.raises(ValueError, match='needs the results'):
    tiny.run(copy, stages='report')
  tiny.run(copy, stages='evaluate')  # As before: nothing of the other is left.
  with np.load(copy / 'evaluate' / 'details.npz') as details:
    sparsity = details['sparsity']
  own = _results(copy)['rows'][0]
  assert own['images'] == len(sparsity) == 24
  assert own['firing_sparsity'] == pytest.approx(sparsity.mean(), abs=1e-6)


def test_numbers_of_another_device_or_version_are_measured_again(
  copy, monkeypatch
):
  changes = {'evaluate.limit': 23, 'stages': 'evaluate'}
  monkeypatch.setattr(products, 'device', lambda: '8 x another')
  measured = _count_evaluations(monkeypatch)
  tiny.run(copy, **changes)
  assert len(measured) == 4
  (copy / 'evaluate' / 'results.json').unlink()
  tiny.run(copy, **changes)
  assert len(measured) == 4 and _results(copy)['facts']['device'].startswith(
    '8'
  )
  monkeypatch.undo()
  measured = _count_evaluations(monkeypatch)
  (copy / 'evaluate' / 'results.json').unlink()
  tiny.run(copy, **changes)
  assert len(measured) == 4


def test_another_sparsity_of_the_baselines_leaves_gencnp(copy, monkeypatch):
  measured = _count_evaluations(monkeypatch)
  tiny.run(copy, **{'evaluate.sparsity': 0.75, 'stages': 'evaluate'})
  assert measured == ['NeuronMCT', 'Original Activation', 'Random']


def test_what_is_trained_anew_is_evaluated_anew(copy, monkeypatch):
  shutil.rmtree(copy / 'gencnp')
  measured = _count_evaluations(monkeypatch)
  tiny.run(copy, stages='gencnp,evaluate')
  assert measured == ['GEN-CNP', 'NeuronMCT', 'Original Activation', 'Random']


def test_more_examples_are_explained_anew(copy, monkeypatch):
  measured = _count_evaluations(monkeypatch)
  tiny.run(copy, **{'evaluate.examples': 5, 'stages': 'evaluate'})
  assert measured == ['GEN-CNP']
  examples = pathway.Explanation.load(copy / 'evaluate' / 'examples.npz')
  assert len(examples) == 5


@pytest.mark.parametrize('damage', ['', '{', '[]', '{"settings": 3}'])
def test_an_interrupted_evaluation_goes_on(copy, damage, monkeypatch):
  """With the method that is missing, or whose file is damaged."""
  expected = _results(copy)['rows']
  (copy / 'evaluate' / 'results.json').unlink()
  (copy / 'evaluate' / 'random.json').unlink()
  if damage:
    (copy / 'evaluate' / 'random.json').write_text(damage)
  measured = _count_evaluations(monkeypatch)
  tiny.run(copy, stages='evaluate')
  assert measured == ['Random']
  for row, other in zip(_results(copy)['rows'], expected, strict=True):
    for key in ('method', 'agreement', 'swap', 'within', 'firing_sparsity'):
      assert row[key] == other[key]


def test_settings_are_chosen_on_the_validation_split(copy):
  other = {'evaluate.split': 'validation', 'evaluate.limit': 0}
  tiny.run(copy, **other, stages='evaluate')
  loaded = data.load(tiny.config().data, 0)
  content = _results(copy)
  images = content['rows'][0]['images']
  assert images == len(loaded.validation.images)
  assert content['facts']['validation images'] == images
  with tiny.in_the_zoo():
    explainer = workspace.load_explainer(copy)
  found = explainer(loaded.validation.images, batch_size=16)
  agreed = content['rows'][0]['agreement']
  assert agreed == pytest.approx(found.agreement.mean())


def test_no_validation_split_to_evaluate_on(unlabelled, tmp_path):
  workdir, changes = unlabelled
  copy = shutil.copytree(workdir, tmp_path / 'copy')
  with pytest.raises(ValueError, match=r'data\.validation_share above 0'):
    tiny.run(copy, **{**changes, 'evaluate.split': 'validation'})


def test_fields_that_are_free_may_change(copy):
  tiny.run(
    copy,
    **{'name': 'other', 'stages': 'report', 'runtime.checkpoint_every': 3},
  )


def test_a_workdir_of_another_config_names_the_fields(copy):
  before = tiny.files(copy)
  with pytest.raises(ValueError, match='made by another config') as raised:
    tiny.run(copy, **{'gencnp.beta': 2.0, 'data.limit': 32, 'name': 'x'})
  said = str(raised.value)
  own = tiny.config().gencnp.beta
  assert f'gencnp.beta: the workdir has {own}, this run 2.0' in said
  assert 'data.limit: the workdir has 64, this run 32' in said
  assert 'name' not in said and 'target.' not in said
  assert '--workdir' in said
  assert tiny.files(copy) == before
  tiny.run(copy, stages='report')  # And it stored nothing of the other.


def test_a_workdir_from_before_a_field_means_what_was_then(tmp_path):
  """Not today's default, which is another for what a pathway is asked."""
  now = settings.defaults()
  settings.ask(now, 'eq2')
  added = ('answer', 'class_input', 'beta_warmup', 'cut', 'skip', 'swap')
  added += ('charged', 'sparsity_goal')
  stored = now.to_dict()
  for field in added:
    del stored['gencnp'][field]
  (tmp_path / 'config.json').write_text(json.dumps(stored))
  same = (tmp_path, now.to_dict(), settings.FREE, settings.before().to_dict())
  workdir.check_config(*same)
  (tmp_path / 'config.json').write_text(json.dumps(stored))
  now.gencnp.answer = 'odds'
  with pytest.raises(
    workdir.WorkdirError,
    match=r"gencnp\.answer: the workdir has 'probabilities', this run 'odds'",
  ):
    workdir.check_config(tmp_path, now.to_dict(), *same[2:])


def test_a_run_that_made_nothing_binds_no_later_one(tmp_path):
  bad = {'data.name': 'npz', 'data.path': str(tmp_path / 'nowhere.npz')}
  with pytest.raises(ValueError, match='does not exist'):
    tiny.run(tmp_path / 'run', **bad)
  with pytest.raises(ValueError, match='stage report needs'):
    tiny.run(tmp_path / 'run', stages='report')
  large = {'target.batch_size': 128, 'stages': 'target'}
  with pytest.raises(ValueError, match='batch_size=128 is larger than the 64'):
    tiny.run(tmp_path / 'other', **large)
  tiny.run(tmp_path / 'other', stages='target')


def test_a_batch_that_the_devices_do_not_divide_is_named_at_once(
  tmp_path, monkeypatch
):
  monkeypatch.setattr(data, 'load', _refuse)
  for stage in ('target', 'gencnp'):
    with pytest.raises(ValueError, match=rf'config\.{stage}\.batch_size=18: 4'):
      tiny.run(tmp_path / 'run', **{f'{stage}.batch_size': 18})
  assert not (tmp_path / 'run').exists()


def test_bad_settings_are_seen_before_anything_is_written(tmp_path):
  with pytest.raises(settings.SettingsError):
    tiny.run(tmp_path / 'run', **{'evaluate.sparsity': 2.0})
  assert not (tmp_path / 'run').exists()


def test_an_unwritable_workdir_is_noticed_at_start(tmp_path, monkeypatch):
  (tmp_path / 'file').write_text('')
  monkeypatch.setattr(data, 'load', _refuse)
  with pytest.raises(ValueError, match=r'--workdir=.*not writable'):
    tiny.run(tmp_path / 'file' / 'run')


@pytest.mark.parametrize(
  'stage, there, message',
  [
    ('gencnp', (), 'stage target trains; add target to config.stages'),
    ('evaluate', (), 'stage gencnp trains; add gencnp to config.stages'),
    ('evaluate', ('target',), 'add gencnp to config.stages'),
    ('evaluate', ('gencnp',), 'there is no checkpoint here of a target'),
    ('report', ('target', 'gencnp'), 'needs the results of stage evaluate'),
  ],
)
def test_a_stage_alone_says_what_it_needs(
  stage, there, message, trained, tmp_path
):
  for name in there:
    shutil.copytree(trained / name, tmp_path / 'run' / name)
  with pytest.raises(ValueError, match=message):
    tiny.run(tmp_path / 'run', stages=stage)


def _damage(path):
  """Cuts the arrays of a checkpoint's item short."""
  for data_file in path.rglob('d/*'):
    content = data_file.read_bytes()
    data_file.write_bytes(content[: len(content) // 2])


def test_a_damaged_target_is_noticed_and_the_message_helps(copy):
  shutil.rmtree(copy / 'gencnp')
  step = max((copy / 'target' / 'checkpoints').iterdir())
  _damage(step / 'variables')
  with pytest.raises(ValueError, match='damaged') as raised:
    tiny.run(copy, stages='gencnp')
  said = str(raised.value)
  assert f'remove {copy / "target"} and add target' in said
  # As it says.
  shutil.rmtree(copy / 'target')
  tiny.run(copy, stages='target')
  with tiny.in_the_zoo():
    workspace.load_target(copy)


def test_target_workdir_takes_the_trained_target(
  trained, tmp_path, monkeypatch
):
  monkeypatch.setattr(data, 'load', _refuse)
  changes = {
    'stages': 'target',
    'target.workdir': str(trained),
    'target.epochs': 50.0,
  }
  tiny.run(tmp_path / 'run', **changes)
  with tiny.in_the_zoo():
    one, other = (workspace.load_target(p) for p in (trained, tmp_path / 'run'))
  np.testing.assert_array_equal(one(tiny.images(3)), other(tiny.images(3)))
  before = tiny.files(tmp_path / 'run')
  tiny.run(tmp_path / 'run', **changes)
  assert tiny.files(tmp_path / 'run') == before
  assert not list((tmp_path / 'run').glob('.target*'))


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'target.model': 'vgg11'}, "'vgg11'.*is 'alexnet'"),
    ({'target.workdir': '/nowhere'}, 'there is no checkpoint here'),
  ],
)
def test_target_workdir_that_will_not_do(changes, message, trained, tmp_path):
  with pytest.raises(ValueError, match=message):
    tiny.run(
      tmp_path / 'run',
      **{'stages': 'target', 'target.workdir': str(trained), **changes},
    )
  assert not (tmp_path / 'run' / 'target').exists()


def test_data_of_another_kind_than_the_target_was_trained_on(trained, tmp_path):
  taken = {'target.workdir': str(trained), 'stages': 'target,gencnp'}
  with pytest.raises(ValueError, match=r'images of digits are \(16, 16, 3\)'):
    tiny.run(tmp_path / 'large', **taken, **{'data.image_size': 16})
  few = tmp_path / 'few.npz'
  labels = np.arange(40) % 3
  np.savez(few, images=tiny.images(40), labels=labels.astype(np.int32))
  with pytest.raises(ValueError, match=r'classes of few are 3.*for 10'):
    tiny.run(
      tmp_path / 'few', **taken, **{'data.name': 'npz', 'data.path': str(few)}
    )


@pytest.fixture(scope='module')
def unlabelled(trained, tmp_path_factory):
  """All stages on images without labels, under mean ablation."""
  path = tmp_path_factory.mktemp('unlabelled')
  digits = data.load(tiny.config().data, 0)
  np.savez(path / 'photos.npz', images=digits.train.images)
  changes = {
    'data.name': 'npz',
    'data.path': str(path / 'photos.npz'),
    'data.limit': 0,
    'data.validation_share': 0.0,
    'target.workdir': str(trained),
    'gencnp.off': 'mean',
    'evaluate.methods': 'random,gencnp',
    'evaluate.sparsity': 0.75,
    'evaluate.limit': 0,
  }
  tiny.run(path / 'run', **changes)
  return path / 'run', changes


def test_unlabelled_images_have_no_accuracy(unlabelled):
  workdir, _ = unlabelled
  rows = _results(workdir)['rows']
  assert [row['method'] for row in rows] == ['GEN-CNP', 'Random']
  assert all(row['accuracy'] is None for row in rows)
  assert all(row['target_accuracy'] is None for row in rows)
  assert rows[1]['firing_sparsity'] == pytest.approx(0.75)
  page = (workdir / 'report.html').read_text()
  assert 'The target is right on' not in page and 'photos' in page


def test_mean_ablation_end_to_end(unlabelled):
  workdir, changes = unlabelled
  with tiny.in_the_zoo():
    explainer = workspace.load_explainer(workdir)
  loaded = data.load(tiny.config(**changes).data, 0)
  means = explainers.activation_means(explainer.target, loaded.train.images)
  for a, b in zip(explainer.off, means):
    np.testing.assert_allclose(a, b, atol=1e-6)
  found = explainer(loaded.test.images)
  own, random = _results(workdir)['rows']
  assert own['images'] == len(loaded.test.images)
  assert own['agreement'] == pytest.approx(found.agreement.mean())
  baseline = explainers.Random(explainer.target, 0.75, off=explainer.off)
  found = baseline(loaded.test.images)
  assert random['agreement'] == pytest.approx(found.agreement.mean())


def test_mean_activations_are_measured_once(unlabelled, tmp_path, monkeypatch):
  workdir, changes = unlabelled
  copy = pathlib.Path(shutil.copytree(workdir, tmp_path / 'copy'))
  (copy / 'gencnp' / 'done.json').unlink()
  monkeypatch.setattr(explainers, 'activation_means', _refuse)
  tiny.run(copy, **{**changes, 'stages': 'gencnp'})


def test_a_target_cannot_be_trained_without_labels(unlabelled, tmp_path):
  _, changes = unlabelled
  with pytest.raises(
    ValueError, match=r'photos has no labels.*target\.workdir'
  ):
    tiny.run(tmp_path / 'run', **{**changes, 'target.workdir': ''})


@pytest.mark.parametrize('lower, sparsity', [(50.0, 1.0), (-60.0, 0.0)])
def test_a_generator_of_all_or_nothing_is_evaluated_all_the_same(
  lower, sparsity, copy, monkeypatch
):
  """And the report warns where nothing is left."""
  shutil.rmtree(copy / 'evaluate')
  with tiny.in_the_zoo():
    explainer = workspace.load_explainer(copy)
  model = explainer.model.clone(
    lower=lower, upper=lower + 10.0, layer_floor=0.0
  )
  collapsed = explainer.replace(model=model)
  monkeypatch.setattr(workspace, 'load_explainer', lambda path: collapsed)
  tiny.run(copy, stages='evaluate,report')
  rows = _results(copy)['rows']
  assert rows[0]['firing_sparsity'] == sparsity
  kept = 1 if sparsity else tiny.NEURONS - 1
  for row in rows[1:]:
    assert row['firing_sparsity'] == pytest.approx(1 - kept / tiny.NEURONS)
  page = (copy / 'report.html').read_text()
  assert ('the image cannot reach the output, and' in page) == bool(sparsity)


LONG = {
  'stages': 'gencnp',
  'gencnp.epochs': 60.0,
  'runtime.checkpoint_every': 10,
  'runtime.evaluate_every': 50,
}


def test_a_killed_stage_goes_on_from_its_last_checkpoint(
  trained, tmp_path, monkeypatch
):
  workdir = tmp_path / 'run'
  shutil.copytree(trained / 'target', workdir / 'target')
  code = (
    'import chex\n'
    'chex.set_n_cpu_devices(4)\n'
    'from tests import tiny\n'
    f'tiny.run({str(workdir)!r}, **{LONG!r})\n'
  )
  process = subprocess.Popen(
    [sys.executable, '-c', code],
    env=os.environ | {'JAX_PLATFORMS': 'cpu', 'PYTHONPATH': os.getcwd()},
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
  )
  saved = workdir / 'gencnp' / 'checkpoints'
  deadline = time.monotonic() + 300
  while not _steps(saved) and process.poll() is None:
    assert time.monotonic() < deadline
    time.sleep(0.02)
  process.send_signal(signal.SIGKILL)
  _, error = process.communicate()
  assert process.returncode == -signal.SIGKILL, error[-2000:]
  killed_at = max(_steps(saved))
  assert not (workdir / 'gencnp' / 'done.json').exists()

  begun = []
  create = run_log.RunLog.__init__

  def spy(self, path, from_step=0, tensorboard=False):
    begun.append(from_step)
    create(self, path, from_step, tensorboard)

  monkeypatch.setattr(run_log.RunLog, '__init__', spy)
  tiny.run(workdir, **LONG)
  assert begun[0] >= killed_at > 0
  total = 60 * (64 // 16)
  assert max(_steps(saved)) == total
  steps = [r['step'] for r in run_log.read(workdir / 'gencnp' / 'log.jsonl')]
  assert steps[-1] == total and steps == sorted(steps)
  with tiny.in_the_zoo():
    workspace.load_explainer(workdir)


def _steps(path):
  """Finished checkpoints: orbax renames them when they are whole."""
  if not path.exists():
    return []
  return [int(p.name) for p in path.iterdir() if p.name.isdigit()]


def test_stages_run_in_their_order_whatever_the_words(monkeypatch, tmp_path):
  ran = []
  for name in settings.STAGES:
    monkeypatch.setitem(
      stages._STAGES, name, lambda *unused, name=name: ran.append(name)
    )
  tiny.run(tmp_path / 'run', stages='report, target,evaluate')
  assert ran == ['target', 'evaluate', 'report']

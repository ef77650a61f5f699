"""Image files explained: the picture, the JSON, and what is refused."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import gencnp_jax
from gencnp_jax import image_files, image_record, workspace
from gencnp_jax.pathway import Explanation
from tests import tiny
from tests.test_workspace import golden  # noqa: F401

PIXELS = tiny.images(5)


@pytest.fixture(autouse=True)
def zoo():
  with tiny.in_the_zoo():
    yield


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
  folder = tmp_path_factory.mktemp('photos')
  for i, pixels in enumerate(PIXELS[:3]):
    Image.fromarray(pixels).save(folder / f'{i}.png')
  return folder


@pytest.fixture(scope='module')
def explained(golden, photos, tmp_path_factory):  # noqa: F811
  out = tmp_path_factory.mktemp('explained')
  with tiny.in_the_zoo():
    records = image_files.explain_files(golden, [str(photos)], out=out)
  return records, out


def test_the_json_says_what_the_explainer_found(golden, explained):  # noqa: F811
  records, out = explained
  found = gencnp_jax.load_explainer(golden)(PIXELS[:3])
  for i, record in enumerate(records):
    assert json.loads((out / f'{i}.json').read_text()) == record
    before, after = (
      np.exp(x) / np.exp(x).sum()
      for x in (found.logits[i], found.pathway_logits[i])
    )
    assert record['method'] == 'GEN-CNP' and record['off'] == 'zero'
    for key, p in (('target', before), ('pathway', after)):
      assert record[key]['class'] == str(p.argmax())
      assert record[key]['number'] == p.argmax()
      assert record[key]['probability'] == pytest.approx(p.max(), abs=1e-5)
    assert record['same_class'] == (before.argmax() == after.argmax())
    top = np.argsort(-before)[:5]
    assert [row['number'] for row in record['top']] == top.tolist()
    assert [row['probability_with_pathway'] for row in record['top']] == (
      pytest.approx(after[top], abs=1e-5)
    )
    on = [m[i].sum() for m in found.masks]
    assert [layer['neurons_on'] for layer in record['layers']] == on
    assert record['neurons_on'] == sum(on)
    assert record['neurons'] == tiny.NEURONS
    assert record['firing_sparsity'] == pytest.approx(
      1 - sum(on) / tiny.NEURONS
    )
    assert record['layers'][0]['shape'] == [8, 8, 4]
    assert record['stored_size'] == [8, 8] and record['notes'] == []


def test_the_picture_is_there(explained):
  _, out = explained
  for i in range(3):
    with Image.open(out / f'{i}.png') as image:
      assert image.width > 1000 and image.height > 400
  assert sorted(p.name for p in out.iterdir()) == sorted(
    f'{i}.{kind}' for i in range(3) for kind in ('png', 'json')
  )


def test_a_baseline_takes_gencnp_s_mean_sparsity(golden, photos, tmp_path):  # noqa: F811
  records = image_files.explain_files(
    golden, [f'{photos}/*.png'], 'neuron_mct', out=tmp_path
  )
  own = gencnp_jax.load_explainer(golden)(PIXELS[:3]).firing_sparsity.mean()
  assert {r['method'] for r in records} == {'NeuronMCT'}
  for record in records:
    assert record['firing_sparsity'] == pytest.approx(own, abs=1 / 384)


@pytest.mark.parametrize('method', ['gencnp', 'random'])
def test_a_sparsity_of_one_s_own(method, golden, photos, tmp_path):  # noqa: F811
  (record,) = image_files.explain_files(
    golden, [f'{photos}/0.png'], method, 0.75, tmp_path
  )
  assert record['neurons_on'] == 96


def test_a_workdir_of_a_target_alone(golden, photos, tmp_path):  # noqa: F811
  os.symlink(golden / 'target', tmp_path / 'target')
  (record,) = image_files.explain_files(
    tmp_path, [f'{photos}/0.png'], 'original_activation'
  )
  assert record['firing_sparsity'] == pytest.approx(0.95, abs=1 / 384)
  assert (tmp_path / 'explained/original_activation/0.png').exists()
  with pytest.raises(ValueError, match='no checkpoint here of a GEN-CNP'):
    image_files.explain_files(tmp_path, [f'{photos}/0.png'])


def test_damaged_files_do_not_cost_the_others(golden, photos, tmp_path):  # noqa: F811
  folder = tmp_path / 'mixed'
  folder.mkdir()
  Image.fromarray(PIXELS[4]).save(folder / 'good.png')
  (folder / 'bad.png').write_bytes(b'no image')
  with pytest.raises(ValueError, match=r'1 of 2 files.*bad\.png: not an image'):
    image_files.explain_files(golden, [str(folder)], out=tmp_path / 'out')
  assert (tmp_path / 'out' / 'good.json').exists()
  with pytest.raises(ValueError, match=r'^\S*bad\.png: not an image'):
    image_files.explain_files(golden, [str(folder / 'bad.png')])


def test_an_image_is_never_written_over(golden, photos, tmp_path):  # noqa: F811
  folder = tmp_path / 'mine'
  shutil.copytree(photos, folder)
  before = {p.name: p.read_bytes() for p in folder.iterdir()}
  with pytest.raises(ValueError, match=r'--out=.*0\.png would be written over'):
    image_files.explain_files(golden, [str(folder)], out=folder)
  assert {p.name: p.read_bytes() for p in folder.iterdir()} == before


def test_blocks_change_nothing(golden, photos, tmp_path, monkeypatch):  # noqa: F811
  whole = image_files.explain_files(
    golden, [str(photos)], 'random', out=tmp_path / 'whole'
  )
  monkeypatch.setattr(image_files, '_BLOCK', 2)
  parts = image_files.explain_files(
    golden, [str(photos)], 'random', out=tmp_path / 'parts'
  )
  assert parts == whole


def test_a_damaged_gencnp_is_not_taken_for_none(golden, photos, tmp_path):  # noqa: F811
  copy = shutil.copytree(golden, tmp_path / 'copy')
  about = copy / 'gencnp' / 'checkpoints' / '4' / 'about' / 'metadata'
  about.write_text(json.dumps(json.loads(about.read_text()) | {'format': 99}))
  with pytest.raises(ValueError, match='format 99'):
    image_files.explain_files(copy, [f'{photos}/0.png'], 'random')


def test_equal_names_do_not_overwrite_each_other():
  names = ['cat', 'dog', 'cat', 'cat', 'cat-2']
  stems = image_files._stems(names)
  assert len(set(stems)) == 5
  assert stems[:3] == ['cat', 'dog', 'cat-2']


def test_a_typo_names_the_nearest_method(golden, photos):  # noqa: F811
  with pytest.raises(ValueError, match="Did you mean 'neuron_mct'"):
    image_files.explain_files(golden, [str(photos)], 'neuron_mtc')
  with pytest.raises(ValueError, match=r'--sparsity=1\.0: must be between'):
    image_files.explain_files(golden, [str(photos)], sparsity=1.0)
  for layer in (0, 7):  # Counted from 1, as the picture does.
    with pytest.raises(ValueError, match=rf'layer={layer}: .* at \[1, 2\]'):
      image_files.explain_files(golden, [str(photos)], layer=layer)


def test_an_empty_layer_is_a_warning():
  masks = (np.ones((1, 2, 2, 1), bool), np.zeros((1, 3), bool))
  logits = np.array([[0.0, 1.0]], np.float32)
  record = image_record.describe(
    Explanation(masks, logits, logits[:, ::-1]), 0, ['cat', 'dog']
  )
  assert re.match('No neuron of layer 2 is on', record['warnings'][0])
  assert record['same_class'] is False
  assert [row['class'] for row in record['top']] == ['dog', 'cat']


def _command(*arguments):
  env = os.environ | {'PYTHONPATH': str(pathlib.Path(__file__).parents[1])}
  return subprocess.run(
    [sys.executable, *arguments], capture_output=True, text=True, env=env
  )


def test_the_command_in_one_line_or_an_error_in_one(photos, tmp_path):
  code = (
    'import sys; from tests import tiny; from gencnp_jax import commands\n'
    'with tiny.in_the_zoo(): commands.main()'
  )
  done = _command(
    *('-c', code, 'explain', f'--workdir={tmp_path}'),
    f'--image={photos}/0.png',
  )
  assert done.returncode == 1
  assert 'there is no checkpoint here' in done.stderr
  assert 'Traceback' not in done.stderr


def test_a_verb_with_a_typo_and_no_verb_at_all():
  code = 'from gencnp_jax import commands; commands.main()'
  assert 'gencnp explain --workdir' in _command('-c', code).stdout
  done = _command('-c', code, 'explian')
  assert done.returncode == 1
  assert "Did you mean 'explain'?" in done.stderr


@pytest.mark.parametrize(
  'verb, flag', [('train', '--config'), ('explain', '--image')]
)
def test_help_of_a_verb_says_its_flags(verb, flag):
  code = 'from gencnp_jax import commands; commands.main()'
  done = _command('-c', code, verb, '--help')
  assert done.returncode == 0, done.stderr
  assert f'  {flag}: ' in done.stdout and '  --workdir: ' in done.stdout
  assert done.stdout.startswith(('Trains a target', 'Explains image files'))


def test_training_verbs_choose_the_stages(monkeypatch):
  from absl import app

  from gencnp_jax import commands

  monkeypatch.delenv('GENCNP_TRACEBACK', raising=False)
  ran = []
  monkeypatch.setattr(
    app, 'run', lambda main, argv, flags_parser: ran.append(argv)
  )
  with pytest.raises(SystemExit, match='gencnp train is short for'):
    monkeypatch.setattr(
      sys, 'argv', ['gencnp', 'train', '--config=x', '--config.stages=report']
    )
    commands.main()
  for verb in ('run', 'train', 'evaluate', 'report'):
    monkeypatch.setattr(sys, 'argv', ['gencnp', verb, '--config=x.py'])
    commands.main()
  assert [argv[1:] for argv in ran] == [
    ['--config=x.py'],
    ['--config=x.py', '--config.stages=target,gencnp'],
    ['--config=x.py', '--config.stages=evaluate,experiments'],
    ['--config=x.py', '--config.stages=report'],
  ]


def test_where_results_go_by_default(golden, photos):  # noqa: F811
  image_files.explain_files(golden / 'gencnp', [f'{photos}/1.png'])
  home = workspace.find(golden, 'gencnp')
  assert (home / 'explained/gencnp/1.json').exists()

"""What a workdir holds, damaged: made again with a warning, or refused by name."""

import io
import json
import math
import types

import numpy as np
import pytest
from etils import epath
from hypothesis import strategies as st

from gencnp_jax import products, settings, workspace
from gencnp_jax.experiments import methods, registry, stored
from gencnp_jax.experiments import run as run_lib
from gencnp_jax.report import plot
from gencnp_jax.runtime import run_log, workdir
from gencnp_jax.training import loop
from tests.fuzz import cases

RNG = np.random.default_rng(0)
CONFIG = json.loads(json.dumps(settings.defaults().to_dict()))
SECTION = CONFIG['evaluate']
SETTLED = {'limit': 24, 'split': 'test', 'sparsities': [0.5, 0.9]}
NUMBERS = {'rows': [{'method': 'GEN-CNP', 'agreement': 0.75}], 'seconds': 2.5}
ARRAYS = {
  'bits': RNG.integers(0, 256, (40, 200)).astype(np.uint8),
  'predictions': np.arange(40),
  'cam/GEN-CNP': RNG.random((6, 9, 9)).astype(np.float32),
}


def _json(content):
  return json.dumps(content, indent=2).encode()


def _npz(*arrays, **named):
  file = io.BytesIO()
  np.savez_compressed(file, *arrays, **named)
  return file.getvalue()


# JSON that is none, or of another shape.
TEXTS = st.sampled_from(
  (b'', b'\xff\xfe\x00', b'[1]', b'null', b'NaN', b'"a"', b'{', b'3')
) | cases.JSON.map(_json)


# config.json


def _flat(tree, prefix=''):
  for key, value in tree.items():
    if isinstance(value, dict):
      yield from _flat(value, f'{prefix}{key}.')
    else:
      yield f'{prefix}{key}', value


def _bound(config):
  """Returns the fields of JSON that bind later runs."""
  return {
    name: value
    for name, value in _flat(config)
    if not {name, name.partition('.')[0]} & set(settings.FREE)
  }


@cases.several(10, 500, content=cases.damaged(_json(CONFIG)) | TEXTS)
def test_a_damaged_config_binds_nobody_to_another(tmp_path, content):
  path = epath.Path(tmp_path) / workdir.CONFIG
  path.write_bytes(content)
  try:
    workdir.check_config(path.parent, CONFIG, settings.FREE, CONFIG)
  except workdir.WorkdirError as error:
    said = str(error)
    assert str(path) in said or f'--workdir={tmp_path}' in said
    assert path.read_bytes() == content
    return
  before = _bound(json.loads(content))
  assert all(_bound(CONFIG).get(k) == v for k, v in before.items())
  assert json.loads(path.read_text()) == CONFIG


def test_a_config_without_end_is_refused(tmp_path):
  (tmp_path / workdir.CONFIG).write_text(cases.DEEP)
  with pytest.raises(workdir.WorkdirError, match='is damaged'):
    workdir.check_config(epath.Path(tmp_path), CONFIG, ())


# results.json


@cases.several(
  10,
  400,
  content=cases.damaged(_json({'settings': SECTION} | NUMBERS))
  | TEXTS
  | st.dictionaries(st.sampled_from(list(SECTION)), cases.JSON).map(
    lambda section: _json({'settings': section})
  ),
)
def test_damaged_results_are_made_again(tmp_path, content):
  path = epath.Path(tmp_path) / products.RESULTS
  path.write_bytes(content)
  done = products.is_evaluated(path.parent, SECTION)
  assert path.read_bytes() == content
  if done:
    before = json.loads(content)['settings']
    assert {k: before.get(k) for k in SECTION} == SECTION


@pytest.mark.parametrize(
  'content', [cases.DEEP, '{"settings": [1]}', '{"settings": "a"}']
)
def test_results_of_another_shape_are_made_again(tmp_path, content):
  (tmp_path / products.RESULTS).write_text(content)
  assert not products.is_evaluated(epath.Path(tmp_path), SECTION)


# evaluate/*.json and experiments/*/measured.json


def _measured(path):
  """Calls `part`; returns what it gave, and whether it measured."""
  calls = []

  def measure():
    calls.append(1)
    return dict(NUMBERS)

  return run_lib.part(path, SETTLED, measure), bool(calls)


@pytest.fixture(scope='module')
def measured(tmp_path_factory):
  """The bytes of a file of `part`."""
  path = epath.Path(tmp_path_factory.mktemp('part')) / 'mine.json'
  _measured(path)
  return path.read_bytes()


@cases.several(10, 500, data=st.data())
def test_a_damaged_part_is_measured_again(tmp_path, measured, data):
  path = epath.Path(tmp_path) / 'mine.json'
  (tmp_path / 'other.json').write_bytes(measured)
  path.write_bytes(data.draw(cases.damaged(measured) | TEXTS))
  found, again = _measured(path)
  assert found['settings'] == json.loads(measured)['settings']
  assert (tmp_path / 'other.json').read_bytes() == measured
  if again:
    stored = json.loads(path.read_bytes())
    assert stored.pop('checksum') and stored == found
    assert _measured(path) == (found, False)


def test_a_part_without_end_is_measured_again(tmp_path):
  (tmp_path / 'mine.json').write_text(cases.DEEP)
  assert _measured(epath.Path(tmp_path) / 'mine.json')[1]


@pytest.mark.parametrize(
  'before, after', [('0.75', '0.35'), ('"rows"', '"bows"')]
)
def test_a_damaged_number_is_measured_again(tmp_path, measured, before, after):
  path = epath.Path(tmp_path) / 'mine.json'
  path.write_text(measured.decode().replace(before, after))
  found, again = _measured(path)
  assert again and found['rows'] == NUMBERS['rows']


@cases.several(
  10,
  400,
  content=cases.damaged(_json({'settings': SETTLED} | NUMBERS))
  | TEXTS
  | cases.JSON.map(lambda value: _json({'settings': value}))
  | st.just(cases.DEEP.encode()),
)
def test_the_report_leaves_damaged_numbers_out(tmp_path, monkeypatch, content):
  module = types.SimpleNamespace(
    settled=lambda run: SETTLED,
    measure=pytest.fail,
    present=lambda run, found: found,
  )
  monkeypatch.setattr(registry, 'EXPERIMENTS', {'mine': module})
  run = types.SimpleNamespace(folder=lambda name: epath.Path(tmp_path))
  (tmp_path / stored.MEASURED).write_bytes(content)
  found = registry.results(run)
  if found:
    before = found['mine']['settings']
    assert {k: before.get(k) for k in SETTLED} == SETTLED
  assert (tmp_path / stored.MEASURED).read_bytes() == content


# Arrays


@cases.several(10, 400, content=cases.damaged(_npz(**ARRAYS)))
def test_damaged_arrays_of_an_experiment_are_named(tmp_path, content):
  path = epath.Path(tmp_path) / 'mine.npz'
  path.write_bytes(content)
  try:
    found = stored.Arrays(path)
  except ValueError as error:
    assert str(path) in str(error)
    assert f'remove {tmp_path / stored.MEASURED} and add' in str(error)
    return
  assert found.keys() == ARRAYS.keys()
  for name, array in ARRAYS.items():
    np.testing.assert_array_equal(found[name], array)
  with pytest.raises(ValueError, match=r'mine\.npz has no other; remove'):
    found['other']


def test_arrays_that_are_gone_are_named(tmp_path):
  with pytest.raises(ValueError, match=r'mine\.npz is gone; remove .* and add'):
    stored.Arrays(epath.Path(tmp_path) / 'mine.npz')


def _of_run(folder):
  """Reads the arrays that stages evaluate and gencnp left."""
  run = run_lib.Run(None, epath.Path(folder), None)
  return {
    'details.npz': lambda: run.details,
    'mine_pathways.npz': lambda: {
      'bits': methods.read_pathways(run.evaluate_folder, 'mine', (1600,)).bits
    },
    'off.npz': lambda: workspace.read_off(folder, {'off': 'mean'}),
  }


def _damages(whole):
  """Yields some damages of an .npz file that NumPy fails on, or does not see."""
  yield from (b'', b'mine', whole[:60], whole[:-30], _npz(other=np.zeros(3)))
  for place in range(0, len(whole), 97):
    yield whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :]


@pytest.mark.parametrize(
  'name', ['details.npz', 'mine_pathways.npz', 'off.npz']
)
def test_damaged_arrays_of_a_run_are_named(tmp_path, name):
  whole = _npz(ARRAYS['bits']) if name == 'off.npz' else _npz(**ARRAYS)
  folder = tmp_path / ('gencnp' if name == 'off.npz' else 'evaluate')
  folder.mkdir()
  for content in _damages(whole):
    (folder / name).write_bytes(content)
    try:
      found = _of_run(tmp_path)[name]()
      # Of a whole file of another kind, whoever asks says what is missing.
      bits = (
        found[0] if name == 'off.npz' else found.get('bits', ARRAYS['bits'])
      )
    except ValueError as error:
      assert str(folder / name) in str(error)
      continue
    np.testing.assert_array_equal(bits, ARRAYS['bits'])


@pytest.mark.parametrize('name', ['details.npz', 'off.npz'])
def test_arrays_of_a_run_that_are_gone_are_named(tmp_path, name):
  with pytest.raises(ValueError, match=name):
    _of_run(tmp_path)[name]()


# log.jsonl


def _log(path):
  log = run_log.RunLog(path)
  for step in range(1, 5):
    log.write(step, 'train', loss=1 / step, accuracy=0.5, images_per_second=9.0)
    log.write(step, 'validation', loss=math.nan, accuracy=0.25)
  return path.read_bytes()


LINES = st.sampled_from(
  (
    b'{"step": 1}\n',
    b'[1]\n',
    b'{"step": "1", "split": "train"}\n',
    b'{"step": 1e999, "split": "train", "loss": 1}\n',
    b'{"step": 2, "split": "train", "loss": "x"}\n',
    b'{"step": 2, "split": "train", "loss": ' + b'1' * 4000 + b'}\n',
    b'{"step": 2, "split": ["train"], "loss": 1}\n',
    cases.DEEP.encode() + b'\n',
    b'\xff\n',
    b'n\0u\0l\0l\0\n',
  )
) | cases.JSON.map(lambda value: json.dumps(value).encode() + b'\n')


@cases.several(10, 400, data=st.data(), more=st.lists(LINES, max_size=2))
def test_damaged_lines_of_a_log_are_left_out(tmp_path, data, more):
  path = epath.Path(tmp_path) / 'log.jsonl'
  whole = _log(path)
  before = [json.dumps(record) for record in run_log.read(path)]
  damaged = data.draw(st.just(whole) | cases.damaged(whole))
  path.write_bytes(b''.join(more) + damaged)
  found = run_log.read(path)
  if damaged == whole:
    assert [json.dumps(record) for record in found][-len(before) :] == before
  for record in found:
    assert isinstance(record['step'], int) and isinstance(record['split'], str)
    float(record['step'])
  log = run_log.RunLog(path, from_step=2)
  log.write(3, 'train', loss=0.5)
  again = run_log.read(path)
  kept = [json.dumps(r) for r in found if r['step'] <= 2]
  assert [json.dumps(record) for record in again[:-1]] == kept


@cases.several(3, 40, data=st.data())
def test_a_damaged_log_is_drawn_or_said_to_be_none(tmp_path, data):
  path = epath.Path(tmp_path) / 'log.jsonl'
  whole = _log(path)
  path.write_bytes(data.draw(LINES) + data.draw(cases.damaged(whole)))
  try:
    assert plot.training_curves(run_log.read(path)).axes
  except ValueError as error:
    assert str(error).startswith('records')


# Settings that only the data make impossible.


def test_more_steps_than_int32_counts_are_refused():
  images = np.zeros((40_000, 1, 1, 3), np.uint8)
  splits = types.SimpleNamespace(train=types.SimpleNamespace(images=images))
  section = settings.defaults().target
  section.epochs, section.batch_size = 1e6, 4
  with pytest.raises(ValueError, match='epochs'):
    loop.train(
      *(None, None, splits, section, None, None),
      **{'seed': 0, 'crop_pad': 0, 'flip': False, 'runtime': None},
    )

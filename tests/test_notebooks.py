"""The notebooks: clean as they are stored, and run from top to bottom."""

import base64
import io
import json
import os
import pathlib
import re
import shutil

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image
from sklearn import datasets

from gencnp_jax import pathway
from tests import compilation, tiny

ROOT = pathlib.Path(__file__).parents[1]
NAMES = ('colab_explain', 'colab_your_model')
PICTURES = {
  'colab_explain': ['examples', 'one', 'core', 'compare'],
  'colab_your_model': ['gallery'],
}
# Compiling AlexNet and its GEN-CNP takes a minute. A net of two convolutions
# stands in for it, on the digits as they were before they were enlarged.
SMALL_ZOO = """
from flax import linen as nn
from gencnp_jax import workspace
from tests import tiny

class Small(tiny.TinyNet):
  def __call__(self, images, train=False):
    return super().__call__(nn.avg_pool(images, (4, 4), (4, 4)), train)

workspace._ZOO['alexnet'] = Small
"""
IMPORTED = "import sys; 'tensorflow' in sys.modules"
RAISES = 'raises-exception'  # nbclient's name of a cell that may.


def load(name):
  """Returns the cells of a stored notebook, by their ids."""
  notebook = nbformat.read(ROOT / 'launch' / f'{name}.ipynb', as_version=4)
  return {cell.id: cell for cell in notebook.cells}


def code(source, id, tags=()):
  cell = nbformat.v4.new_code_cell(source, id=id)
  cell.metadata.tags = list(tags)
  return cell


def run(cells, folder, **env):
  """Runs cells in one fresh kernel; returns those with outputs, by ids."""
  decoy = folder / 'decoy' / 'tensorflow.py'
  decoy.parent.mkdir(exist_ok=True)
  decoy.write_text("__version__ = '0'\n")  # To be found, as in Colab.
  cells = [*cells, code(IMPORTED, 'imported')]
  notebook = nbformat.v4.new_notebook(cells=cells)
  nbformat.validate(notebook)
  env = {
    'JAX_PLATFORMS': 'cpu',
    'JAX_COMPILATION_CACHE_DIR': str(folder / 'compiled'),
    'IPYTHONDIR': str(folder / 'ipython'),
    'PYTHONPATH': f'{ROOT}{os.pathsep}{decoy.parent}',
    'GENCNP_WORKDIR': '',
  } | env
  NotebookClient(
    notebook,
    timeout=1200,
    kernel_name='python3',
    resources={'metadata': {'path': str(folder)}},
  ).execute(env=os.environ | env)
  return {cell.id: cell for cell in notebook.cells if cell.get('outputs')}


def quick(devices=1):
  """The environment of a run of seconds: little training and optimisation."""
  return {
    'GENCNP_NOTEBOOK_SMOKE': '1',
    'XLA_FLAGS': (
      f'{compilation.QUICK} --xla_force_host_platform_device_count={devices}'
    ),
  }


def said(cell):
  """What a cell printed, the result of its last line, or its error."""
  return ''.join(
    output.get('text')
    or output.get('evalue')
    or output.get('data', {}).get('text/plain', '')
    for output in cell.outputs
  )


def pictures(cells):
  """Returns the pictures that cells have put out, by the cells' ids."""
  found = {}
  for id, cell in cells.items():
    for output in cell.outputs:
      if 'image/png' in output.get('data', {}):
        content = base64.b64decode(output.data['image/png'])
        found[id] = Image.open(io.BytesIO(content))
  return found


def check_pictures(cells, names):
  drawn = pictures(cells)
  assert list(drawn) == names
  for picture in drawn.values():
    assert min(picture.size) > 500
    assert len(np.unique(np.asarray(picture.convert('L')))) > 50


def with_parameters(cell, id, **values):
  """A copy of a cell, with other values behind `NAME = `."""
  source = cell.source
  for name, value in values.items():
    source, count = re.subn(
      rf'^{name} = .*(?=  # @param)', f'{name} = {value!r}', source, flags=re.M
    )
    assert count == 1
  return code(source, id)


# ------------------------------------------------------------------------------
# As they are stored.


@pytest.mark.parametrize('name', NAMES)
def test_a_stored_notebook_is_valid_and_clean(name):
  path = ROOT / 'launch' / f'{name}.ipynb'
  notebook = nbformat.read(path, as_version=nbformat.NO_CONVERT)
  nbformat.validate(notebook)
  assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
  assert notebook.metadata.kernelspec.name == 'python3'
  for cell in notebook.cells:
    assert re.fullmatch('[a-z]+(-[a-z]+)*', cell.id)  # None drawn at random.
    assert not cell.metadata
    if cell.cell_type == 'code':
      assert cell.outputs == [] and cell.execution_count is None
  assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
  assert notebook.cells[0].source.startswith('# ')


# ------------------------------------------------------------------------------
# colab_explain: trained and opened, then opened again, and by other paths.


@pytest.fixture(scope='module')
def first(tmp_path_factory):
  """The folder and the outputs of a first run, on two devices."""
  folder = tmp_path_factory.mktemp('explain')
  cells = [code(SMALL_ZOO, 'zoo'), *load('colab_explain').values()]
  return folder, run(cells, folder, **quick(devices=2))


@pytest.fixture(scope='module')
def second(first, tmp_path_factory):
  """The notebook opened there again, on one device, and with other paths.

  Returns:
    What lay in the workdir before and after; the outputs.
  """
  folder, _ = first
  workdir = folder / 'runs' / 'colab_digits_smoke'
  birds = tmp_path_factory.mktemp('birds')
  shutil.copytree(workdir, birds / 'run')
  for path in birds.glob('run/target/checkpoints/*/about/metadata'):
    about = json.loads(path.read_text()) | {'data': 'birds'}
    path.write_text(json.dumps(about))
  for i, digit in enumerate(datasets.load_digits().images[:3]):
    picture = Image.fromarray((digit * 15).astype(np.uint8))
    picture.resize((60, 40)).save(birds / f'{i}.png')

  cells = load('colab_explain')
  set_it = f'os.environ["GENCNP_WORKDIR"] = {str(folder / "nowhere")!r}'

  def again(id, label, **values):
    return with_parameters(cells[id], f'{id}-{label}', **values)

  def failing(id, label):
    return code(cells[id].source, f'{id}-{label}', [RAISES])

  here = {'WORKDIR': str(birds / 'run')}
  start = list(cells).index('images')
  opening, explaining = list(cells)[:start], list(cells)[start:]
  before = tiny.files(workdir)
  outputs = run(
    [
      code(SMALL_ZOO, 'zoo'),
      *(cells[id] for id in opening),
      code(set_it, 'environment'),
      again('parameters', 'nowhere'),
      failing('about', 'nowhere'),
      again('parameters', 'birds', **here),
      again('about', 'birds'),
      again('open', 'birds'),
      failing('images', 'birds'),
      again('parameters', 'own', **here, IMAGES=[f'{birds}/*.png']),
      *(again(i, 'own') for i in explaining if cells[i].cell_type == 'code'),
    ],
    folder,
    **quick(),
  )
  return before, tiny.files(workdir), outputs


def test_the_example_is_trained_explained_and_drawn(first):
  folder, outputs = first
  assert said(outputs['example']).count('stage') == 2
  lines = said(outputs['about']).splitlines()
  assert lines[:3] == [
    'target     alexnet',
    'data       digits, images of 32 x 32 x 3',
    'classes    10: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9',
  ]
  assert 'jax' in lines[3] and lines[5].startswith('opened on  2 x cpu')
  assert lines[4].startswith('trained on 2 x cpu')
  assert '384' in said(outputs['open'])  # 8 x 8 x 4 and 4 x 4 x 8 neurons.
  assert said(outputs['images']) == '64 images\n'
  check_pictures(outputs, PICTURES['colab_explain'])
  saved = pathway.Explanation.load(folder / 'explanation.npz')
  summary = said(outputs['explain'])
  assert f'{saved.agreement.mean():.1%} of the images keep' in summary
  assert f'{saved.firing_sparsity.mean():.1%} of the neurons are' in summary
  assert len(saved) == 64 and len(summary.splitlines()) == 3 + 1 + 6


def test_a_second_run_trains_nothing(second):
  before, after, outputs = second
  assert before and before == after
  assert 'opened on  1 x cpu' in said(outputs['about'])


def test_a_path_without_a_run_is_told_in_one_message(second):
  message = said(second[2]['about-nowhere'])
  assert re.match('.*/nowhere: there is no checkpoint here of a ', message)
  assert 'holds' in message and 'runs' in message


def test_images_are_asked_for_where_the_data_are_not_here(second):
  outputs = second[2]
  assert 'data       birds' in said(outputs['about-birds'])
  message = said(outputs['images-birds'])
  assert 'birds' in message and "IMAGES = ['cat.png']" in message


def test_own_images_are_explained_without_the_data(second):
  outputs = second[2]
  assert said(outputs['images-own']) == '3 images\n'
  assert len(said(outputs['explain-own']).splitlines()) == 3 + 1 + 3
  check_pictures(outputs, [f'{i}-own' for i in PICTURES['colab_explain']])
  assert '3 images' in said(outputs['save-own'])


# ------------------------------------------------------------------------------
# colab_your_model


def check_your_model(outputs):
  assert 'of the test images are right' in said(outputs['train'])
  assert '2,304' in said(outputs['target'])
  assert 'Trained in' in said(outputs['fit'])
  tables = outputs['evaluate'].outputs[-1].data['text/html']
  for word in ('GEN-CNP', 'NeuronMCT', 'Random', 'Agreement', 'Swap leak'):
    assert word in tables
  check_pictures(outputs, PICTURES['colab_your_model'])


@pytest.fixture(scope='module')
def your_model(tmp_path_factory):
  folder = tmp_path_factory.mktemp('your_model')
  return run(load('colab_your_model').values(), folder, **quick())


def test_your_model_is_trained_explained_measured_and_drawn(your_model):
  check_your_model(your_model)


# ------------------------------------------------------------------------------
# Both.


def test_neither_imports_tensorflow(first, second, your_model):
  for outputs in (first[1], second[2], your_model):
    assert said(outputs['imported']) == 'False'


def share(text, what):
  """Returns the number before '% of the ... `what`'."""
  return float(re.search(rf'([\d.]+)% of the [\w ]*{what}', text)[1])


@pytest.mark.long
@pytest.mark.parametrize('name', NAMES)
def test_as_it_is_stored(name, tmp_path):
  outputs = run(
    load(name).values(), tmp_path, GENCNP_NOTEBOOK_SMOKE='', XLA_FLAGS=''
  )
  assert said(outputs['imported']) == 'False'
  if name == 'colab_your_model':
    check_your_model(outputs)
    assert share(said(outputs['train']), 'are right') > 90
    assert share(said(outputs['baseline']), 'keep their class') > 90
  else:
    check_pictures(outputs, PICTURES[name])
    assert said(outputs['images']) == '360 images\n'
    assert share(said(outputs['explain']), 'keep their class') > 90
    assert share(said(outputs['explain']), 'are off') > 60

"""An evaluation that is asked to end goes on with the next block."""

import json
import zipfile

import numpy as np
import pytest

import gencnp_jax
from gencnp_jax import explainers
from gencnp_jax.explainers import kept
from gencnp_jax.runtime import blocks, preemption
from tests import tiny

IMAGES = tiny.images(30)
LABELS = np.arange(30) % 10
_OPTIONS = {
  'sparsities': (0.8, 0.95),
  'roap_sparsities': (0.5,),
  'batch_size': 8,
}


def _evaluate(path=None, settled=None):
  keep = path and kept.Kept(path, settled or {'of': [1, (2,)]})
  compared = gencnp_jax.evaluate(
    [explainers.NeuronMCT(tiny.target(), 0.9)],
    IMAGES,
    LABELS,
    keep=keep,
    **_OPTIONS,
  )
  rows = [*compared.rows(), *compared.curve_rows()]
  for row in rows:
    assert row.pop('seconds') > 0
    row.pop('images_per_second')
  bits = [e.masks.bits for e in (*compared, *compared.curve)]
  return json.dumps(rows), json.dumps(compared.roap), np.stack(bits)


def _same(a, b):
  assert a[:2] == b[:2]
  np.testing.assert_array_equal(a[2], b[2])


@pytest.fixture(scope='module')
def whole():
  return _evaluate()


@pytest.fixture
def interrupted(tmp_path, monkeypatch):
  """A file of two blocks and of nothing that came after."""
  path = tmp_path / 'mct.partial.npz'
  measure = blocks.map_blocks

  def ends(*arguments, **options):
    for i, found in enumerate(measure(*arguments, **options)):
      if 'first_row' in options and i == 2:
        raise preemption.Preempted()
      yield found

  with monkeypatch.context() as patch:
    patch.setattr(blocks, 'map_blocks', ends)
    with pytest.raises(preemption.Preempted) as ended:
      _evaluate(path)
  assert '16 images' in ended.value.saved and str(path) in ended.value.saved
  return path


def test_it_goes_on_bit_for_bit_and_leaves_nothing(whole, interrupted):
  _same(_evaluate(interrupted), whole)
  assert not interrupted.exists()


def test_without_an_end_nothing_is_written(whole, tmp_path):
  _same(_evaluate(tmp_path / 'x.npz'), whole)
  assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('damage', ['flip', 'cut', 'text', 'settings'])
def test_what_does_not_fit_is_measured_again(
  whole, interrupted, damage, caplog
):
  content = bytearray(interrupted.read_bytes())
  settled = None
  if damage == 'flip':
    content[_inside_an_array(interrupted)] ^= 1
  elif damage == 'cut':
    del content[len(content) // 2 :]
  elif damage == 'text':
    content[:] = b'notes'
  else:
    settled = {'of': 'another'}
  interrupted.write_bytes(content)
  _same(_evaluate(interrupted, settled), whole)
  said = 'other settings' if settled else 'damaged'
  assert str(interrupted) in caplog.text and said in caplog.text


def _inside_an_array(path):
  """Returns a place that a checksum covers: not all of a zip file is."""
  with zipfile.ZipFile(path) as archive:
    member = max(archive.infolist(), key=lambda m: m.file_size)
    return member.header_offset + member.file_size // 2


def test_one_explainer_at_a_time(tmp_path):
  both = [explainers.Random(tiny.target(), s) for s in (0.8, 0.9)]
  with pytest.raises(ValueError, match='one explainer'):
    gencnp_jax.evaluate(both, IMAGES, keep=kept.Kept(tmp_path / 'x', {}))

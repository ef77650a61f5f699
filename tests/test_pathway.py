"""Masks: counting, packing, class-relevant pathways, files."""

import dataclasses
import json
import pickle
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

from gencnp_jax import pathway
from gencnp_jax.pathway import Explanation
from tests.reference import pathway as reference

SHAPES = ((2, 3, 3), (5,), (1, 1, 2))  # 25 neurons: the last byte is ragged.


@pytest.fixture
def masks():
  rng = np.random.default_rng(0)
  return tuple(rng.random((6, *s)) < 0.4 for s in SHAPES)


def _explanation(masks, importance=True, tied=True):
  rng = np.random.default_rng(1)
  n = len(masks[0])
  scores = tuple(rng.normal(size=m.shape).astype(np.float32) for m in masks)
  return Explanation(
    masks=masks,
    logits=rng.normal(size=(n, 4)).astype(np.float32),
    pathway_logits=rng.normal(size=(n, 4)).astype(np.float32),
    importance=scores if importance else None,
    tied=rng.random(n).astype(np.float32) if tied else None,
    method='NeuronMCT' if importance else '',
  )


def _assert_same(a, b):
  for name in ('masks', 'importance'):
    mine, its = getattr(a, name), getattr(b, name)
    assert (mine is None) == (its is None)
    for x, y in zip(mine or (), its or (), strict=True):
      assert x.dtype == y.dtype
      np.testing.assert_array_equal(x, y)
  np.testing.assert_array_equal(a.logits, b.logits)
  np.testing.assert_array_equal(a.pathway_logits, b.pathway_logits)
  assert (a.tied is None) == (b.tied is None)
  if a.tied is not None:
    np.testing.assert_array_equal(a.tied, b.tied)
  assert a.method == b.method


def test_flat_and_split_are_inverse(masks):
  rows = pathway.flat(masks)
  assert rows.shape == (6, 25) == (6, pathway.neuron_count(SHAPES))
  for a, b in zip(pathway.split(rows, SHAPES), masks, strict=True):
    np.testing.assert_array_equal(a, b)


def test_firing_sparsity_counts_what_is_off(masks):
  expected = reference.firing_sparsity(masks)
  for kind in (np.asarray, jnp.asarray, lambda m: jnp.float32(m)):
    given = tuple(kind(m) for m in masks)
    np.testing.assert_allclose(
      pathway.firing_sparsity(given), expected, rtol=1e-6
    )
  counts = pathway.layer_counts(masks)
  np.testing.assert_array_equal(
    counts, np.stack([m.reshape(6, -1).sum(1) for m in masks], 1)
  )


def test_counts_are_exact_for_large_layers():
  """Counted in float32, not in the mask's own 8 or 16 bits."""
  masks = (jnp.ones((1, 32, 32, 64), jnp.bfloat16), jnp.zeros((1, 3)))
  np.testing.assert_array_equal(pathway.layer_counts(masks), [[65536, 0]])


@pytest.mark.parametrize('kind', [np.asarray, jnp.asarray])
def test_packing_round_trip(masks, kind):
  rows = pathway.pack(tuple(kind(m) for m in masks))
  assert rows.shape == (6, 4) and rows.dtype == np.uint8
  bits = np.concatenate([m.reshape(6, -1) for m in masks], 1)
  np.testing.assert_array_equal(rows, np.packbits(bits, axis=1))
  unpacked = pathway.unpack(np.asarray(rows), SHAPES)
  for a, b in zip(unpacked, masks, strict=True):
    assert a.dtype == bool
    np.testing.assert_array_equal(a, b)


def test_packed_rows_of_another_target_are_refused(masks):
  rows = pathway.pack(masks)
  for shapes in (SHAPES[:2] + ((20,),), SHAPES[:1]):
    with pytest.raises(ValueError, match=r'rows has shape \(6, 4\)'):
      pathway.unpack(rows, shapes)


@pytest.mark.parametrize('threshold', [0.0, 0.3, 0.5, 0.99])
def test_class_pathways_against_a_loop(threshold):
  rng = np.random.default_rng(2)
  masks = tuple(rng.random((23, *s)) < 0.5 for s in SHAPES)
  labels = rng.choice([0, 1, 7], 23)
  labels[:10] = 1  # So that shares of exactly .3 and .5 occur.
  expected = reference.class_pathways(masks, list(labels), threshold)
  result = pathway.class_pathways(masks, labels, threshold)
  assert list(result) == list(expected)
  for c, layers in expected.items():
    for a, b in zip(result[c], layers, strict=True):
      assert a.dtype == bool
      np.testing.assert_array_equal(a, b)


def test_a_class_of_one_image_keeps_its_pathway(masks):
  result = pathway.class_pathways(masks, np.array([0, 0, 0, 0, 0, 5]), 0.9)
  for a, m in zip(result[5], masks, strict=True):
    np.testing.assert_array_equal(a, m[5])


def test_class_pathways_errors(masks):
  labels = np.zeros(6, int)
  with pytest.raises(ValueError, match=r'labels has shape \(4,\).*6 images'):
    pathway.class_pathways(masks, labels[:4], 0.5)
  for threshold in (-0.1, 1.0, float('nan')):
    with pytest.raises(ValueError, match=f'threshold={threshold}'):
      pathway.class_pathways(masks, labels, threshold)


def test_what_an_explanation_says_of_itself(masks):
  masks = tuple(m.copy() for m in masks)
  for m in masks:
    m[:] = True
  masks[1][2] = False
  explanation = _explanation(masks)
  assert len(explanation) == 6
  np.testing.assert_array_equal(
    explanation.empty_layer, [False, False, True, False, False, False]
  )
  np.testing.assert_allclose(
    explanation.firing_sparsity, [0, 0, 0.2, 0, 0, 0], atol=1e-7
  )
  same = explanation.logits.argmax(1) == explanation.pathway_logits.argmax(1)
  np.testing.assert_array_equal(explanation.agreement, same)


# Files.


@pytest.mark.parametrize('importance', [True, False])
@pytest.mark.parametrize('tied', [True, False])
def test_save_and_load(masks, importance, tied, tmp_path):
  path = tmp_path / 'pathways.npz'
  explanation = _explanation(masks, importance, tied)
  explanation.save(path)
  assert [p.name for p in tmp_path.iterdir()] == ['pathways.npz']
  _assert_same(Explanation.load(str(path)), explanation)
  # Over an older file, and from arrays that are still on the device.
  on_device = _explanation(tuple(jnp.asarray(m) for m in masks), importance)
  on_device.save(path)
  _assert_same(Explanation.load(path), _explanation(masks, importance))


def test_masks_take_a_bit_each_on_disk(tmp_path):
  rng = np.random.default_rng(0)
  masks = (rng.random((64, 8, 8, 32)) < 0.5,)
  path = tmp_path / 'pathways.npz'
  _explanation(masks, importance=False).save(path)
  assert path.stat().st_size < 1.1 * masks[0].size / 8 + 6000


def _npz(path, **arrays):
  with path.open('wb') as file:
    np.savez(file, **arrays)


class _Bomb:
  def __reduce__(self):
    return (exec, ("raise SystemExit('a pickle was loaded')",))


def _damage(path, kind):
  whole = path.read_bytes()
  if kind == 'truncated':
    path.write_bytes(whole[: len(whole) // 2])
  elif kind == 'empty':
    path.write_bytes(b'')
  elif kind == 'flipped':
    with zipfile.ZipFile(path) as archive:
      start = archive.getinfo('logits.npy').header_offset
    flipped = bytearray(whole)
    for i in range(start + 60, start + 80):
      flipped[i] ^= 0x55
    path.write_bytes(bytes(flipped))
  elif kind == 'text':
    path.write_text('masks, logits')
  elif kind == 'npy':
    with path.open('wb') as file:
      np.save(file, np.zeros(3))
  elif kind == 'foreign npz':
    _npz(path, weights=np.zeros(3))
  elif kind == 'not json':
    _npz(path, about='masks')
  elif kind == 'other json':
    _npz(path, about='[1]')
  elif kind == 'no masks':
    about = {'format': 1, 'shapes': [], 'layers_of_importance': 0}
    _npz(path, about=json.dumps(about))
  elif kind == 'pickle':
    path.write_bytes(pickle.dumps(_Bomb()))
  elif kind == 'pickle inside':
    _npz(path, about=np.array([_Bomb()], dtype=object))
  elif kind == 'directory':
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
  'kind',
  [
    'truncated',
    'empty',
    'flipped',
    'text',
    'npy',
    'foreign npz',
    'not json',
    'other json',
    'no masks',
    'pickle',
    'pickle inside',
    'directory',
  ],
)
def test_a_file_that_is_no_explanation(masks, kind, tmp_path):
  path = tmp_path / 'pathways.npz'
  _explanation(masks).save(path)
  _damage(path, kind)
  with pytest.raises(ValueError, match=r'pathways.npz: not an explanation, or'):
    Explanation.load(path)


def test_no_file_and_another_format(masks, tmp_path, monkeypatch):
  path = tmp_path / 'pathways.npz'
  with pytest.raises(ValueError, match=r'pathways.npz: no such file'):
    Explanation.load(path)
  monkeypatch.setattr(pathway, 'FORMAT', 2)
  _explanation(masks).save(path)
  monkeypatch.undo()
  with pytest.raises(ValueError, match='format 2; this version reads format 1'):
    Explanation.load(path)


def test_an_interrupted_save_leaves_the_old_file(masks, tmp_path, monkeypatch):
  path = tmp_path / 'pathways.npz'
  _explanation(masks).save(path)

  def fail(file, **arrays):
    file.write(b'half')
    raise OSError('disk full')

  monkeypatch.setattr(np, 'savez_compressed', fail)
  with pytest.raises(OSError, match='disk full'):
    _explanation(masks, importance=False).save(path)
  _assert_same(Explanation.load(path), _explanation(masks))


def test_every_flipped_bit_is_noticed(tmp_path):
  """NumPy reads an array whose name or header was changed without a word."""
  rng = np.random.default_rng(0)
  kept = Explanation(
    masks=(rng.random((3, 4, 4, 2)) < 0.5,),
    logits=rng.normal(size=(3, 5)).astype(np.float32),
    pathway_logits=rng.normal(size=(3, 5)).astype(np.float32),
    tied=np.array([0.1, 0.2, 0.3], np.float32),
  )
  path = tmp_path / 'explanation.npz'
  kept.save(path)
  content = path.read_bytes()
  for place in range(0, len(content), 7):
    damaged = bytearray(content)
    damaged[place] ^= 1 << (place % 8)
    path.write_bytes(damaged)
    try:
      again = Explanation.load(path)
    except ValueError as error:
      assert str(path) in str(error)
      continue
    # Bits of no consequence, such as a date: then nothing may differ.
    np.testing.assert_array_equal(again.masks[0], kept.masks[0])
    np.testing.assert_array_equal(again.logits, kept.logits)
    np.testing.assert_array_equal(again.pathway_logits, kept.pathway_logits)
    np.testing.assert_array_equal(again.tied, kept.tied)


def test_some_images_of_an_explanation():
  rng = np.random.default_rng(0)
  whole = Explanation(
    masks=(rng.random((5, 2, 2, 3)) > 0.5, rng.random((5, 4)) > 0.5),
    logits=rng.random((5, 3)).astype(np.float32),
    pathway_logits=rng.random((5, 3)).astype(np.float32),
    importance=(rng.random((5, 2, 2, 3)), rng.random((5, 4))),
    tied=rng.random(5),
    method='Random',
  )
  for rows in (slice(1, 3), np.array([4, 0]), np.arange(5) > 2):
    part = whole[rows]
    assert part.method == 'Random'
    np.testing.assert_array_equal(
      part.firing_sparsity, whole.firing_sparsity[rows]
    )
    np.testing.assert_array_equal(part.agreement, whole.agreement[rows])
    np.testing.assert_array_equal(part.importance[1], whole.importance[1][rows])
    np.testing.assert_array_equal(part.tied, whole.tied[rows])
  bare = dataclasses.replace(whole, importance=None, tied=None)
  assert bare[:2].importance is None and bare[:2].tied is None
  with pytest.raises(TypeError, match=r'explanation\[3:4\]'):
    whole[3]

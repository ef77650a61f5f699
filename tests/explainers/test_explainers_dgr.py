"""DGR and DGR_R against a loop over images and steps of SGD."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gencnp_jax.explainers import DGR, activation_means
from gencnp_jax.target import Target
from tests import tiny
from tests.reference import dgr, slopes
from tests.reference import explainers as reference
from tests.training.conftest import compile_once  # noqa: F401

IMAGES = tiny.images(6)


def _normalised(images):
  p = tiny.target().preprocess
  return reference.normalise(images, p.mean, p.std)


def _params():
  return tiny.target().variables['params']


def _classes(images):
  own = [reference.forward(_params(), x)[0].argmax() for x in images]
  return np.array(own)


def _starts(explainer, images=IMAGES):
  """The gates that an explainer starts from: those after a step of nothing."""
  if explainer.init == 'ones':
    return tuple(np.ones((len(images), *shape)) for shape in tiny.SHAPES)
  still = dataclasses.replace(
    explainer, num_steps=1, learning_rate=1e-30, penalty=0.0
  )
  return still(images).importance


def _of(layers, n):
  return [layer[n] for layer in layers]


def _flat(layers):
  return np.concatenate([a.reshape(len(a), -1) for a in layers], axis=1)


def _net(params, images):
  """The tiny net in the precision of its arguments."""

  def convolve(x, layer):
    y = jax.lax.conv_general_dilated(
      x,
      layer['kernel'],
      (1, 1),
      'SAME',
      dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
    )
    return jax.nn.relu(y + layer['bias'].reshape(1, 1, 1, -1))

  kernel = params['Conv_0']['kernel']
  x = convolve(images.astype(kernel.dtype), params['Conv_0'])
  n, h, w, c = x.shape
  x = x.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))
  x = convolve(x, params['Conv_1']).mean((1, 2))
  last = params['Dense_0']
  return x @ last['kernel'] + last['bias'].reshape(1, -1)


@pytest.mark.parametrize('init', ['ones', 'random'])
def test_a_whole_run_equals_the_loop_in_float64(init):
  images = _normalised(IMAGES[:2])
  with jax.enable_x64(True):
    params = jax.tree.map(lambda p: np.asarray(p, np.float64), _params())
    target = Target(_net, params)
    explainer = DGR(target, 0.9, init=init)
    found = explainer(images)
    start = _starts(explainer, images)
  assert found.importance[0].dtype == np.float64
  clamped = []
  for n, image in enumerate(images):
    c = _classes(images)[n]
    gates, _, kept = dgr.learn(
      params, image, _of(start, n), c, 0.01, 1000, retries=9
    )
    assert kept
    for a, b in zip(found.importance, gates):
      np.testing.assert_allclose(a[n], b, atol=1e-6)
    reference.check_top(
      [m[n : n + 1] for m in found.masks],
      [g[None] for g in gates],
      round(0.1 * tiny.NEURONS),
    )
    clamped.append((slopes.flat(gates) == 0).sum())
  # A run to its end: gates grow, and others come to rest at 0.
  assert max(clamped) > 20 and slopes.flat(found.importance).max() > 1


@pytest.mark.parametrize('init', ['ones', 'random'])
def test_a_whole_run_in_float32(init):
  explainer = DGR(tiny.target(), 0.9, init=init)
  found = explainer(IMAGES)
  start = _starts(explainer)
  images, same = _normalised(IMAGES), []
  for n, (image, c) in enumerate(zip(images, _classes(images))):
    gates, _, _ = dgr.learn(
      _params(), image, _of(start, n), c, 0.01, 1000, retries=9
    )
    losses = [
      dgr.loss(_params(), image, g, 0.01)
      for g in (_of(found.importance, n), gates)
    ]
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
    cut = np.sort(slopes.flat(gates))[-round(0.1 * tiny.NEURONS)]
    on = slopes.flat(_of(found.masks, n))
    # Gates at zero tie: which of them fill the rest is drawn.
    tied = slopes.flat(gates) == cut
    same.append((on == (slopes.flat(gates) >= cut))[~tied])
  assert np.concatenate(same).mean() >= 0.999
  on = slopes.flat(found.masks).sum()
  assert on == len(IMAGES) * round(0.1 * tiny.NEURONS)


def test_other_classes_and_means_equal_the_loop():
  """Few steps; three images' class is another than the target says."""
  off = activation_means(tiny.target(), IMAGES)
  images = _normalised(IMAGES)
  classes = _classes(images)
  classes[3:] = (classes[3:] + 1) % tiny.CLASSES
  found = DGR(tiny.target(), 0.9, off=off, num_steps=40)(IMAGES, classes)
  kept = []
  for n, (image, c) in enumerate(zip(images, classes)):
    gates, _, did = dgr.learn(
      _params(), image, slopes.ones(), c, 0.01, 40, off=off
    )
    kept.append(did)
    for a, b in zip(found.importance, gates):
      np.testing.assert_allclose(a[n], b, atol=1e-4)
  # Where no step says the class, the last gates are what is left.
  assert all(kept[:3]) and not all(kept)
  masked = tiny.target().masked(jnp.asarray(IMAGES), found.masks, off)
  np.testing.assert_allclose(found.pathway_logits, masked, atol=1e-5)


def test_without_a_penalty_nothing_moves_from_ones():
  """The target distils itself already: its class is kept at once."""
  found = DGR(tiny.target(), 0.9, penalty=0.0, num_steps=50)(IMAGES)
  for gates in found.importance:
    np.testing.assert_allclose(gates, 1.0, atol=1e-4)
  logits = tiny.target().masked(jnp.asarray(IMAGES), found.importance)
  np.testing.assert_array_equal(logits.argmax(1), found.logits.argmax(1))


def test_without_a_penalty_random_gates_come_to_say_the_class():
  explainer = DGR(tiny.target(), 0.9, init='random', penalty=0.0)
  found = explainer(IMAGES)
  images = jnp.asarray(IMAGES)
  says = tiny.target().masked(images, found.importance).argmax(1)
  np.testing.assert_array_equal(says, found.logits.argmax(1))
  started = tiny.target().masked(images, _starts(explainer)).argmax(1)
  assert (started != says).any()


def test_a_penalty_that_flips_the_class_is_tried_again_at_a_tenth():
  """Images that are done keep their gates while others go on."""
  explainer = DGR(tiny.target(), 0.9, init='random', penalty=1.0, num_steps=200)
  found = explainer(IMAGES)
  start = _starts(explainer)
  images, runs = _normalised(IMAGES), []
  for n, (image, c) in enumerate(zip(images, _classes(images))):
    gates, ran, kept = dgr.learn(
      _params(), image, _of(start, n), c, 1.0, 200, retries=10
    )
    runs.append(ran if kept else None)
    for a, b in zip(found.importance, gates):
      np.testing.assert_allclose(a[n], b, atol=1e-4)
  # Done at once, after retries, and never in so few steps.
  assert 1 in runs and 3 in runs and None in runs, runs
  # Bitwise the same again; one image a device, the same to rounding.
  again, single = explainer(IMAGES), explainer(IMAGES, batch_size=1)
  for a, b, c in zip(found.importance, again.importance, single.importance):
    np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(a, c, atol=1e-5)
  np.testing.assert_array_equal(_flat(found.masks), _flat(again.masks))


def test_retries_end():
  """A class that no gates reach: as after a hundred retries."""
  params = jax.tree.map(np.array, _params())
  params['Dense_0']['bias'][7] = -30.0
  target = dataclasses.replace(tiny.target(), variables={'params': params})
  explainer = DGR(target, 0.9, init='random', penalty=3.0, num_steps=20)
  found = explainer(IMAGES[:1], np.array([7]))
  start = _of(_starts(dataclasses.replace(explainer, target=tiny.target())), 0)
  gates, runs, kept = dgr.learn(
    params, _normalised(IMAGES)[0], start, 7, 3.0, 20, retries=100
  )
  assert runs == 101 and not kept
  for a, b in zip(found.importance, gates):
    np.testing.assert_allclose(a[0], b, atol=1e-5)
  assert _flat(found.masks).sum() == round(0.1 * tiny.NEURONS)


def test_stragglers_of_a_large_batch_are_tried_again_as_if_alone():
  """Few are left of many, in parts of an eighth: nobody is lost or mixed up."""
  images = tiny.images(37, seed=4)
  explainer = DGR(tiny.target(), 0.9, init='random', num_steps=200, penalty=1.0)
  whole = explainer(images, batch_size=148)  # Ten rows a device.
  alone = explainer(images, batch_size=4)  # One row a device.
  for a, b in zip(whole.importance, alone.importance):
    np.testing.assert_allclose(a, b, atol=1e-3)


def test_starts_depend_on_seed_and_image_number_only():
  explainer = DGR(tiny.target(), 0.9, init='random', seed=3)
  gates = _flat(_starts(explainer))
  assert gates.min() >= 0 and gates.max() < 1
  assert abs(gates.mean() - 0.5) < 6 / np.sqrt(12 * gates.size)
  assert np.abs(np.corrcoef(gates)[0, 1:]).max() < 0.3
  for other, same in (
    (_starts(explainer, tiny.images(6, seed=8)), True),
    (_starts(dataclasses.replace(explainer, seed=4)), False),
  ):
    assert (_flat(other) == gates).all() == same


def test_names():
  assert DGR(tiny.target(), 0.9).name == 'DGR'
  assert DGR(tiny.target(), 0.9, init='random').name == 'DGR_R'


@pytest.mark.parametrize(
  'fields, message',
  [
    ({'init': 'zeros'}, "init='zeros': choose one of ones, random"),
    ({'num_steps': 0}, 'num_steps=0: .* 1 step at least'),
    ({'penalty': -0.1}, 'penalty=-0.1: .* 0 or more'),
    ({'learning_rate': 0.0}, 'learning_rate=0.0: .* above 0'),
    ({'momentum': 1.0}, 'momentum=1.0: .* not including, 1'),
    ({'momentum': float('nan')}, 'momentum=nan'),
  ],
)
def test_illegal_fields(fields, message):
  with pytest.raises(ValueError, match=message):
    DGR(tiny.target(), 0.9, **fields)


def test_init_in_the_place_of_the_seed():
  with pytest.raises(ValueError, match=r"DGR.*init='random'"):
    DGR(tiny.target(), 0.9, 'random')

"""Grad-CAM, gradients and integrated gradients against slow NumPy."""

import jax.numpy as jnp
import numpy as np
import pytest

from gencnp_jax import Explanation, attribution
from gencnp_jax.target import Target, TargetError
from tests import tiny
from tests.reference import attribution as reference
from tests.reference import explainers as forward

IMAGES = tiny.images(3)
CLASSES = np.array([0, 7, 2])
NORMAL = forward.normalise(
  IMAGES, tiny.target().preprocess.mean, tiny.target().preprocess.std
)
PARAMS = tiny.target().variables['params']
STD = np.asarray(tiny.target().preprocess.std)


def _masks(share=0.5, seed=0):
  rng = np.random.default_rng(seed)
  return tuple(
    rng.random((len(IMAGES), *shape)) < share for shape in tiny.SHAPES
  )


def _off():
  rng = np.random.default_rng(1)
  return tuple(rng.random(shape).astype(np.float32) for shape in tiny.SHAPES)


def _gates(masks):
  if masks is None:
    return tuple(np.ones((len(IMAGES), *shape)) for shape in tiny.SHAPES)
  return tuple(m.astype(np.float64) for m in masks)


WORN = [(None, None), (_masks(), None), (_masks(), _off())]


@pytest.mark.parametrize('layer', [0, 1])
@pytest.mark.parametrize('masks, off', WORN)
def test_grad_cam_equals_the_reference(layer, masks, off):
  found = attribution.grad_cam(
    tiny.target(), IMAGES, masks, off, CLASSES, layer
  )
  expected = reference.grad_cam(
    PARAMS, NORMAL, _gates(masks), CLASSES, layer, off or (0.0, 0.0)
  )
  assert found.dtype == np.float32
  assert found.shape == (3, *tiny.SHAPES[layer][:2])
  assert found.max() > 0
  np.testing.assert_allclose(found, expected, atol=2e-5)


@pytest.mark.parametrize('masks, off', WORN)
def test_gradients_equal_the_reference(masks, off):
  found = attribution.gradients(tiny.target(), IMAGES, masks, off, CLASSES)
  expected = reference.gradients(
    PARAMS, NORMAL, _gates(masks), CLASSES, STD, off or (0.0, 0.0)
  )
  assert found.shape == IMAGES.shape
  np.testing.assert_allclose(found, expected, atol=2e-4)


def test_integrated_gradients_equal_the_reference():
  steps, masks = 4, _masks(0.8)
  blank = np.full((8, 8, 3), 50, np.uint8)
  found = attribution.integrated_gradients(
    tiny.target(), IMAGES, masks, None, CLASSES, blank, steps
  )
  start = forward.normalise(blank, tiny.target().preprocess.mean, STD)
  difference = (IMAGES.astype(np.float64) - blank) / 255
  total = 0
  for step in range(steps):
    here = start + (step + 0.5) / steps * (NORMAL - start)
    total = total + reference.gradients(
      PARAMS, here, _gates(masks), CLASSES, STD
    )
  expected = difference * total / steps
  np.testing.assert_allclose(found.attributions, expected, atol=2e-4)
  ends = [
    [
      forward.forward(PARAMS, x, gate)[0][c]
      for x, gate, c in zip(images, zip(*_gates(masks)), CLASSES)
    ]
    for images in (NORMAL, np.broadcast_to(start, NORMAL.shape))
  ]
  rise = np.subtract(*ends)
  np.testing.assert_allclose(found.rise, rise, atol=1e-4)
  np.testing.assert_allclose(
    found.gap, expected.sum((1, 2, 3)) - rise, atol=5e-4
  )


def test_the_gap_closes_with_the_steps():
  """Completeness: the attributions add up to the rise of the logit."""
  few, many = (
    attribution.integrated_gradients(tiny.target(), IMAGES, steps=steps)
    for steps in (2, 100)
  )
  assert np.abs(few.gap).max() > 5 * np.abs(many.gap).max()
  assert (np.abs(many.gap) < 0.02 * np.abs(many.rise)).all()


def test_of_a_linear_target_one_step_is_exact():
  def linear(variables, images):
    x = jnp.maximum(images + 10.0, 0) - 10.0  # Always on.
    return x.reshape(x.shape[0], -1) @ variables

  weights = np.linspace(-1, 1, 8 * 3 * 4, dtype=np.float32).reshape(-1, 4)
  images = np.random.default_rng(0).random((2, 4, 6, 1), np.float32)
  target = Target(linear, weights)
  found = attribution.integrated_gradients(target, images, steps=1)
  classes = np.asarray(target(jnp.asarray(images))).argmax(1)
  expected = images * weights[:, classes].T.reshape(images.shape)
  np.testing.assert_allclose(found.attributions, expected, atol=1e-5)
  np.testing.assert_allclose(found.gap, 0, atol=1e-4)


def test_the_class_is_the_full_target_s_own():
  """Also under a pathway that says another class."""
  own = np.asarray(tiny.target()(IMAGES)).argmax(1)
  masks = tuple(np.zeros((1, *shape), bool) for shape in tiny.SHAPES)
  masks[1][..., :2] = True
  said = np.asarray(tiny.target().masked(IMAGES, masks)).argmax(1)
  assert (said != own).any()
  for fn in (attribution.grad_cam, attribution.gradients):
    np.testing.assert_array_equal(
      fn(tiny.target(), IMAGES, masks),
      fn(tiny.target(), IMAGES, masks, classes=own),
    )


def test_all_on_is_the_full_target_and_one_for_all_is_broadcast():
  ones = tuple(np.ones((1, *shape), bool) for shape in tiny.SHAPES)
  for fn in (attribution.grad_cam, attribution.gradients):
    np.testing.assert_allclose(
      fn(tiny.target(), IMAGES, ones), fn(tiny.target(), IMAGES), atol=1e-6
    )


def test_a_pathway_of_no_neuron_has_no_heat():
  none = tuple(np.zeros((1, *shape), bool) for shape in tiny.SHAPES)
  assert not attribution.grad_cam(tiny.target(), IMAGES, none).any()
  slopes = attribution.gradients(tiny.target(), IMAGES, none)
  assert not slopes.any()
  assert not attribution.saliency(slopes).any()


def test_batches_and_devices_change_nothing():
  found = [
    attribution.grad_cam(tiny.target(), IMAGES, _masks(), batch_size=size)
    for size in (None, 1)
  ]
  np.testing.assert_allclose(*found, atol=1e-6)


def test_uint8_and_floats_are_the_same_images():
  floats = IMAGES.astype(np.float32) / 255
  for fn in (attribution.grad_cam, attribution.gradients):
    np.testing.assert_array_equal(
      fn(tiny.target(), IMAGES), fn(tiny.target(), floats)
    )


def test_saliency_is_the_larger_extreme_over_the_image_s_largest():
  slopes = np.array([[[[-4.0, 1.0], [2.0, -1.0]]]])
  np.testing.assert_array_equal(attribution.saliency(slopes), [[[1.0, 0.5]]])


def test_layers_by_number_and_what_has_no_map():
  def net(variables, images):
    x = jnp.maximum(images, 0)
    x = jnp.maximum(x.mean((1, 2)) - 0.1, 0)
    return x @ variables

  images = np.random.default_rng(0).random((2, 4, 6, 3), np.float32)
  target = Target(net, np.eye(3, dtype=np.float32))
  # The last layer is fully connected: the last map is the one before.
  assert attribution.grad_cam(target, images).shape == (2, 4, 6)
  np.testing.assert_array_equal(
    attribution.grad_cam(target, images, layer=-2),
    attribution.grad_cam(target, images, layer=0),
  )
  for layer in (1, -1, 5):
    with pytest.raises(ValueError, match=rf'layer={layer}: .* at \[0\]'):
      attribution.grad_cam(target, images, layer=layer)
  for layer in (-3, '1'):
    with pytest.raises(ValueError, match=f'layer={layer!r}: .* at least -2'):
      attribution.grad_cam(target, images, layer=layer)


@pytest.mark.parametrize(
  'changes, message',
  [
    ({'images': IMAGES[0]}, r'image\[None\]'),
    ({'masks': _masks()[:1]}, 'masks holds 1 arrays'),
    (
      {'masks': Explanation(_masks(), np.eye(3), np.eye(3))},
      r'pass its masks: found\.masks',
    ),
    (
      {'masks': tuple(m[:2] for m in _masks())},
      r'masks\[0\] has shape \(2, 8, 8, 4\)',
    ),
    ({'classes': [0, 1, 10]}, r'classes\[2\]=10'),
    ({'classes': [0, 1]}, 'there are 3 images'),
  ],
)
def test_what_does_not_fit_is_named(changes, message):
  arguments = {'target': tiny.target(), 'images': IMAGES} | changes
  for fn in (attribution.grad_cam, attribution.gradients):
    with pytest.raises(ValueError, match=message):
      fn(**arguments)


def test_what_stands_in_must_fit_and_needs_masks():
  fn, off = attribution.grad_cam, _off()
  with pytest.raises(ValueError, match='off holds 1 arrays'):
    fn(tiny.target(), IMAGES, _masks(), off[:1])
  with pytest.raises(ValueError, match=r'off\[0\] has shape'):
    fn(tiny.target(), IMAGES, _masks(), (off[0][1:], off[1]))
  with pytest.raises(ValueError, match='without masks'):
    fn(tiny.target(), IMAGES, None, off)


def test_integers_without_a_derivative_are_refused():
  with pytest.raises(TargetError, match='no derivative'):
    attribution.gradients(tiny.target(preprocess=False), IMAGES)


def test_bad_steps_and_blanks():
  fn = attribution.integrated_gradients
  with pytest.raises(ValueError, match='steps=0'):
    fn(tiny.target(), IMAGES, steps=0)
  with pytest.raises(ValueError, match='both as uint8'):
    fn(tiny.target(), IMAGES, blank=np.zeros((8, 8, 3)))
  with pytest.raises(ValueError, match=r'\(5, 8, 3\)'):
    fn(tiny.target(), IMAGES, blank=np.zeros((5, 8, 3), np.uint8))

"""Every library's residual net: recorded, masked and explained alike.

Images of 12 x 8 make maps that are not square; BatchNorm has statistics
that are none of these images'.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gencnp_jax
from tests.targets import (
  equinox_net,
  haiku_net,
  linen_net,
  nnx_net,
  plain_net,
)
from tests.targets.example import IMAGES, SHAPES, ones

MAKERS = {
  'linen': linen_net.make,
  'nnx': nnx_net.make,
  'equinox': equinox_net.make,
  'haiku': haiku_net.make,
  'haiku_nchw': functools.partial(haiku_net.make, layout='NCHW'),
  'plain': plain_net.make,
}
# One order of operations may fuse otherwise than another.
_close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope='module', params=MAKERS)
def example(request):
  example = MAKERS[request.param]()
  example.by_hand = jax.jit(example.by_hand)
  return example


@pytest.fixture(scope='module')
def recorded(example):
  run = jax.jit(lambda t, x: (t.record(x), t(x)))
  (logits, activations), own = run(example.target, IMAGES)
  _close(own, logits)
  return logits, activations


@pytest.fixture(scope='module')
def masked(example):
  return functools.partial(
    jax.jit(lambda t, x, m: t.masked(x, m)), example.target, IMAGES
  )


def test_what_is_recorded_is_what_the_library_computes(example, recorded):
  logits, activations = recorded
  own, expected = example.by_hand(ones(4), IMAGES)
  _close(logits, own)
  assert example.target.activation_shapes((12, 8, 3)) == SHAPES
  for activation, by_library in zip(activations, expected, strict=True):
    assert activation.shape == by_library.shape
    _close(activation, by_library)
    assert 0 < (activation > 0).mean() < 1
  assert np.ptp(own, axis=0).min() > 1e-3


def test_masks_of_ones_and_of_zeros(masked, recorded):
  _close(masked(ones(4)), recorded[0])
  off = masked([jnp.zeros_like(m) for m in ones(4)])
  # No image can matter.
  np.testing.assert_array_equal(off, np.tile(off[:1], (4, 1)))
  assert np.abs(off).max() > 1e-3


@pytest.mark.parametrize('layer', range(len(SHAPES)))
def test_a_mask_acts_where_the_library_would(masked, example, recorded, layer):
  """A channel of one image, a row of another."""
  logits, activations = recorded
  a = np.asarray(activations[layer])
  gate = np.ones_like(a)
  channel = a[0].reshape(-1, a.shape[-1]).sum(0).argmax()
  gate[0, ..., channel] = 0
  if a.ndim == 4:
    gate[2, a[2].sum((1, 2)).argmax()] = 0
  gates = [
    jnp.asarray(gate) if i == layer else g for i, g in enumerate(ones(4))
  ]
  found = masked(gates)
  _close(found, example.by_hand(gates, IMAGES)[0])
  changed = np.abs(found - logits).max(1)
  assert changed[0] > 1e-4
  assert changed[[1, 3]].max() < 1e-5


def test_a_baseline_explains_it(example):
  explanation = gencnp_jax.explainers.NeuronMCT(example.target, 0.9)(IMAGES)
  total = sum(np.prod(shape) for shape in SHAPES)
  kept = sum(m.reshape(4, -1).sum(1) for m in explanation.masks)
  assert [m.shape[1:] for m in explanation.masks] == list(SHAPES)
  np.testing.assert_array_equal(kept, np.full(4, round(0.1 * total)))


@functools.cache
def _gencnp(**fields):
  module = gencnp_jax.GenCNP(hidden=8, **fields)
  return jax.jit(module.init), jax.jit(module.apply)


@pytest.mark.parametrize(
  'fields', [{}, {'kernel_sizes': ((10, 7), (4, 3), 0, 0, 0, 0)}]
)
def test_gencnp_generates_from_it(recorded, fields):
  _, activations = recorded
  init, apply = _gencnp(**fields)
  generated = apply(init(jax.random.key(0), activations), activations)
  assert [m.shape for m in generated.masks] == [a.shape for a in activations]
  for mask in generated.masks:
    assert set(np.unique(mask)) <= {0, 1}

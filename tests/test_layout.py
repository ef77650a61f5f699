"""Where the channels of an activation are."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest
from jax import lax

from gencnp_jax import layout
from gencnp_jax import program as program_lib


def _flat(fn, *args):
  return program_lib.flatten(jax.make_jaxpr(fn)(*args))


# Images [3, 3, 8, 9] in NCHW, or [3, 8, 9, 3] in NHWC; 5 channels out.
KERNEL = jnp.ones((5, 3, 3, 3))


def _nchw(x):
  return lax.conv_general_dilated(
    x, KERNEL, (1, 1), 'SAME', dimension_numbers=('NCHW', 'OIHW', 'NCHW')
  )


def _one_image(x):
  # As Equinox: no batch axis inside, a bias of shape [c, 1, 1].
  return jax.vmap(lambda x: _nchw(x[None])[0] + jnp.ones((5, 1, 1)))(x)


def _pooled(x):
  window = (1, 1, 2, 2)
  return lax.reduce_window(x, -jnp.inf, lax.max, window, window, 'VALID')


def _residual(x):
  y = _nchw(x)
  return jnp.concatenate([y, jnp.tanh(y)], axis=1)


@pytest.mark.parametrize(
  'axis, fn',
  [
    (1, _nchw),
    (1, _one_image),
    (1, lambda x: _pooled(_nchw(x))),
    (1, _residual),
    (3, lambda x: jnp.moveaxis(_nchw(x), 1, -1)),
    (3, lambda x: jnp.tanh(jnp.moveaxis(_pooled(_one_image(x)), 1, -1))),
    (2, lambda x: jnp.transpose(_nchw(x), (2, 0, 1, 3))),
  ],
)
@pytest.mark.parametrize('shape', [(3, 3, 8, 9), (3, 3, 5, 5), (1, 3, 8, 9)])
def test_channel_axis_is_found_upstream(axis, fn, shape):
  """Also where all sides are equal, and where the batch is one image."""
  program = _flat(fn, jnp.ones(shape))
  assert layout.channel_axis(program, program.outputs[0]) == axis


MIXERS = {
  'a product over rows': lambda x: _nchw(x) @ jnp.ones((9, 4)),
  'a product over channels': lambda x: jnp.einsum(
    'nchw,cd->ndhw', _nchw(x), jnp.ones((5, 4))
  ),
  'weights on the left': lambda x: jnp.einsum(
    'dc,nchw->ndhw', jnp.ones((4, 5)), _nchw(x)
  ),
  'attention over places': lambda x: jnp.einsum(
    'nqp,ncp->ncq',
    jnp.ones((len(x), 6, 72)),
    _nchw(x)[:, :, :8].reshape(len(x), 5, -1),
  ).reshape(len(x), 5, 2, 3),
  'resizing': lambda x: jax.image.resize(_nchw(x), (len(x), 5, 4, 5), 'cubic'),
  'nearest': lambda x: jax.image.resize(_nchw(x), (len(x), 5, 4, 5), 'nearest'),
  'repeating': lambda x: jnp.repeat(_nchw(x), 2, axis=3),
  'a row for two': lambda x: _nchw(x)[:, :, jnp.array([2, 0, 0])],
  'means of windows': lambda x: (
    _nchw(x)[:, :, :8, :8].reshape(len(x), 5, 4, 2, 4, 2).mean((3, 5))
  ),
  'a shuffle': lambda x: (
    _nchw(x)[:, :4]
    .reshape(len(x), 2, 2, 8, 9)
    .swapaxes(1, 2)
    .reshape(len(x), 4, 8, 9)
  ),
  'a gate': lambda x: jnp.split(_nchw(x)[:, :4], 2, axis=1)[1],
  'squeeze and excite': lambda x: (
    _nchw(x) * _nchw(x).mean((2, 3), keepdims=True)
  ),
  'only the excitation': lambda x: jnp.broadcast_to(
    _nchw(x).mean((2, 3), keepdims=True), (len(x), 5, 3, 2)
  ),
}


@pytest.mark.parametrize('name', MIXERS)
@pytest.mark.parametrize('last', [False, True])
@pytest.mark.parametrize('batch', [1, 3])
def test_channel_axis_is_seen_through(name, last, batch):
  def fn(x):
    y = MIXERS[name](x)
    return jnp.tanh(jnp.moveaxis(y, 1, -1) if last else y)

  program = _flat(fn, jnp.ones((batch, 3, 8, 9)))
  assert layout.channel_axis(program, program.outputs[0]) == (3 if last else 1)


@pytest.mark.parametrize(
  'fn',
  [
    jnp.tanh,
    lambda x: _nchw(x).reshape(3, 9, 8, 5),
    # Two axes of the output hold parts of the channels.
    lambda x: _nchw(x)[:, :4].reshape(3, 2, 2, 72),
    lambda x: jnp.einsum('nchw,chij->nijw', _nchw(x), jnp.ones((5, 8, 7, 6))),
  ],
)
def test_channel_axis_may_be_unknown(fn):
  program = _flat(fn, jnp.ones((3, 3, 8, 9)))
  assert layout.channel_axis(program, program.outputs[0]) is None


def test_channel_axis_of_a_flax_convolution():
  module = nn.Sequential([nn.Conv(5, (3, 3)), nn.GroupNorm(num_groups=5)])
  x = jnp.ones((2, 5, 5, 3))
  variables = module.init(jax.random.key(0), x)
  program = _flat(lambda x: module.apply(variables, x), x)
  assert layout.channel_axis(program, program.outputs[0]) == 3


def test_nhwc():
  program = _flat(_nchw, jnp.ones((3, 3, 8, 9)))
  (output,) = program.outputs
  for name, order in {
    'auto': (0, 2, 3, 1),
    'NCHW': (0, 2, 3, 1),
    'NHWC': (0, 1, 2, 3),
  }.items():
    assert layout.nhwc(program, output, 0, name) == order
  # The batch stands where it was found; vectors and tokens keep their order.
  assert layout.nhwc(program, output, 3, 'auto') == (3, 0, 2, 1)
  assert layout.nhwc(program, output, 1, 'auto') == (1, 0, 2, 3)
  for shape, batch, order in [
    ((3, 5), 0, (0, 1)),
    ((5, 3), 1, (1, 0)),
    ((3, 7, 5), 0, (0, 1, 2)),
  ]:
    program = _flat(jnp.tanh, jnp.ones(shape))
    assert layout.nhwc(program, program.outputs[0], batch, 'auto') == order

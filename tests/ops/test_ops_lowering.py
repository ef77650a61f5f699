"""Which lowering each shape of the targets and of GEN-CNP gets on CPU."""

import pytest

from gencnp_jax import ops
from gencnp_jax.ops import lowering

SAME, VALID, GROW = ((1, 1), (1, 1)), ((0, 0), (0, 0)), ((2, 2), (2, 2))

# side, c_in, c_out, kernel, padding, stride
SHAPES = [
  ('native', 32, 3, 64, 11, ((5, 5), (5, 5)), 4),  # AlexNet
  ('winograd', 4, 64, 192, 5, GROW, 1),
  ('winograd', 2, 192, 384, 3, SAME, 1),
  ('winograd', 2, 384, 256, 3, SAME, 1),
  ('patches', 32, 3, 64, 3, SAME, 1),  # VGG-11
  ('winograd', 16, 64, 128, 3, SAME, 1),
  ('winograd', 8, 128, 256, 3, SAME, 1),
  ('winograd', 4, 512, 512, 3, SAME, 1),
  ('winograd', 2, 512, 512, 3, SAME, 1),
  ('winograd', 32, 64, 64, 3, VALID, 1),  # RFE
  ('winograd', 4, 192, 192, 3, VALID, 1),
  ('winograd', 2, 192, 192, 3, GROW, 1),  # RPD
  ('winograd', 6, 64, 64, 3, GROW, 1),
  ('native', 16, 32, 32, 3, SAME, 1),  # too narrow for Winograd
  ('patches', 4, 16, 16, 3, SAME, 1),
  ('native', 8, 64, 64, 5, GROW, 1),
  ('patches', 16, 128, 128, 3, SAME, 2),
  ('patches', 16, 64, 128, 1, VALID, 1),
]


@pytest.mark.parametrize('row', SHAPES, ids=str)
def test_choice_at_batch_128(row):
  expected, side, c_in, c_out, k, padding, stride = row
  got = lowering.choose(
    (128, side, side, c_in), (k, k, c_in, c_out), padding, (stride, stride)
  )
  assert got == expected


def test_a_single_image_is_not_worth_a_transformed_kernel():
  kernel = (3, 3, 512, 512)
  for images, expected in ((1, 'patches'), (16, 'winograd')):
    got = lowering.choose((images, 2, 2, 512), kernel, SAME, (1, 1))
    assert got == expected


def test_setting_holds_inside_the_block_only():
  arguments = (128, 2, 2, 64), (3, 3, 64, 64), SAME, (1, 1)
  assert lowering.select(*arguments) == 'winograd'
  with ops.use_lowering('native'):
    assert lowering.select(*arguments) == 'native'
    with pytest.raises(KeyError), ops.use_lowering('patches'):
      assert lowering.select(*arguments) == 'patches'
      raise KeyError
    assert lowering.select(*arguments) == 'native'
  assert lowering.select(*arguments) == 'winograd'


def test_unknown_setting():
  with (
    pytest.raises(ValueError, match=r"'fast'.*native"),
    ops.use_lowering('fast'),
  ):
    pass


def test_what_no_lowering_of_ours_can_do_is_native():
  with ops.use_lowering('winograd'):
    strided = lowering.select((2, 8, 8, 4), (3, 3, 4, 4), SAME, (2, 2))
    seven = lowering.select((2, 8, 8, 4), (7, 7, 4, 4), SAME, (1, 1))
  assert strided == seven == 'native'
  with ops.use_lowering('patches'):
    empty = lowering.select((2, 2, 2, 4), (5, 5, 4, 4), VALID, (1, 1))
  assert empty == 'native'


@pytest.mark.parametrize('row', SHAPES, ids=str)
def test_no_native_convolution_inside_a_loop(row):
  expected, side, c_in, c_out, k, padding, stride = row
  shapes = (128, side, side, c_in), (k, k, c_in, c_out), padding
  with ops.inside_loop():
    found = lowering.select(*shapes, (stride, stride))
  assert found == ('patches' if expected == 'native' else expected)
  assert lowering.select(*shapes, (stride, stride)) == expected


def test_a_forced_lowering_stays_inside_a_loop():
  shapes = (4, 16, 16, 8), (3, 3, 8, 8), SAME, (1, 1)
  with ops.use_lowering('native'), ops.inside_loop():
    assert lowering.select(*shapes) == 'native'

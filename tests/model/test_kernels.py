"""Kernel sizes and numbers of passes."""

import pytest

from gencnp_jax.model import kernels


@pytest.mark.parametrize('side, passes', [(32, 15), (16, 7), (8, 3), (4, 1)])
def test_three_by_three_fits_both_targets(side, passes):
  """Paper, section 3.1: l_i = (h_i - h') / (k_i - 1), h' = 2."""
  size, smallest = (side, side), (2, 2)
  assert kernels.choose_kernel(size, smallest) == (3, 3)
  assert kernels.num_passes(size, smallest, (3, 3)) == passes


def test_the_smallest_map_takes_one_padded_pass():
  assert kernels.choose_kernel((2, 2), (2, 2)) == (3, 3)
  for k in (1, 3, 5):
    assert kernels.num_passes((2, 2), (2, 2), (k, k)) == 1


@pytest.mark.parametrize(
  'size, smallest, kernel, passes',
  [
    ((3, 3), (2, 2), (2, 2), 1),  # Only k = 2 fits.
    ((55, 55), (6, 6), (8, 8), 7),  # 49 = 7 * 7: k = 2 would take 49 passes.
    ((27, 27), (6, 6), (4, 4), 7),
    ((224, 224), (14, 14), (15, 15), 15),  # k = 3 would take 105 passes.
    ((64, 64), (4, 4), (5, 5), 15),
    ((34, 34), (2, 2), (3, 3), 16),  # Sixteen passes are just allowed.
    ((36, 36), (2, 2), (18, 18), 2),  # Seventeen are not.
    ((15, 15), (2, 2), (14, 14), 1),
    ((8, 5), (2, 2), (7, 4), 1),  # Not (3, 2): k = 2 comes last.
    ((8, 14), (2, 2), (3, 5), 3),  # Sides of their own, as many passes.
    ((14, 26), (2, 2), (3, 5), 6),
    ((6, 2), (2, 2), (3, 3), 2),  # One side stays.
    ((9, 4), (2, 4), (8, 3), 1),
  ],
)
def test_choice_follows_the_rule(size, smallest, kernel, passes):
  assert kernels.choose_kernel(size, smallest) == kernel
  assert kernels.num_passes(size, smallest, kernel) == passes


@pytest.mark.parametrize('gap', range(1, 60))
def test_square_choice_is_the_smallest_legal_one(gap):
  """The rule in words: smallest k >= 3 of at most 16 passes, else fewest."""
  legal = kernels.legal_kernels(gap + 2, 2)
  assert legal == tuple(k for k in range(2, gap + 2) if gap % (k - 1) == 0)
  wide = [k for k in legal if k >= 3 and gap // (k - 1) <= 16]
  expected = min(wide) if wide else 2
  assert kernels.choose_kernel((gap + 2,) * 2, (2, 2)) == (expected,) * 2


def test_a_kernel_that_does_not_divide_lists_those_that_do():
  with pytest.raises(
    ValueError, match=r'kernel size 4 .* side of 16 to 2'
  ) as e:
    kernels.num_passes((16, 16), (2, 2), (4, 4))
  assert 'Legal: (2, 3, 8, 15).' in str(e.value)
  for k in (1, 0, -1, 40):
    with pytest.raises(ValueError, match=f'kernel size {k} does not bring'):
      kernels.num_passes((16, 16), (2, 2), (k, k))


def test_sides_that_need_different_passes_name_a_kernel_that_serves():
  with pytest.raises(ValueError, match=r'needs \[1, 3\] passes') as e:
    kernels.num_passes((8, 5), (2, 2), (3, 4))
  assert 'One that does: (7, 4).' in str(e.value)


def test_an_embedding_larger_than_a_map():
  for call in (
    lambda: kernels.choose_kernel((4, 2), (3, 3)),
    lambda: kernels.num_passes((4, 2), (3, 3), (2, 2)),
  ):
    with pytest.raises(ValueError, match=r"4x2 is smaller .*h' x w' = 3x3"):
      call()

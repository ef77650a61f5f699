"""scikit-learn's handwritten digits: real data that need no download.

1 797 grey images of 8x8 pixels with values 0..16 (E. Alpaydin and C. Kaynak,
Optical Recognition of Handwritten Digits, UCI, 1998), inside the wheel.
"""

import numpy as np

from gencnp_jax.data.dataset import Source
from gencnp_jax.data.images import resize

TEST_COUNT = 360


def read(image_size: int) -> Source:
  """The digits as 32x32 RGB, 1 437 for training and 360 for testing.

  Args:
    image_size: side in pixels; 0 = 32, which both targets take.

  Returns:
    Source. The split is stratified and always the same.
  """
  from sklearn.datasets import load_digits
  from sklearn.model_selection import train_test_split

  digits = load_digits()
  # Each of the 8x8 pixels becomes a 4x4 block: nothing is made up.
  grey = np.round(digits.images * (255 / 16)).astype(np.uint8)
  grey = grey.repeat(4, axis=1).repeat(4, axis=2)
  images = np.repeat(grey[..., None], 3, axis=-1)
  images = resize(images, image_size, 'digits')
  labels = digits.target.astype(np.int32)
  train, test = train_test_split(
    np.arange(len(labels)),
    test_size=TEST_COUNT,
    stratify=labels,
    random_state=0,
  )
  return Source(
    train=(images[train], labels[train]),
    test=(images[test], labels[test]),
    class_names=tuple(str(digit) for digit in range(10)),
  )

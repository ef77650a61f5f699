"""Untrained targets and random images: neither changes what anything takes."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gencnp_jax import Target, data
from gencnp_jax.data.loading import CIFAR10_MEAN, CIFAR10_STD
from gencnp_jax.target import Preprocess
from gencnp_jax.zoo import VGG11, AlexNet

TARGETS = {'alexnet': AlexNet, 'vgg11': VGG11}
SHAPE = (32, 32, 3)
PREPROCESS = Preprocess(CIFAR10_MEAN, CIFAR10_STD)


def target(name: str, dtype: Any = jnp.float32) -> Target:
  """Returns an untrained target that takes uint8 images."""
  model = TARGETS[name](dtype=dtype)
  variables = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, *SHAPE)))
  return Target(model.apply, variables, PREPROCESS)


def images(number: int) -> np.ndarray:
  """Returns uint8 images."""
  rng = np.random.default_rng(0)
  return rng.integers(0, 256, (number, *SHAPE), np.uint8)


def dataset(number: int) -> data.Dataset:
  """Returns images of ten classes."""
  return data.Dataset(
    images(number),
    np.arange(number, dtype=np.int32) % 10,
    tuple(str(i) for i in range(10)),
    name='random',
    mean=CIFAR10_MEAN,
    std=CIFAR10_STD,
  )

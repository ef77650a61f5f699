"""Targets of the paper: plain Flax modules that know nothing of pathways."""

from gencnp_jax.zoo.alexnet import AlexNet
from gencnp_jax.zoo.vgg import VGG11

__all__ = ['VGG11', 'AlexNet']

"""GEN-CNP on CIFAR-10."""

from gencnp_jax import settings

WORDS = ('alexnet', 'vgg11', 'smoke')


def get_config(argument=None):
  """Returns the config of a comma-set of WORDS."""
  words = settings.words(argument, WORDS)
  config = settings.defaults()
  config.name = '_'.join(['cifar', *sorted(words - {'alexnet'})])
  if 'vgg11' in words:
    config.target.model = 'vgg11'
  if 'smoke' in words:
    # VGG-11's steps take about ten times as long as AlexNet's.
    config.data.limit = 256 if 'vgg11' in words else 2048
    config.target.epochs = 4.0
    config.gencnp.epochs = 2.0
  return config

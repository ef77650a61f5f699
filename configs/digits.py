"""GEN-CNP on scikit-learn's digits: real data without a download."""

from gencnp_jax import settings

WORDS = ('alexnet', 'vgg11', 'smoke')


def get_config(argument=None):
  """Returns the config of a comma-set of WORDS."""
  words = settings.words(argument, WORDS)
  config = settings.defaults()
  config.name = '_'.join(['digits', *sorted(words - {'alexnet'})])
  config.data.name = 'digits'
  config.data.validation_share = 0.1
  config.data.flip = False  # A mirrored digit is no digit.
  config.data.crop_pad = 2
  config.target.epochs = 12.0
  config.target.batch_size = 64
  config.target.learning_rate = 0.05
  config.gencnp.epochs = 4.0
  config.gencnp.batch_size = 64
  config.evaluate.methods = 'gencnp,neuron_mct,random'  # Each compiles.
  if 'vgg11' in words:
    config.target.model = 'vgg11'
    config.target.epochs = 3.0
    config.gencnp.epochs = 2.0
    config.gencnp.canvases = 3  # Compiles in a quarter of the time.
  if 'smoke' in words:
    config.data.limit = 256
    config.target.epochs = 4.0
    config.gencnp.epochs = 2.0
  return config

"""GEN-CNP on CIFAR-10.

  python -m gencnp_jax.main --config=configs/cifar.py[:word,word]

  alexnet  (the default) the target AlexNet
  vgg11    the target VGG-11-BN
  smoke    2 048 images (VGG-11: 128), few epochs: does it run?
  full     all seven baselines, and every method over firing sparsity

Measured with AlexNet on 2 CPU cores, float32, seed 0, 2026-11-23: 13 minutes
(target 459 s, GEN-CNP 230 s, evaluation 97 s). Expected (beta .6, 2026-11-24): target
78.1 % test accuracy; GEN-CNP at firing sparsity .950 with agreement 97.7 %, acIOU
.46 (by predicted class .52), no pathway disconnected. `full` takes 17 minutes more
on 1 000 test images (`--config.evaluate.limit=1000`), nearly all of it DGR's 1 000
steps an image. See docs/results.
"""

from gencnp_jax import explainers, settings

WORDS = ('alexnet', 'vgg11', 'smoke', 'full')


def get_config(argument=None):
  """Returns the config of a comma-set of WORDS."""
  words = settings.words(argument, WORDS)
  config = settings.defaults()
  config.name = '_'.join(['cifar', *sorted(words - {'alexnet', 'full'})])
  if 'vgg11' in words:
    config.target.model = 'vgg11'
  if 'smoke' in words:
    config.data.limit = 2048
    config.target.epochs = 4.0
    config.gencnp.epochs = 2.0
    if 'vgg11' in words:
      # A step of its GEN-CNP takes forty times as long as AlexNet's, and its
      # loops a quarter of the time to compile.
      config.data.limit = 128
      config.target.batch_size = config.gencnp.batch_size = 32
      config.gencnp.epochs = 1.0
      config.gencnp.canvases = 3
  if 'full' in words:
    config.evaluate.methods = 'all'
    config.evaluate.sparsities = explainers.CURVE
  return config

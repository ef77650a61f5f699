"""GEN-CNP on CIFAR-10.

  python -m gencnp_jax.main --config=configs/cifar.py[:word,word]

  alexnet  (the default) the target AlexNet
  vgg11    the target VGG-11-BN
  smoke    2 048 images (VGG-11: 128), few epochs: does it run?
  full     all seven baselines over firing sparsity, and all experiments: every
           table and figure of the paper
  paper    Table 4's alpha, beta and learning rate, for the target chosen

Measured with AlexNet on 2 CPU cores, float32, seed 0, 2026-11-23: 13 minutes
(target 459 s, GEN-CNP 230 s, evaluation 97 s). Expected (beta .6, 2026-11-24): target
78.1 % test accuracy; GEN-CNP at firing sparsity .950 with agreement 97.7 %, acIOU
.46 (by predicted class .52), no pathway disconnected. `full` takes 17 minutes more
on 1 000 test images (`--config.evaluate.limit=1000`), nearly all of it DGR's 1 000
steps an image. See docs/results.
"""

from gencnp_jax import explainers, settings

WORDS = ('alexnet', 'vgg11', 'smoke', 'full', 'paper')


def get_config(argument=None):
  """Returns the config of a comma-set of WORDS."""
  words = settings.words(argument, WORDS)
  config = settings.defaults()
  config.name = '_'.join(['cifar', *sorted(words - {'alexnet', 'full'})])
  if 'vgg11' in words:
    config.target.model = 'vgg11'
  if 'paper' in words:
    # Its plain sum over neurons drowns the cross-entropy: it is read as a mean
    # over all neurons. `--config.gencnp.penalty_reduction=sum` is its wording.
    config.gencnp.penalty_reduction = 'mean'
    config.gencnp.beta = 5e-4 if 'vgg11' in words else 0.05
    config.gencnp.learning_rate = 0.09 if 'vgg11' in words else 1e-4
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
    config.evaluate.roap_sparsities = (0.2, 0.3, 0.4, 0.5, 0.6)
    config.evaluate.pathways = 0.95
    config.experiments.names = 'all'
  return config

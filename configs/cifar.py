"""GEN-CNP on CIFAR-10.

  python -m gencnp_jax.main --config=configs/cifar.py[:word,word]

  alexnet  (the default) the target AlexNet
  vgg11    the target VGG-11-BN
  eq2      the paper's objective with a penalty and beta of ours: a pathway says
           what the target says, as surely, and finds the class by itself
  sparsest 98 of 100 neurons off: a price that rises longer, scores that read
           their own activation (see docs/results/past_the_paper.md)
  evidence the answer is to be in the image, not in the mask: swap term, mean
           ablation (see docs/results/leakage.md)
  paper    as eq2, with Table 4's alpha, beta and learning rate for the target;
           its penalty is read as a mean over neurons (gencnp_jax/presets.py)
  smoke    2 048 images (VGG-11: 128), few epochs: does it run?
  full     all seven baselines over firing sparsity, and all experiments: every
           table and figure of the paper

Measured with AlexNet on 2 CPU cores, float32, seeds 0, 1 and 2, 2026-11-30: half an hour
(target 14, GEN-CNP 11, evaluation 4). Expected: target 78.1 % test accuracy; GEN-CNP at
firing sparsity .961 with agreement 100.0 %, ICr 99.6 %, acIOU .40 (by predicted class
.58), no pathway disconnected. `eq2,full` on 1 000 test images
(`--config.evaluate.limit=1000`) took 89 minutes more on the same cores, busy with other
jobs: evaluation 23, experiments 66, of which most are six trainings of variants and
DGR's 1 000 steps an image. VGG-11 in a short form (target 14 epochs, GEN-CNP half an
epoch, 2026-11-30): target 108 minutes beside other jobs, 88.5 % of the validation images;
GEN-CNP 22 minutes; at .983 its pathways hardly let the image through, 41.7 % are
disconnected; with `evidence` (25 minutes, .849) and `sparsest` (.960) none is. See
docs/results.
"""

from gencnp_jax import presets, settings

WORDS = presets.WORDS


def get_config(argument=None):
  """Returns the config of a comma-set of WORDS."""
  words = settings.words(argument, WORDS)
  config = settings.defaults()
  config.name = '_'.join(['cifar', *sorted(words - {'alexnet', 'full'})])
  if 'vgg11' in words:
    config.target.model = 'vgg11'
  for word in words & settings.OBJECTIVES.keys():
    settings.ask(config, word)
  if 'paper' in words:
    presets.paper(config, 'cifar10')
  if words & {'eq2', 'paper'}:
    config.gencnp.epochs = 4.0
  if 'smoke' in words:
    presets.smoke(config)
    config.target.epochs = 4.0
    config.gencnp.epochs = 1.0 if 'vgg11' in words else 2.0
  if 'full' in words:
    presets.full(config)
  return config

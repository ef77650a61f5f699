r"""GEN-CNP on Tiny-ImageNet: 200 classes of ImageNet, photos of 64x64.

  python -m gencnp_jax.main --config=configs/tiny_imagenet.py[:word,word] \
    --config.data.path=data/tiny-imagenet-200

  alexnet  (the default) the target AlexNet
  vgg11    the target VGG-11-BN
  32px     at 32x32, as the paper has its ImageNet
  paper    trained on the images it is tested on, as the paper's ImageNet is
  smoke    2 048 images (VGG-11: 128), few epochs: does it run?
  full     all seven baselines, and every method over firing sparsity

The folder holds train.npz and val.npz (gencnp_jax/data/npz.py says which form).
The official one, unzipped, is read with `--config.data.name=folder`; one that
tensorflow-datasets has prepared with `--config.data.name=tfds` and its name in
`--config.data.path`. The labelled validation images are the test split.
"""

from gencnp_jax import explainers, settings

WORDS = ('alexnet', 'vgg11', '32px', 'paper', 'smoke', 'full')


def get_config(argument=None):
  """Returns the config of a comma-set of WORDS."""
  words = settings.words(argument, WORDS)
  config = settings.defaults()
  config.name = '_'.join(
    ['tiny_imagenet', *sorted(words - {'alexnet', 'full'})]
  )
  config.data.name = 'npz'
  config.data.path = 'data/tiny-imagenet-200'
  config.data.image_size = 32 if '32px' in words else 64
  config.target.epochs = 30.0
  config.gencnp.epochs = 3.0
  if 'vgg11' in words:
    config.target.model = 'vgg11'
  if 'paper' in words:
    config.data.train_on = 'test'
    config.data.validation_share = 0.0  # Of a split that is not trained on.
    # The paper's targets are right on 99.9 % of the images they are tested on:
    # they have memorised them, which crops, flips and decay would hinder.
    config.target.augment = False
    config.target.weight_decay = 0.0
    config.target.epochs = 60.0  # Of 10 000 images.
    config.gencnp.epochs = 6.0
    # Table 4. Its penalty is a plain sum over some ten thousand neurons, which
    # drowns the cross-entropy: --config.gencnp.penalty_reduction=sum has it.
    config.gencnp.alpha = 1.0
    config.gencnp.beta = 0.005
    config.gencnp.learning_rate = 5e-3 if 'vgg11' in words else 1e-3
    config.gencnp.penalty_reduction = 'mean'
  if 'smoke' in words:
    config.data.limit = 2048
    config.target.epochs = 2.0
    config.gencnp.epochs = 1.0
    if 'vgg11' in words:
      # As in cifar.py: a step is forty times as long.
      config.data.limit = 128
      config.target.batch_size = config.gencnp.batch_size = 32
      config.gencnp.canvases = 3
  if 'full' in words:
    config.evaluate.methods = 'all'
    config.evaluate.sparsities = explainers.CURVE
  return config

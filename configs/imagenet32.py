r"""GEN-CNP on ImageNet at 32x32, as in the paper's Tables 1 and 3.

  python -m gencnp_jax.main --config=configs/imagenet32.py[:word,word] \
    --config.data.path=FOLDER

  alexnet  (the default) the target AlexNet
  vgg11    the target VGG-11-BN
  eq2      the paper's objective with a penalty and beta of ours
  sparsest 98 of 100 neurons off: a price that rises longer, scores that read
           their own activation (see docs/results/past_the_paper.md)
  evidence the answer is to be in the image, not in the mask: swap term, mean
           ablation (see docs/results/leakage.md)
  paper    as eq2, with Table 4's values; trained on the validation images and
           tested on them, as the paper says
  smoke    2 048 images (VGG-11: 128), few epochs: does it run?
  full     all seven baselines over firing sparsity, and all experiments

FOLDER holds the downsampled ImageNet of Chrabaszcz et al. (image-net.org, after
a login: Imagenet32_train and Imagenet32_val, pickles or .npz), for `paper` val_data
alone. In memory it takes 4 GB. Other forms of the same:

  --config.data.name=tfds --config.data.path=imagenet_resized/32x32
      a directory that tensorflow-datasets has prepared (file_format=array_record)
  --config.data.name=folder --config.data.path=FOLDER
      train/<class>/*.JPEG and val/<class>/*.JPEG; the largest centred square is
      brought to 32x32 by averaging areas, each time anew

With `paper` the target has seen its test images: checkpoints and report say so.
Table 4 gives its values; the paper's penalty is a plain sum over all neurons, which
drowns the cross-entropy, so that this takes their mean. The printed form is had by
`--config.gencnp.penalty_reduction=sum`.
"""

from gencnp_jax import presets, settings

WORDS = presets.WORDS


def get_config(argument=None):
  """Returns the config of a comma-set of WORDS."""
  words = settings.words(argument, WORDS)
  config = settings.defaults()
  config.name = '_'.join(['imagenet32', *sorted(words - {'alexnet', 'full'})])
  config.data.name = 'downsampled_imagenet'
  config.data.image_size = 32
  config.target.epochs = 15.0  # Of 1.28 million images.
  config.gencnp.epochs = 1.0
  if 'vgg11' in words:
    config.target.model = 'vgg11'
  for word in words & settings.OBJECTIVES.keys():
    settings.ask(config, word)
  if 'paper' in words:
    presets.memorise(config)
    presets.paper(config, 'imagenet')
  if 'smoke' in words:
    presets.smoke(config)
    config.target.epochs = 2.0
    config.gencnp.epochs = 0.5
  if 'full' in words:
    presets.full(config)
  return config

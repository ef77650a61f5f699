"""What the words of several configs mean: `full`, `paper`, `smoke` and more."""

from __future__ import annotations

from typing import Any

from gencnp_jax import explainers, settings

WORDS = (*settings.MODELS, *settings.OBJECTIVES, 'paper', 'smoke', 'full')
"""The words that the configs share; a file may have more of its own."""

TABLE_4 = {
  ('cifar10', 'alexnet'): (1.0, 0.05, 1e-4),
  ('cifar10', 'vgg11'): (1.0, 5e-4, 0.09),
  ('imagenet', 'alexnet'): (1.0, 5e-3, 1e-3),
  ('imagenet', 'vgg11'): (1.0, 5e-3, 5e-3),
}
"""The paper's (alpha, beta, learning rate) by data set and target."""


def full(config: Any) -> None:
  """All methods over firing sparsity, and all experiments."""
  config.evaluate.methods = 'all'
  config.evaluate.sparsities = explainers.CURVE
  config.evaluate.roap_sparsities = (0.2, 0.3, 0.4, 0.5, 0.6)  # Table 7's.
  config.evaluate.pathways = 0.95  # Fig. 6.
  config.experiments.names = 'all'


def paper(config: Any, data: str) -> None:
  """Table 4's values for the config's target, and a reading of its penalty.

  The paper's plain sum over all neurons drowns the cross-entropy: it is read as
  their mean. `--config.gencnp.penalty_reduction=sum` is its wording.

  Args:
    config: its target is chosen.
    data: 'cifar10' or 'imagenet'.
  """
  values = TABLE_4[data, config.target.model]
  settings.ask(config, 'eq2')
  section = config.gencnp
  section.alpha, section.beta, section.learning_rate = values
  section.penalty_reduction = 'mean'


def memorise(config: Any) -> None:
  """Trains the target on the images that it is tested on, as for ImageNet.

  The paper's targets are right on 99.9 % of them: they have memorised them,
  which crops, flips and decay would hinder.
  """
  config.data.train_on = 'test'
  config.data.validation_share = 0.0  # Of a split that is not trained on.
  config.target.augment = False
  config.target.weight_decay = 0.0
  config.target.epochs = 60.0
  config.gencnp.epochs = 6.0


def smoke(config: Any) -> None:
  """A run of minutes that says whether all of it runs."""
  config.data.limit = 2048
  if config.target.model == 'vgg11':
    # A step of its GEN-CNP takes forty times as long as AlexNet's, and its
    # loops a quarter of the time to compile.
    config.data.limit = 128
    config.target.batch_size = config.gencnp.batch_size = 32
    config.gencnp.canvases = 3

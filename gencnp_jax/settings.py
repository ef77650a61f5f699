"""Every setting, its default and its meaning; `legal.py` says what is legal.

`defaults()` is the base of each file in `configs/`; a config is an
`ml_collections.ConfigDict`, so that `--config.gencnp.beta=1` works and a typo
names the nearest field. Where the paper leaves a choice open, README says which
are the paper's and which are ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ml_collections

from gencnp_jax.choices import SettingsError, comma_set, one_of

STAGES = ('target', 'gencnp', 'evaluate', 'experiments', 'report')
MODELS = ('alexnet', 'vgg11')
OBJECTIVES = {
  # The paper's, with a penalty and beta of ours that keep all layers alive: a
  # pathway is to say what the target says, as surely.
  'eq2': {
    'answer': 'probabilities',
    'class_input': False,
    'penalty_reduction': 'layer_mean',
    'beta': 0.6,
    'beta_warmup': 0.0,
    'charged': 'all',
    'sparsity_goal': 1.0,
    'layer_floor': 0.0,
  },
  # 98 of 100 neurons off: the price rises longer and higher, towards that
  # sparsity, and a score reads its neuron's own activation.
  'sparsest': {
    'answer': 'odds',
    'class_input': True,
    'skip': True,
    'penalty_reduction': 'mean',
    'beta': 200.0,
    'beta_warmup': 0.8,
    'charged': 'kept',
    'sparsity_goal': 0.98,
    'layer_floor': 0.005,
  },
  # The answer is to be in the image, not in the mask: no other image is given
  # its class under the pathway, and an off neuron says what it says on average.
  'evidence': {
    'answer': 'odds',
    'class_input': True,
    'skip': True,
    'off': 'mean',
    'gamma': 4.0,
    'swap': 'odds',
    'penalty_reduction': 'mean',
    'beta': 100.0,
    'beta_warmup': 0.5,
    'charged': 'kept',
    'sparsity_goal': 1.0,
    'cut': 0.6,
    'cut_range': (0.88, 0.97),
    'layer_floor': 0.005,
  },
}
"""What else may be asked of a pathway than by default: words of `configs/`."""
DTYPES = ('float32', 'bfloat16')
OFF = ('zero', 'mean')
METHODS = (
  'gencnp',
  'neuron_mct',
  'neuron_int_grad',
  'dgr',
  'dgr_r',
  'greedy',
  'original_activation',
  'random',
)
QUICK_METHODS = ('gencnp', 'neuron_mct', 'original_activation', 'random')
SPLITS = ('test', 'validation')
TRAIN_ON = ('train', 'test')
EXPERIMENTS = (
  'faithfulness',
  'class_iou',
  'roap',
  'transferability',
  'ablations',
  'embedding',
  'leakage',
  'instance_sparsity',
  'pictures',
)


def defaults() -> ml_collections.ConfigDict:
  """Returns a fresh config with every field."""
  config = ml_collections.ConfigDict()
  config.name = 'gencnp'  # Of the experiment; the default workdir is runs/name.
  config.seed = 0  # Of initialisation, order, augmentation and draws.
  config.stages = ','.join(STAGES)  # Comma-set of the stages to run.
  config.dtype = 'float32'  # Compute dtype; parameters are always float32.

  data = config.data = ml_collections.ConfigDict()
  # cifar10, digits, npz, folder, tfds or downsampled_imagenet.
  data.name = 'cifar10'
  data.path = ''  # The file or folder; tfds: the TFDS name.
  data.dir = ''  # TFDS directory; '' = $TFDS_DATA_DIR or the TFDS default.
  data.train_on = 'train'  # Or test: on the images it is tested on (ImageNet).
  data.image_size = 0  # Side in pixels; 0 = as stored.
  data.validation_share = 0.02  # Of the training split, held out by seed.
  data.limit = 0  # Examples a split; 0 = all.
  data.crop_pad = 4  # Random crop after zero padding; 0 = none.
  data.flip = True  # Random horizontal flips.

  target = config.target = ml_collections.ConfigDict()
  target.model = 'alexnet'  # alexnet or vgg11.
  target.augment = True  # Crop and flip, as `data` says.
  target.workdir = ''  # Take the trained target of another workdir.
  _training(target, epochs=40, optimiser='sgd', learning_rate=0.08)
  target.momentum = 0.9  # Nesterov.
  target.weight_decay = 5e-4
  target.clip_norm = 1.0  # AlexNet diverges at such rates without.

  gencnp = config.gencnp = ml_collections.ConfigDict()
  gencnp.hidden = 1024  # Width of the PDN.
  gencnp.num_fc = 2  # z, its number of layers.
  gencnp.kernel_sizes = ()  # k_i per activation; () or 0 chooses.
  gencnp.embedding = ()  # (h', w'); () = the smallest map.
  gencnp.canvases = 0  # Loops a recursive block; 0: the backend decides.
  gencnp.lower = -1.5  # DAQ's bounds, in standard deviations of D.
  gencnp.upper = 1.5
  gencnp.learn_bounds = False
  gencnp.sigma = 2.0  # DAQ's kernel width.
  gencnp.temperature = 2.0  # DAQ's temperature.
  gencnp.quantiser = 'daq'  # Or sigmoid: soft masks, cut in use (Table 2).
  gencnp.embedders = 'recursive'  # Or none: PDNs on the raw maps (Table 2).
  gencnp.shared_pdn = True  # False: a PDN a layer (Table 2).
  gencnp.class_input = True  # The PDN also reads the class, one-hot (ours).
  gencnp.skip = False  # Scores also read the neuron's own activation (ours).
  gencnp.layer_floor = 0.005  # Share of each layer that always fires (ours).
  gencnp.alpha = 1.0  # Weight of the distillation.
  gencnp.beta = 30.0  # Weight of the sparsity penalty.
  gencnp.gamma = 0.0  # Weight of the swap term.
  gencnp.answer = 'odds'  # Better than the target's (ours); or probabilities.
  gencnp.distil_temperature = 1.0  # Of the target's answer; < 1 sharpens it.
  gencnp.beta_warmup = 0.5  # Share of the run in which beta rises from 0.
  gencnp.charged = 'kept'  # Whose pathways beta is on: all, kept or surer.
  gencnp.sparsity_goal = 1.0  # Aimed at; 1: as sparse as beta makes it.
  gencnp.swap = 'uniform'  # What gamma's term asks: uniform or odds.
  gencnp.cut = 0.0  # Share of images cut at a sparsity of cut_range.
  gencnp.cut_range = (0.7, 0.99)
  gencnp.penalty_reduction = 'mean'  # Over neurons; layer_mean or sum.
  gencnp.off = 'zero'  # What stands in for an off neuron: zero or mean.
  gencnp.augment = False  # Distil on images as they are explained.
  gencnp.mix = 0.0  # Share of images mixed with another; 0 = none.
  _training(gencnp, epochs=6, optimiser='adam', learning_rate=1e-3)

  evaluate = config.evaluate = ml_collections.ConfigDict()
  evaluate.methods = ','.join(QUICK_METHODS)  # Comma-set of METHODS, or all.
  evaluate.split = 'test'  # Or validation, to choose settings by.
  evaluate.sparsities = ()  # Of the curve; () for none.
  evaluate.roap_sparsities = ()  # Of ROAP alone, besides those of the curve.
  evaluate.pathways = 0.0  # Keep pathways cut at this sparsity; 0 = none.
  evaluate.sparsity = 0.0  # Of the baselines; 0 = GEN-CNP's own mean.
  evaluate.limit = 0  # Images, spread where sorted by class; 0 = all.
  evaluate.batch_size = 0  # Images at a time; 0 picks what fits.
  evaluate.examples = 8  # Images shown in the report.

  experiments = config.experiments = ml_collections.ConfigDict()
  experiments.names = ''  # Comma-set of EXPERIMENTS to measure, or all.
  experiments.sample_sparsities = (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # eps_ss.
  experiments.class_sparsities = tuple(i / 10 for i in range(1, 10))  # eps_cn.
  experiments.embedded = 1000  # Images of the t-SNE.
  experiments.pictured = 6  # Images of a gallery.

  runtime = config.runtime = ml_collections.ConfigDict()
  runtime.steps_per_dispatch = 0  # 0: one on CPU, many on GPU and TPU.
  runtime.dispatch_seconds = 5.0  # Longest dispatch: a run ends between two.
  runtime.checkpoint_every = 0  # Steps; 0 = an epoch.
  runtime.evaluate_every = 0  # Steps; 0 = an epoch.
  runtime.profile = 0  # Dispatches of a stage (a method) that are profiled.
  runtime.tensorboard = False  # Needs the extra `tensorboard`.
  return config


def ask(config: Any, objective: str) -> None:
  """Sets the fields of one of OBJECTIVES in a config's section `gencnp`."""
  config.gencnp.update(OBJECTIVES[objective])


def before() -> ml_collections.ConfigDict:
  """Returns what fields were before they were there, for workdirs of then."""
  config = defaults()
  ask(config, 'eq2')
  return config


FREE = (
  'name',
  'stages',
  'runtime',
  'evaluate',
  'experiments',
  'data.dir',
  'target.workdir',
)
"""Fields, or whole sections, that may change between runs in one workdir."""


def _training(
  section: Any, epochs: float, optimiser: str, learning_rate: float
):
  section.epochs = float(epochs)
  section.batch_size = 128  # Global, whatever the device count.
  section.optimiser = optimiser  # sgd or adam.
  section.learning_rate = learning_rate  # The peak.
  section.schedule = 'one_cycle'  # one_cycle, steps or constant.
  section.warmup = 0.2  # Share of the run in which one_cycle rises.
  section.momentum = 0.0
  section.weight_decay = 0.0
  section.clip_norm = 0.0  # Largest gradient norm; 0 = no clipping.


def words(argument: str | None, legal: Sequence[str]) -> set[str]:
  """Reads the part of --config behind the colon: a comma-set of fixed words.

  Args:
    argument: such as 'vgg11,smoke', in any order; None or '' for none.
    legal: the words there are.

  Raises:
    SettingsError: an unknown word, with the nearest; words that exclude each
      other.
  """
  given = [w.strip() for w in (argument or '').split(',') if w.strip()]
  for word in given:
    one_of('the config argument', word, legal)
  for group in (MODELS, (*OBJECTIVES, 'paper')):
    both = sorted(set(given) & set(group))
    if len(both) > 1:
      raise SettingsError(
        f'the config argument: {" and ".join(both)} exclude each other; '
        'choose one.'
      )
  return set(given)


def methods(value: str) -> tuple[str, ...]:
  """Reads `evaluate.methods`: a comma-set of METHODS, or 'all'."""
  if value.strip() == 'all':
    return METHODS
  return comma_set('evaluate.methods', value, METHODS)


def experiments(value: str) -> tuple[str, ...]:
  """Reads `experiments.names`: a comma-set of EXPERIMENTS, 'all' or ''."""
  if not value.strip():
    return ()
  if value.strip() == 'all':
    return EXPERIMENTS
  return comma_set('experiments.names', value, EXPERIMENTS)

"""The configs of ImageNet: each word does what its line says, alone or not."""

import importlib.util
import itertools
import pathlib

import pytest

from gencnp_jax import explainers, legal, settings

FOLDER = pathlib.Path(__file__).resolve().parents[1] / 'configs'


def load(name):
  spec = importlib.util.spec_from_file_location(
    f'config_{name}', FOLDER / f'{name}.py'
  )
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


def combinations(name):
  """(config, set of words) of every set of words that makes sense."""
  module = load(name)
  for count in range(len(module.WORDS) + 1):
    for words in itertools.combinations(module.WORDS, count):
      groups = settings.MODELS, (*settings.OBJECTIVES, 'paper')
      if all(len(set(group) & set(words)) < 2 for group in groups):
        yield module.get_config(','.join(words)), set(words)


BOTH = pytest.mark.parametrize('name', ['imagenet32', 'tiny_imagenet'])


@BOTH
def test_every_set_of_words_is_legal_and_has_a_workdir_of_its_own(name):
  names = {}
  for config, words in combinations(name):
    legal.validate(config)
    assert config.name.startswith(name)
    # The default is a word too; a full evaluation is of the same products.
    trained = frozenset(words - {'alexnet', 'full'})
    names.setdefault(config.name, set()).add(trained)
  assert all(len(variants) == 1 for variants in names.values())
  asked = {*settings.OBJECTIVES, 'paper'}
  others = set(load(name).WORDS) - {'alexnet', 'full', *asked}
  assert len(names) == (1 + len(asked)) * 2 ** len(others)


@BOTH
def test_each_word_does_what_it_says_whatever_stands_beside_it(name):
  for config, words in combinations(name):
    vgg11, paper = 'vgg11' in words, 'paper' in words
    assert config.target.model == ('vgg11' if vgg11 else 'alexnet')
    assert config.data.train_on == ('test' if paper else 'train')
    assert config.target.augment == (not paper)
    assert (config.target.weight_decay == 0) == paper
    assert (config.data.validation_share == 0) == paper
    gencnp = config.gencnp
    of_paper = bool(words & {'eq2', 'paper'})
    assert gencnp.answer == ('probabilities' if of_paper else 'odds')
    assert gencnp.class_input == (not of_paper)
    assert (gencnp.layer_floor == 0) == of_paper
    if paper:
      # Table 4.
      assert (gencnp.alpha, gencnp.beta) == (1.0, 0.005)
      assert gencnp.learning_rate == (5e-3 if vgg11 else 1e-3)
      assert gencnp.penalty_reduction == 'mean'
    limit = (128 if vgg11 else 2048) if 'smoke' in words else 0
    assert config.data.limit == limit
    assert (config.target.epochs == 2.0) == ('smoke' in words)
    full = 'full' in words
    assert (config.evaluate.methods == 'all') == full
    assert config.evaluate.sparsities == (explainers.CURVE if full else ())


@BOTH
def test_a_smoke_run_has_a_batch_for_every_step(name):
  module = load(name)
  for words in ('smoke', 'vgg11,smoke', 'paper,smoke'):
    config = module.get_config(words)
    for section in (config.target, config.gencnp):
      rows = config.data.limit * (1 - config.data.validation_share)
      assert section.batch_size <= rows
      assert section.epochs * (rows // section.batch_size) >= 1


def test_sides():
  tiny = load('tiny_imagenet').get_config
  assert tiny().data.image_size == 64
  assert tiny('32px').data.image_size == 32
  assert load('imagenet32').get_config().data.image_size == 32


def test_epochs_fit_the_number_of_images():
  small, large = load('tiny_imagenet').get_config, load('imagenet32').get_config
  epochs = [
    (config.target.epochs, config.gencnp.epochs)
    for config in (small(), small('paper'), large(), large('paper'))
  ]
  assert epochs == [(30, 3), (60, 6), (15, 1), (60, 6)]


def test_the_folder_of_imagenet_must_be_given():
  from gencnp_jax import data

  config = load('imagenet32').get_config('smoke')
  with pytest.raises(ValueError, match=r'data\.path is empty'):
    data.load(config.data)


@BOTH
def test_an_unknown_word_names_the_nearest(name):
  with pytest.raises(settings.SettingsError, match="Did you mean 'paper'"):
    load(name).get_config('papers')

"""Settings: each field's bad values, the words of configs, the configs."""

import importlib.util
import itertools
import pathlib

import pytest

from gencnp_jax import legal, settings

CONFIGS = sorted(pathlib.Path('configs').glob('*.py'))

BAD = [
  ('name', '', 'the name of a folder'),
  ('name', '../mine', 'the name of a folder'),
  ('name', '/etc', 'the name of a folder'),
  ('seed', None, 'a whole number'),
  ('data.limit', True, 'a whole number'),
  ('data.crop_pad', 2**14, 'below 16384'),
  ('seed', -1, r'in \[0, 2\^31\)'),
  ('seed', 2**31, r'in \[0, 2\^31\)'),
  ('stages', 'targt', "Did you mean 'target'"),
  ('stages', '', 'at least one of target, gencnp'),
  ('stages', ' , ', 'at least one of'),
  ('dtype', 'bfloat', "Did you mean 'bfloat16'"),
  ('dtype', 'float64', 'float32, bfloat16'),
  ('data.validation_share', 1.0, r'in \[0, 1\)'),
  ('data.validation_share', -0.1, r'in \[0, 1\)'),
  ('data.limit', -1, '0 or more'),
  ('data.image_size', -32, '0 or more'),
  ('data.crop_pad', -4, '0 or more'),
  ('target.model', 'vgg', "Did you mean 'vgg11'"),
  ('target.model', 'resnet', 'alexnet, vgg11'),
  ('gencnp.off', 'means', "Did you mean 'mean'"),
  ('gencnp.penalty_reduction', 'layer-mean', "Did you mean 'layer_mean'"),
  ('gencnp.answer', 'logits', 'choose from probabilities, odds'),
  ('gencnp.alpha', -1.0, '0 or more'),
  ('gencnp.beta', -0.5, '0 or more'),
  ('gencnp.beta', float('nan'), '0 or more'),
  ('gencnp.beta', float('inf'), '0 or more'),
  ('gencnp.gamma', -1.0, '0 or more'),
  ('gencnp.hidden', 0, 'at least 1'),
  ('gencnp.num_fc', 0, 'at least 1'),
  ('gencnp.num_fc', 1000, 'at most 100'),
  ('gencnp.sigma', 0.0, 'above 0'),
  ('gencnp.temperature', -2.0, 'above 0'),
  ('gencnp.upper', -1.5, r'above gencnp.lower=-1\.5'),
  ('gencnp.lower', 1.5, r'above gencnp.lower=1\.5'),
  ('gencnp.upper', float('inf'), 'both between -1000 and 1000'),
  ('gencnp.sigma', 1e-200, r'from 0\.001 to 1000'),
  ('gencnp.temperature', 1000.0, r'from 0\.001 to 50'),
  ('gencnp.kernel_sizes', (3, 'x'), 'a pair of them'),
  ('gencnp.kernel_sizes', (3, (3,)), 'a pair of them'),
  ('gencnp.beta', None, 'a number'),
  ('gencnp.charged', 'some', 'choose from all, kept, surer'),
  ('gencnp.cut', 1.0, r'in \[0, 1\)'),
  ('gencnp.cut_range', (0.9, 0.8), 'the lower first'),
  ('gencnp.cut_range', (0.9, 1.0), 'between 0 and 1'),
  ('gencnp.cut_range', (0.9,), 'two shares'),
  ('gencnp.swap', 'unform', 'uniform'),
  ('gencnp.beta_warmup', 1.5, r'in \[0, 1\]'),
  ('gencnp.sparsity_goal', 0.0, 'above 0 and at most 1'),
  ('gencnp.mix', -0.1, r'in \[0, 1\]'),
  ('gencnp.distil_temperature', 0.0, 'above 0'),
  ('gencnp.distil_temperature', 1e-9, r'from 0\.001 to 1000'),
  ('gencnp.layer_floor', 1.0, r'in \[0, 1\)'),
  ('gencnp.embedding', (2,), "empty, or \\(h', w'\\)"),
  ('gencnp.embedding', (0, 2), "empty, or \\(h', w'\\)"),
  ('gencnp.embedding', ('a', 2), "empty, or \\(h', w'\\)"),
  ('evaluate.methods', 'gencnp,neuronmct', "Did you mean 'neuron_mct'"),
  ('evaluate.methods', '', 'at least one of'),
  ('evaluate.split', 'training', 'choose from test, validation'),
  ('evaluate.sparsities', (0.9, 1.0), 'shares between 0 and 1'),
  ('evaluate.sparsities', (0.9, 0.9), 'different shares'),
  ('evaluate.sparsities', (0.9, 'x'), 'different shares'),
  ('evaluate.roap_sparsities', (0.0,), 'empty, or different shares'),
  ('evaluate.pathways', 1.0, 'between 0 and 1, or 0'),
  ('data.train_on', 'val', 'choose from train, test'),
  ('gencnp.embedders', 'recursiv', "Did you mean 'recursive'"),
  ('gencnp.embedders', 'none', 'shared_pdn=False'),
  ('gencnp.quantiser', 'tanh', 'daq, sigmoid'),
  ('experiments.names', 'roap,ablation', "Did you mean 'ablations'"),
  ('experiments.sample_sparsities', (), 'different shares'),
  ('experiments.class_sparsities', (0.5, 1.5), 'between 0 and 1'),
  ('experiments.embedded', 3, 'at least 10'),
  ('experiments.pictured', 0, 'at least 1'),
  ('gencnp.canvases', -1, '0 or more'),
  ('evaluate.sparsity', 1.0, 'between 0 and 1'),
  ('evaluate.sparsity', -0.1, 'between 0 and 1'),
  ('evaluate.sparsity', 95.0, 'between 0 and 1'),
  ('evaluate.limit', -1, '0 or more'),
  ('evaluate.batch_size', -1, '0 or more'),
  ('evaluate.examples', -1, '0 or more'),
  ('runtime.steps_per_dispatch', -1, '0 or more'),
  ('runtime.dispatch_seconds', 0.0, 'above 0'),
  ('runtime.checkpoint_every', -1, '0 or more'),
  ('runtime.evaluate_every', -1, '0 or more'),
  ('runtime.profile', -1, '0 or more'),
]
BAD_TRAINING = [
  ('epochs', 0.0, 'above 0'),
  ('epochs', float('inf'), 'above 0'),
  ('epochs', 1e-7, 'from 1e-06 to 1e'),
  ('batch_size', 0, 'at least 1'),
  ('optimiser', 'adamw', "Did you mean 'adam'"),
  ('learning_rate', 0.0, 'above 0'),
  ('learning_rate', float('nan'), 'above 0'),
  ('schedule', 'onecycle', "Did you mean 'one_cycle'"),
  ('warmup', 0.0, 'between 0 and 1'),
  ('warmup', 1.0, 'between 0 and 1'),
  ('momentum', 1.0, r'in \[0, 1\)'),
  ('weight_decay', -5e-4, '0 or more'),
  ('clip_norm', -1.0, '0 or more'),
]
UNCHECKED = {
  # Any text will do, or the rooms that read them say what will not.
  *('data.name', 'data.path', 'data.dir', 'target.workdir'),
  # The type is all there is to check.
  *('data.flip', 'target.augment', 'gencnp.augment'),
  *(
    'gencnp.learn_bounds',
    'gencnp.class_input',
    'gencnp.skip',
    'gencnp.shared_pdn',
    'runtime.tensorboard',
  ),
}


def _set(config, field, value):
  section, _, name = field.rpartition('.')
  (config[section] if section else config)[name] = value


@pytest.mark.parametrize(
  'field, value, message',
  BAD
  + [
    (f'{section}.{field}', *rest)
    for section in ('target', 'gencnp')
    for field, *rest in BAD_TRAINING
  ],
)
def test_a_bad_value_is_named_with_its_field_and_the_remedy(
  field, value, message
):
  config = settings.defaults()
  _set(config, field, value)
  with pytest.raises(settings.SettingsError, match=message) as raised:
    legal.validate(config)
  said = str(raised.value)
  # Bounds are judged together, at the upper one.
  assert f'config.{field}'.replace('lower', 'upper') in said
  shown = value if field != 'stages' else value.strip(' ,')
  comma_sets = ('evaluate.methods', 'experiments.names')  # Their bad word.
  assert str(shown) in said or field in comma_sets
  assert '\n' not in said and len(said) < 250


def test_every_field_is_checked_or_known_not_to_be():
  config = settings.defaults()
  fields = set()
  for key, value in config.items():
    if hasattr(value, 'items'):
      fields |= {f'{key}.{name}' for name in value}
    else:
      fields.add(key)
  checked = {field for field, *_ in BAD} | {
    f'{section}.{field}'
    for section in ('target', 'gencnp')
    for field, *_ in BAD_TRAINING
  }
  assert fields == checked | UNCHECKED
  assert not checked & UNCHECKED


def test_the_defaults_are_legal_and_fresh():
  one, other = settings.defaults(), settings.defaults()
  legal.validate(one)
  one.gencnp.beta = 7.0
  assert other.gencnp.beta != 7.0


def test_free_fields_are_fields():
  config = settings.defaults()
  for field in settings.FREE:
    section, _, name = field.rpartition('.')
    assert name in (config[section] if section else config)


def test_an_unknown_field_names_the_nearest():
  config = settings.defaults()
  config.lock()
  with pytest.raises(AttributeError, match='Did you mean "beta"'):
    config.gencnp.betta = 1.0
  with pytest.raises(TypeError):
    config.gencnp.beta = 'much'


def test_comma_sets_in_any_order_with_blanks_and_repeats():
  legal = ('a', 'b', 'c')
  for given in ('a,c', 'c,a', ' c , a ', 'c,a,c,', ',a,c'):
    assert settings.comma_set('field', given, legal) == ('a', 'c')
    assert settings.words(given, legal) == {'a', 'c'}
  assert settings.words(None, legal) == settings.words('', legal) == set()


def test_an_unknown_word_names_the_nearest():
  with pytest.raises(
    settings.SettingsError, match=r"'smok' is unknown.*Did you mean 'smoke'"
  ):
    settings.words('vgg11,smok', ('vgg11', 'smoke'))
  with pytest.raises(settings.SettingsError) as raised:
    settings.words('zzz', ('vgg11', 'smoke'))
  assert 'choose from vgg11, smoke' in str(raised.value)
  assert 'Did you mean' not in str(raised.value)


def _load(path):
  spec = importlib.util.spec_from_file_location(f'config_{path.stem}', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


EXCLUSIVE = (settings.MODELS, (*settings.OBJECTIVES, 'paper'))


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_every_config_loads_with_each_set_of_its_words(path):
  module = _load(path)
  names = {}
  for count in range(len(module.WORDS) + 1):
    for words in itertools.combinations(module.WORDS, count):
      argument = ','.join(words) if words else None
      if any(len(set(group) & set(words)) > 1 for group in EXCLUSIVE):
        with pytest.raises(settings.SettingsError, match='exclude each other'):
          module.get_config(argument)
        continue
      config = module.get_config(argument)
      legal.validate(config)
      # The default is a word too, and says nothing new; a full evaluation is
      # of the same trained products.
      key = frozenset(words) - {'alexnet', 'full'}
      names.setdefault(config.name, set()).add(key)
      again = module.get_config(','.join(reversed(words)))
      assert again.to_dict() == config.to_dict()
      if 'vgg11' in words:
        assert config.target.model == 'vgg11'
      else:
        assert config.target.model == 'alexnet'
  # The name makes the workdir: variants must not share one.
  assert all(len(variants) == 1 for variants in names.values())
  assert len(names) == len(set().union(*names.values()))
  with pytest.raises(settings.SettingsError, match="Did you mean 'smoke'"):
    module.get_config('smokey')


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
def test_the_smoke_form_is_smaller(path):
  module = _load(path)
  full, smoke = module.get_config(), module.get_config('smoke')
  assert smoke.data.limit > 0
  assert smoke.target.epochs < full.target.epochs
  assert smoke.gencnp.epochs < full.gencnp.epochs


def test_there_are_the_two_configs_of_the_readme():
  assert {path.stem for path in CONFIGS} >= {'cifar', 'digits'}

"""Settings: any value is refused by its field's name, or of use."""

import importlib.util
import json
import math
import pathlib

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
from hypothesis import strategies as st

from gencnp_jax import legal, settings, workspace
from gencnp_jax.choices import SettingsError, comma_set
from gencnp_jax.model import daq
from gencnp_jax.training import state
from tests.fuzz import cases

CONFIGS = sorted(pathlib.Path('configs').glob('*.py'))
SHAPES = ((8, 8, 4), (4, 4, 8), (6,))


def _flat(config, prefix=''):
  for name, value in config.items():
    if isinstance(value, ml_collections.ConfigDict):
      yield from _flat(value, f'{prefix}{name}.')
    else:
      yield f'{prefix}{name}', value


DEFAULTS = dict(_flat(settings.defaults()))
WORDS = sorted({v for v in DEFAULTS.values() if isinstance(v, str)})
TEXTS = (
  st.text(max_size=8)
  | st.sampled_from(WORDS)
  | st.sampled_from(
    (
      '',
      ' ',
      ',',
      'all',
      'ALL',
      '\0',
      '../x',
      '/',
      '.',
      'a\nb',
      '\ud800',
      'é',
      ',,all',
    )
  )
)
WHOLE = st.integers(-3, 40) | st.sampled_from(
  (2**14, 2**15, 2**31 - 1, 2**31, 2**63, -(2**31), 10**30)
)
FLOATS = (
  st.floats(0, 1)
  | st.floats()
  | st.floats(0, 2, width=16)
  | st.sampled_from((5e-324, 1e-7, 1e-6, 1 - 2**-53, 1e30, 1e39, 1e308))
)
TUPLES = st.lists(
  st.floats(0, 1)
  | FLOATS
  | WHOLE
  | st.none()
  | st.booleans()
  | st.text(max_size=2)
  | st.tuples(WHOLE, WHOLE)
  | st.lists(WHOLE, max_size=3),
  max_size=4,
).map(tuple)
OF_KIND = {
  str: TEXTS,
  int: WHOLE,
  float: FLOATS,
  tuple: TUPLES,
  bool: st.booleans(),
}


def _set(config, field, value):
  section, _, name = field.rpartition('.')
  (config[section] if section else config)[name] = value


def _validated(config, fields):
  """Whether a config is legal; what is not must name one of the fields."""
  try:
    legal.validate(config)
  except SettingsError as error:
    said = str(error)
    # Bounds are judged together, and so are the ablations.
    judged = {
      'gencnp.lower': 'gencnp.upper',
      'gencnp.shared_pdn': 'gencnp.embedders',
      'gencnp.quantiser': 'gencnp.layer_floor',
    }
    names = [*fields, *(judged.get(field, field) for field in fields)]
    assert any(f'config.{name}' in said for name in names), said
    assert '\n' not in said
    return False
  return True


@cases.several(
  25,
  1500,
  changes=st.lists(
    st.sampled_from(sorted(DEFAULTS)).flatmap(
      lambda field: st.tuples(st.just(field), OF_KIND[type(DEFAULTS[field])])
    ),
    min_size=1,
    max_size=2,
  ),
)
def test_a_value_is_refused_by_name_or_of_use(changes):
  config = settings.defaults()
  for field, value in changes:
    _set(config, field, value)
  if not _validated(config, [field for field, _ in changes]):
    return
  # What every run does with it first.
  json.dumps(config.to_dict(), allow_nan=False)
  name = pathlib.PurePath('runs', config.name)
  assert len(name.parts) > 1 and '..' not in name.parts
  trained = {field.partition('.')[0] for field, _ in changes}
  for section in (config[n] for n in ('target', 'gencnp') if n in trained):
    total = max(1, math.ceil(round(section.epochs, 6)))
    rate = state.learning_rate(section, total)
    ends = np.asarray([rate(0), rate(total - 1)])
    assert np.isfinite(ends).all() and (ends >= 0).all()
  if config.gencnp.kernel_sizes or config.gencnp.embedding:
    model = workspace.build_gencnp(config.gencnp.to_dict(), config.dtype, None)
    try:
      model.plan(SHAPES)
    except ValueError as error:
      assert 'kernel_sizes' in str(error) or 'embedding' in str(error)


@cases.several(
  3,
  60,
  lower=st.floats(-1e3, 1e3),
  width=st.floats(0, 2e3) | st.floats(0, 1e-2),
  sigma=FLOATS | st.floats(1e-3, 1e3),
  temperature=FLOATS | st.floats(1e-3, 50),
)
def test_what_the_quantiser_takes_has_a_slope(lower, width, sigma, temperature):
  config = settings.defaults()
  config.gencnp.lower, config.gencnp.upper = lower, lower + width
  config.gencnp.sigma, config.gencnp.temperature = sigma, temperature
  fields = [f'gencnp.{f}' for f in ('upper', 'sigma', 'temperature')]
  if not _validated(config, fields):
    return
  x = jnp.linspace(lower, lower + width, 9)
  masks, back = jax.vjp(
    lambda x: daq(
      x, lower, lower + width, sigma=sigma, temperature=temperature
    ),
    x,
  )
  assert set(np.unique(masks)) <= {0, 1}
  (slopes,) = back(jnp.ones_like(x))
  assert np.isfinite(slopes).all() and (slopes >= 0).all()


@cases.several(
  15,
  600,
  field=st.sampled_from(sorted(DEFAULTS)),
  value=st.none()
  | st.booleans()
  | WHOLE
  | FLOATS
  | TEXTS
  | TUPLES
  | st.just({'a': 1}),
)
def test_another_kind_of_value_is_refused(field, value):
  """A ConfigDict takes None for any field, and anything after that."""
  config = settings.defaults()
  _set(config, field, None)
  try:
    _set(config, field, value)
  except (TypeError, ValueError, OverflowError):
    return  # By ml_collections.
  kind = type(DEFAULTS[field])
  numbers = (int, float) if kind is float else kind
  fits = isinstance(value, numbers) and (
    kind is bool or not isinstance(value, bool)
  )
  if not _validated(config, [field]):
    return
  assert fits


@cases.several(5, 100, field=st.sampled_from(sorted(DEFAULTS)))
def test_a_field_that_is_missing_is_named(field):
  config = settings.defaults()
  section, _, name = field.rpartition('.')
  del (config[section] if section else config)[name]
  with pytest.raises(SettingsError, match=rf'config\.{field} is missing'):
    legal.validate(config)
  if section:
    del config[section]
    with pytest.raises(SettingsError, match=rf'config\.{section} is missing'):
      legal.validate(config)
    setattr(config, section, 3)
    with pytest.raises(SettingsError, match=rf'config\.{section}=3'):
      legal.validate(config)


def _module(path):
  spec = importlib.util.spec_from_file_location(f'config_{path.stem}', path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


@pytest.mark.parametrize('path', CONFIGS, ids=lambda path: path.stem)
@cases.several(
  10,
  200,
  argument=st.none()
  | st.text(max_size=12)
  | st.lists(
    st.sampled_from(
      ('alexnet', 'vgg11', 'smoke', 'full', 'paper', 'smok', '', ' ', 'é')
    ),
    max_size=4,
  ).map(','.join),
)
def test_words_behind_the_colon(path, argument):
  try:
    config = _module(path).get_config(argument)
  except SettingsError as error:
    assert 'config argument' in str(error) and '\n' not in str(error)
    return
  legal.validate(config)
  given = {w.strip() for w in (argument or '').split(',') if w.strip()}
  assert given <= set(_module(path).WORDS)


@cases.several(
  10,
  300,
  value=st.text(max_size=10)
  | st.lists(
    st.sampled_from(('red', 'green', 'blue', ' red', 'Red', '')), max_size=4
  ).map(','.join),
)
def test_a_comma_set_is_in_its_legal_order_or_refused(value):
  known = ('red', 'green', 'blue')
  given = [word.strip() for word in value.split(',') if word.strip()]
  try:
    found = comma_set('colours', value, known)
  except SettingsError as error:
    assert str(error).startswith('config.colours')
    assert not given or not set(given) <= set(known)
    return
  assert found == tuple(word for word in known if word in given)

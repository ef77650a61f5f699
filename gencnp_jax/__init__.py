"""Neural-pathway explanations in JAX: GEN-CNP, its baselines and its metrics.

target = gencnp_jax.Target(model.apply, variables)
explanation = gencnp_jax.explainers.NeuronMCT(target, sparsity=0.95)(images)
"""

import importlib
from typing import Any

from gencnp_jax import attribution as attribution
from gencnp_jax import explainers as explainers
from gencnp_jax import metrics as metrics
from gencnp_jax import zoo as zoo
from gencnp_jax.explainers import evaluate as evaluate
from gencnp_jax.explainers import explain_dataset as explain_dataset
from gencnp_jax.fitting import fit as fit
from gencnp_jax.model import GenCNP as GenCNP
from gencnp_jax.model import daq as daq
from gencnp_jax.pathway import Explanation as Explanation
from gencnp_jax.pathway import class_pathways as class_pathways
from gencnp_jax.sharing import share_workdir as share_workdir
from gencnp_jax.target import Preprocess as Preprocess
from gencnp_jax.target import Target as Target
from gencnp_jax.workspace import about as about
from gencnp_jax.workspace import load_explainer as load_explainer
from gencnp_jax.workspace import load_target as load_target

__version__ = '0.1.0'


def __getattr__(name: str) -> Any:
  if name == 'plot':  # Loads matplotlib, which takes a second.
    return importlib.import_module('gencnp_jax.report.plots')
  raise AttributeError(f'module {__name__!r} has no attribute {name!r}')

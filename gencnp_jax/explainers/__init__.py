"""Explainers: callables from images to pathways, all of one signature.

explanation = NeuronMCT(target, sparsity=0.95)(images)
"""

from gencnp_jax.explainers.activation import (
  OriginalActivation as OriginalActivation,
)
from gencnp_jax.explainers.base import Explainer as Explainer
from gencnp_jax.explainers.base import ScoredExplainer as ScoredExplainer
from gencnp_jax.explainers.base import activation_means as activation_means
from gencnp_jax.explainers.dgr import DGR as DGR
from gencnp_jax.explainers.evaluate import CURVE as CURVE
from gencnp_jax.explainers.evaluate import evaluate as evaluate
from gencnp_jax.explainers.evaluation import Comparison as Comparison
from gencnp_jax.explainers.evaluation import Evaluation as Evaluation
from gencnp_jax.explainers.explain_dataset import (
  explain_dataset as explain_dataset,
)
from gencnp_jax.explainers.explained_dataset import (
  ExplainedDataset as ExplainedDataset,
)
from gencnp_jax.explainers.generative import Generative as Generative
from gencnp_jax.explainers.greedy import Greedy as Greedy
from gencnp_jax.explainers.neuron_int_grad import (
  NeuronIntGrad as NeuronIntGrad,
)
from gencnp_jax.explainers.neuron_mct import NeuronMCT as NeuronMCT
from gencnp_jax.explainers.random import Random as Random

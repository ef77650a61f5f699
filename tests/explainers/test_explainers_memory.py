"""What a batch takes, as XLA plans it, against what `copies` promises."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gencnp_jax import GenCNP, explainers, pathway, zoo
from gencnp_jax.experiments.methods import BASELINES
from gencnp_jax.target import Target

BATCHES = (64, 256, 1024)
# Weights that Winograd's algorithm transforms are held whatever the batch.
FIXED = 64e6
SHAPE = (32, 32, 3)


def _explainer(name):
  model = zoo.AlexNet()
  images = jnp.zeros((1, *SHAPE))
  target = Target(
    model.apply, jax.eval_shape(model.init, jax.random.key(0), images)
  )
  if name in BASELINES:
    return BASELINES[name](target, 0.95)
  generator = GenCNP()
  activations = tuple(
    jnp.zeros((1, *shape)) for shape in target.activation_shapes(SHAPE)
  )
  variables = jax.eval_shape(generator.init, jax.random.key(0), activations)
  return explainers.Generative(target, generator, variables)


def _planned(explainer, batch):
  """Bytes of temporaries of a batch; nothing is run."""
  shaped = jax.ShapeDtypeStruct
  lowered = jax.jit(lambda e, *args: e.pathways(*args)[:2]).lower(
    explainer,
    shaped((batch,), jnp.int32),
    shaped((batch, *SHAPE), jnp.float32),
    shaped((batch,), jnp.int32),
  )
  return lowered.compile().memory_analysis().temp_size_in_bytes


@pytest.mark.long
@pytest.mark.parametrize('name', ['gencnp', *BASELINES])
def test_memory_grows_linearly_and_as_promised(name):
  explainer = _explainer(name)
  neurons = pathway.neuron_count(explainer.target.activation_shapes(SHAPE))
  planned = [_planned(explainer, batch) for batch in BATCHES]
  for batch, size in zip(BATCHES, planned):
    assert size <= explainer.copies * 4 * neurons * batch + FIXED
  slopes = np.diff(planned) / np.diff(BATCHES)
  assert slopes[1] <= 1.25 * slopes[0] + FIXED / BATCHES[-1]

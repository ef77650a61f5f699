"""Explaining, ours: a batch from images to masks."""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import operations, synthetic, worker
from gencnp_jax import GenCNP, Target, explainers
from gencnp_jax.experiments.methods import BASELINES

SPARSITY = 0.95


def make(target: Target, names: Any, **fields: Any) -> dict[str, Any]:
  """Returns the explainers of these words, GEN-CNP untrained.

  Args:
    target: what they explain.
    names: of `settings.METHODS`.
    **fields: of the baselines, such as `num_steps` of DGR.
  """
  made = {}
  for name in names:
    if name in BASELINES:
      made[name] = BASELINES[name](target, SPARSITY).replace(**fields)
      continue
    model = GenCNP()
    activations = tuple(
      jnp.zeros((1, *shape))
      for shape in target.activation_shapes(synthetic.SHAPE)
    )
    variables = jax.eval_shape(model.init, jax.random.key(0), activations)
    # Initialising compiles for long, and values do not change the time.
    variables = jax.tree.map(lambda s: jnp.full(s.shape, 0.01), variables)
    made[name] = explainers.Generative(target, model, variables)
  return made


def work(name: str, method: str, batch: int, steps: int = 0) -> worker.Work:
  """Explains a batch of random images.

  Untrained weights and random images: neither changes the time, but for
  DGR_R's, which tries again where no step kept the class.

  Args:
    name: of the target.
    method: of `settings.METHODS`.
    batch: images.
    steps: of DGR; 0 for its own number.
  """
  target = synthetic.target(name)
  fields = {'num_steps': steps} if steps else {}
  made = make(target, [method], **fields)
  explainer = made[method]
  images = synthetic.images(batch)
  arguments = explainer, np.arange(batch, dtype=np.int32), images
  start = time.perf_counter()
  compiled = jax.jit(_find).lower(*arguments).compile()
  seconds = time.perf_counter() - start
  memory = compiled.memory_analysis()
  about = {
    'compile_seconds': seconds,
    'temporary_mb': memory.temp_size_in_bytes / 1e6,
    'operations': batch * operations.methods(target, made)[method],
  }

  def run():
    jax.block_until_ready(compiled(*arguments))

  return worker.Work(run, batch, about)


def _find(explainer, index, images):
  found = explainer.pathways(index, images, jnp.full(index.shape, -1))
  return found.logits, found.masks

"""Activations and importance scores as embeddings (Fig. 4)."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from gencnp_jax import explainers, metrics
from gencnp_jax.experiments import methods
from gencnp_jax.experiments.result import NamedFigure, Result
from gencnp_jax.experiments.run import Run, precise
from gencnp_jax.experiments.stored import Arrays
from gencnp_jax.explainers.evaluation import defined
from gencnp_jax.explainers.inputs import batch_size_that_fits
from gencnp_jax.report import Column, Table, plot
from gencnp_jax.runtime import blocks, progress

COORDINATES = 'coordinates.npz'
CLASSES = 10
"""How many classes are drawn."""
COMPONENTS = 50
"""Principal components that t-SNE starts from, its authors' advice."""


def settled(run: Run) -> dict[str, Any]:
  """Returns what the numbers depend on."""
  section = run.config.evaluate
  return {
    'embedded': run.config.experiments.embedded,
    'seed': run.config.seed,
    'split': section.split,
    'limit': section.limit,
  }


def measure(run: Run) -> dict[str, Any]:
  """Returns 'rows', one a layer; writes the coordinates beside."""
  # Drawn: images of a folder come class by class.
  rng = np.random.default_rng(run.config.seed)
  order = rng.permutation(len(run.images))
  drawn = np.sort(order[: run.config.experiments.embedded])
  images = run.images[drawn]
  labels = run.labels
  if labels is None:
    _ = run.evaluated  # Raises where these are not the details of its images.
    labels = run.details['predictions']
  labels = labels[drawn]
  target = run.generative.target
  with precise():
    activations, importance = blocks.collect_rows(
      _record,
      run.generative,
      images,
      batch_size=batch_size_that_fits(target, images),
    )
  rows, coordinates = [], {}
  with progress.Progress(2 * len(activations), 't-SNE', 'embeddings') as bar:
    for i, pair in enumerate(zip(activations, importance)):
      row = {'layer': f'{i + 1}'}
      for kind, values in zip(('features', 'importance'), pair):
        flat = values.reshape(len(values), -1)
        variance = metrics.class_variance(flat, labels)
        row |= {
          f'{kind}_within': defined(variance.within),
          f'{kind}_between': defined(variance.between),
        }
        coordinates[f'{kind}_{i}'] = t_sne(flat, run.config.seed)
        bar.update(1)
      rows.append(row)
  folder = run.folder('embedding')
  folder.mkdir(parents=True, exist_ok=True)
  methods.write_arrays(folder / COORDINATES, labels=labels, **coordinates)
  return {'rows': rows, 'images': len(images)}


def present(run: Run, content: dict[str, Any] | None) -> Result | None:
  """Shows Fig. 4 and its numbers; nothing where it was not measured."""
  if content is None:
    return None
  stored = Arrays(run.folder('embedding') / COORDINATES)
  rows, names = content['rows'], run.about_target['class_names']
  # More colours nobody tells apart.
  most = np.argsort(-np.bincount(stored['labels']), kind='stable')[:CLASSES]
  most = np.sort(most)
  shown = np.isin(stored['labels'], most)
  features, importance = (
    np.stack([stored[f'{kind}_{i}'][shown] for i in range(len(rows))])
    for kind in ('features', 'importance')
  )
  of_many = ''
  if len(names) > CLASSES:
    of_many = f' (the {CLASSES} of {len(names)} with most images)'
  told = ''
  if run.config.gencnp.class_input:
    told = (
      ' The PDN was told the class that the target gives each image: that its '
      'scores group by that follows from this alone.'
    )
  return Result(
    'Original features and importance scores as embeddings',
    f't-SNE of {content["images"]} images: the target’s activations above, the '
    'importance scores that the PDN gives for the same layer below. Distances '
    'in t-SNE mean little; the table’s variances are those of the raw '
    f'embeddings, each divided by the total, so that both add up to 100 %.{told}',
    (table(rows),),
    (
      NamedFigure(
        'embedding',
        'Activations (above) and importance scores (below) of each layer, '
        f'coloured by class{of_many}. {_reading(rows)}',
        plot.embeddings(
          features,
          importance,
          np.searchsorted(most, stored['labels'][shown]),
          [names[c] for c in most],
          [f'layer {row["layer"]}' for row in rows],
          [_caption(row) for row in rows],
        ),
      ),
    ),
  )


def table(rows: list[dict[str, Any]]) -> Table:
  """Returns the shares of variance of each layer, a row a layer."""
  lines = [
    row
    | {
      'within_difference': _difference(row, 'within'),
      'between_difference': _difference(row, 'between'),
    }
    for row in rows
  ]
  return Table(
    'Variance of embeddings within and between classes',
    (
      Column('layer', 'Layer', fmt='text'),
      Column('features_within', 'Features, within'),
      Column('importance_within', 'Importance, within'),
      Column('within_difference', 'Difference, within'),
      Column('features_between', 'Features, between'),
      Column('importance_between', 'Importance, between'),
      Column('between_difference', 'Difference, between'),
    ),
    lines,
    'Shares of the total variance; a negative difference within means that '
    'importance scores group by class more tightly than the features do.',
  )


def t_sne(rows: np.ndarray, seed: int) -> np.ndarray:
  """Returns two-dimensional coordinates, float32 `[n, 2]`.

  Args:
    rows: float `[n, d]`, n at least 4.
    seed: of PCA and t-SNE.
  """
  import threadpoolctl
  from sklearn import decomposition, manifold

  # Its threads wait for one another by spinning: beside any other work on the
  # machine one is eight times as fast as two.
  with threadpoolctl.threadpool_limits(1):
    if min(rows.shape) > COMPONENTS:
      pca = decomposition.PCA(COMPONENTS, random_state=seed)
      rows = pca.fit_transform(rows)
    # Constant rows, as of a layer that is dead, have no principal axis.
    init = 'pca' if np.ptp(rows, axis=0).any() else 'random'
    perplexity = min(30.0, (len(rows) - 1) / 3)
    tsne = manifold.TSNE(init=init, perplexity=perplexity, random_state=seed)
    return tsne.fit_transform(rows).astype(np.float32)


def _record(generative: explainers.Generative, images):
  own = jnp.full(images.shape[0], -1)
  _, activations, generated = generative.generate(images, own)
  return activations, generated.importance


def _difference(row: dict[str, Any], kind: str) -> float | None:
  own, original = row[f'importance_{kind}'], row[f'features_{kind}']
  return None if own is None or original is None else own - original


def _caption(row: dict[str, Any]) -> str:
  shown = [_difference(row, kind) for kind in ('within', 'between')]
  return ' / '.join('–' if v is None else f'{100 * v:+.0f} %' for v in shown)


def _reading(rows: list[dict[str, Any]]) -> str:
  differences = [_difference(row, 'within') for row in rows]
  tighter = sum(d is not None and d < 0 for d in differences)
  return (
    'Below each: the differences of variance within and between classes. '
    f'Importance scores group more tightly in {tighter} of {len(rows)} layers.'
  )

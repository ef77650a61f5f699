"""What pathways look at: Figs. 7 to 9 and 15 to 20, and the pathway itself."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np

from gencnp_jax import attribution, pathway
from gencnp_jax.experiments import heat_peaks, methods
from gencnp_jax.experiments.galleries import (
  FULL,
  GRADIENT,
  INTEGRATED,
  PICTURES,
  order,
)
from gencnp_jax.experiments.galleries import present as present
from gencnp_jax.experiments.run import Run, precise

# A neuron is class-relevant that is on in more than this share of the images.
CORE = 0.5
# Classes whose pathway is worn by others, and images on either side.
_CLASSES, _WEARERS = 2, 4
# Steps of integrated gradients.
_STEPS = 64


def settled(run: Run) -> dict[str, Any]:
  """Returns what the pictures depend on."""
  section = run.config.evaluate
  return {
    'methods': list(methods.named(run.config)),
    'split': section.split,
    'limit': section.limit,
    'sparsity': _sparsity(run),
    'pathways': section.pathways,
    'pictured': run.config.experiments.pictured,
    'seed': run.config.seed,
  }


def measure(run: Run) -> dict[str, Any]:
  """Finds images, pathways, and what each looks at; writes the arrays."""
  with precise():
    rows = _rows(run)
    shown = _chosen(rows, run.config.experiments.pictured, run.config.seed)
    arrays = {'images': run.images[shown]}
    gaps = _heats(run, shown, arrays)
    peaks = heat_peaks.measure(run, _layer(run))
    worn = [
      {'class': int(c), **_transferred(run, rows[c], i, arrays)}
      for i, c in enumerate(_largest(rows))
    ]
  folder = run.folder('pictures')
  methods.write_arrays(folder / PICTURES, **arrays)
  return {
    'classes': run.details['predictions'][shown].tolist(),
    'gaps': gaps,
    'peaks': peaks,
    'positions': int(arrays[f'cam/{FULL}'][0].size),
    'steps': _STEPS,
    'worn': worn,
  }


def _sparsity(run: Run) -> float:
  """Returns the baselines' sparsity."""
  mean = run.evaluated['rows'][0]['firing_sparsity']
  return run.config.evaluate.sparsity or methods.possible(run, mean)


def _rows(run: Run) -> dict[int, np.ndarray]:
  """Returns the images of each class that the target gets right.

  All of them where there are no labels, or none is right.
  """
  said = run.details['predictions']
  right = said == (said if run.labels is None else run.labels)
  right |= not right.any()
  rows = {int(c): np.flatnonzero((said == c) & right) for c in np.unique(said)}
  return {c: found for c, found in rows.items() if len(found)}


def _layer(run: Run) -> int:
  """Returns the activation whose Grad-CAM is drawn."""
  target = run.generative.target
  return attribution.readable_layer(target, run.images.shape[1:])


def _chosen(rows: dict[int, np.ndarray], count: int, seed: int) -> np.ndarray:
  """Returns the first image of classes drawn by seed."""
  classes = np.random.RandomState(seed).permutation(sorted(rows))[:count]
  return np.asarray([rows[c][0] for c in sorted(classes)], int)


def _largest(rows: dict[int, np.ndarray]) -> list[int]:
  """Returns the classes of most images, with some to wear a pathway."""
  fit = [c for c in sorted(rows) if len(rows[c]) > 1]
  return sorted(fit, key=lambda c: -len(rows[c]))[:_CLASSES]


def _heats(run: Run, shown: np.ndarray, arrays: dict[str, Any]) -> list[dict]:
  """Adds the maps of all methods; returns the gaps of integrated gradients."""
  images, own = run.images[shown], run.generative
  target, off = own.target, own.off
  layer = _layer(run)
  arrays[f'cam/{FULL}'] = attribution.grad_cam(target, images, layer=layer)
  arrays[f'gradient/{GRADIENT}'] = attribution.saliency(
    attribution.gradients(target, images)
  )
  integrated = attribution.integrated_gradients(target, images, steps=_STEPS)
  arrays[f'gradient/{INTEGRATED}'] = attribution.saliency(
    integrated.attributions
  )
  for name in order(run):
    explainer = own
    if name != 'gencnp':
      explainer = methods.BASELINES[name](
        target, _sparsity(run), seed=run.config.seed, off=off
      )
    found = _explained(explainer, images, shown)
    title = methods.TITLES[name]
    arrays[f'logits/{title}'] = found.pathway_logits
    arrays[f'cam/{title}'] = attribution.grad_cam(
      target, images, found.masks, off, layer=layer
    )
    arrays[f'gradient/{title}'] = attribution.saliency(
      attribution.gradients(target, images, found.masks, off)
    )
  arrays[f'logits/{FULL}'] = found.logits  # The same by any method.
  return [
    {'rise': float(rise), 'gap': float(gap)}
    for rise, gap in zip(integrated.rise, integrated.gap)
  ]


def _transferred(
  run: Run, rows: np.ndarray, i: int, arrays: dict[str, Any]
) -> dict[str, Any]:
  """Adds the maps of images of a class, some under the others' pathway.

  Args:
    run: the run.
    rows: the class's images that the target gets right.
    i: number of the class among those drawn.
    arrays: what they are added to.
  """
  count = min(_WEARERS, len(rows) // 2)
  wearers, builders = rows[:count], rows[count:]
  own = run.generative
  target, off = own.target, own.off
  shown = builders[:_WEARERS]
  first = own(run.images[shown], importance=False)
  on = 0
  for part in heat_peaks.parts(len(builders)):
    built = own(run.images[builders[part]], importance=False)
    on = on + np.concatenate([m.sum(0).ravel() for m in built.masks])
  shapes = [m.shape[1:] for m in first.masks]
  one = pathway.split(on[None] > CORE * len(builders), shapes)
  core = tuple(mask[0] for mask in one)
  layer = _layer(run)
  for side, chosen, masks in (
    ('own', shown, first.masks),
    ('other', wearers, one),
  ):
    images, prefix = run.images[chosen], f'worn{i}/{side}'
    arrays[f'{prefix}/images'] = images
    arrays[f'{prefix}/cam'] = attribution.grad_cam(target, images, layer=layer)
    arrays[f'{prefix}/pathway_cam'] = attribution.grad_cam(
      target, images, masks, off, layer=layer
    )
    arrays[f'{prefix}/logits'] = np.asarray(target(jnp.asarray(images)))
    arrays[f'{prefix}/pathway_logits'] = np.asarray(
      target.masked(jnp.asarray(images), masks, off)
    )
  for j, (mask, kept) in enumerate(zip(first.masks, core)):
    arrays[f'worn{i}/mask{j}'], arrays[f'worn{i}/core{j}'] = mask[0], kept
  off_share = pathway.firing_sparsity(one)[0]
  return {
    'said': (
      f'neurons on in more than {100 * CORE:.0f} % of {len(builders)} other '
      f'images, {100 * off_share:.1f} % of all are off'
    ),
    'rows': {'own': 'own pathway', 'other': 'class pathway'},
    'layers': len(core),
  }


def _explained(explainer, images, rows) -> pathway.Explanation:
  """Explains images by their numbers, on which draws depend."""
  found = [
    explainer(image[None], importance=False, first_index=int(row))
    for image, row in zip(images, rows)
  ]

  def join(*parts):
    return np.concatenate(parts)

  return pathway.Explanation(
    masks=tuple(map(join, *(f.masks for f in found))),
    logits=join(*(f.logits for f in found)),
    pathway_logits=join(*(f.pathway_logits for f in found)),
    method=explainer.name,
  )

"""Where the heat of all images peaks: of the image, or a habit of the method?

A method whose maps peak at the same position for whatever image says little of
where this image's object is. No picture shows it: it takes all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from gencnp_jax import attribution, pathway
from gencnp_jax.experiments import methods
from gencnp_jax.experiments.run import Run
from gencnp_jax.report import Column, Table

# Images whose masks are unpacked at a time.
_BLOCK = 512


def measure(run: Run, layer: int) -> list[dict[str, Any]]:
  """Finds the peaks of Grad-CAM on all images, for each method.

  GEN-CNP at each image's own sparsity; the baselines with the pathways that
  stage evaluate kept (`evaluate.pathways`), and none without.

  Args:
    run: the run.
    layer: activation whose Grad-CAM is taken.

  Returns:
    Rows of 'method', 'sparsity', and what `peaks` finds.
  """
  own, images = run.generative, run.images
  target = own.target
  shapes = target.activation_shapes(images.shape[1:])
  rows = []

  def add(method, masked, off=own.off):
    cams, counts = [], []
    for part, masks in masked:
      cams.append(
        attribution.grad_cam(target, images[part], masks, off, layer=layer)
      )
      if masks is not None:
        counts.append(np.asarray(pathway.firing_sparsity(masks)))
    sparsity = float(np.concatenate(counts).mean()) if counts else 0.0
    found = peaks(np.concatenate(cams))
    rows.append({'method': method, 'sparsity': sparsity, **found})

  add('Full target', ((part, None) for part in parts(len(images))), None)
  for name in methods.named(run.config):
    if name == 'gencnp':
      masked = (
        (part, own(images[part], importance=False).masks)
        for part in parts(len(images))
      )
      add(methods.TITLES[name], masked)
    elif run.config.evaluate.pathways:
      sizes = tuple(int(np.prod(shape)) for shape in shapes)
      kept = methods.read_pathways(run.evaluate_folder, name, sizes)
      masked = (
        (part, pathway.unpack(kept.bits[part], shapes))
        for part in parts(len(images))
      )
      add(methods.TITLES[name], masked)
  return rows


def peaks(cams: np.ndarray) -> dict[str, float | None]:
  """Returns how often maps peak at their most frequent position.

  Args:
    cams: float `[n, h, w]`, not negative; the peak of a map is its first
      largest value.

  Returns:
    'same', the share of the maps with heat that peak there (None without
    any), and 'no_heat', the share of the maps that are zero.
  """
  flat = cams.reshape(len(cams), -1)
  places = flat.argmax(1)[flat.max(1) > 0]
  same = None
  if len(places):
    same = float(np.bincount(places).max() / len(places))
  return {'same': same, 'no_heat': 1 - len(places) / len(cams)}


def table(rows: Sequence[dict[str, Any]], positions: int) -> Table:
  """Returns the table of `measure`; `positions` are those of a map."""
  return Table(
    'Does the heat follow the image?',
    (
      Column('method', 'Method', fmt='text'),
      Column('sparsity', 'Firing sparsity'),
      Column('same', 'Peak at the most frequent position'),
      Column('no_heat', 'No heat', direction='lower'),
    ),
    rows,
    'Share of the maps with heat that peak at the position where most do, of '
    f'{positions}. Objects stand in the middle more often than at the edge: '
    'compare with the full target. A method far above it has its heat there '
    'whatever the image. Baselines are cut at one sparsity.',
  )


def parts(count: int) -> Iterator[slice]:
  """Yields which images have their masks unpacked together."""
  for start in range(0, count, _BLOCK):
    yield slice(start, min(start + _BLOCK, count))

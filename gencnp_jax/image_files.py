"""Image files explained with what a workdir holds: a picture and a JSON each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from absl import logging
from etils import epath

from gencnp_jax import attribution, explainers, pathway, settings, workspace
from gencnp_jax.choices import SettingsError, one_of
from gencnp_jax.data import photos
from gencnp_jax.experiments import methods
from gencnp_jax.experiments.run import precise
from gencnp_jax.report import export, plot
from gencnp_jax.report.prediction import softmax
from gencnp_jax.runtime import checkpoints, progress
from gencnp_jax.runtime import workdir as workdir_lib

# Where there is no GEN-CNP whose mean could be taken.
_DEFAULT_SPARSITY = 0.95
_TOP = 5


def explain_files(
  workdir: epath.PathLike,
  images: Sequence[str],
  method: str = 'gencnp',
  sparsity: float | None = None,
  out: epath.PathLike | None = None,
  layer: int | None = None,
) -> list[dict[str, Any]]:
  """Explains image files; writes a PNG and a JSON for each.

  Args:
    workdir: of a run, or a checkpoint in it.
    images: files, folders and globs.
    method: a word of `settings.METHODS`.
    sparsity: share of neurons off, in (0, 1); None for each image's own
      (GEN-CNP), or the mean of those (all others).
    out: a folder; None for `explained/<method>` in the workdir.
    layer: activation whose Grad-CAM is drawn; None for the last whose map is
      4x4 or more.

  Returns:
    What the JSON files hold, in the order of the files.

  Raises:
    ValueError: no such workdir, method, sparsity or file; names it. Files that
      cannot be read are named when all others are explained.
  """
  one_of('--method', method, settings.METHODS)
  if sparsity is not None and not 0 < sparsity < 1:
    raise SettingsError(
      f'--sparsity={sparsity}: must be between 0 and 1, such as 0.95.'
    )
  about = workspace.about(workdir)
  files = photos.find(images)
  read, damaged = [], []
  for file in files:
    try:
      read.append(photos.read(file, about['image_shape'][0]))
    except ValueError as error:
      logging.error('%s', error)
      damaged.append(str(error))
  if read:
    stage = 'gencnp' if method == 'gencnp' else 'target'
    home = workspace.find(workdir, stage)
    folder = epath.Path(out) if out else home / 'explained' / method
    records = _explain(
      home, about['class_names'], read, method, sparsity, folder, layer
    )
  if damaged:
    raise ValueError(
      damaged[0]
      if len(files) == 1
      else f'{len(damaged)} of {len(files)} files could not be read; the '
      f'others are explained. The first: {damaged[0]}'
    )
  return records


def _explain(home, names, read, method, sparsity, folder, layer):
  images = np.stack([photo.pixels for photo in read])
  explainer = _explainer(home, method, sparsity, images)
  target, off = explainer.target, explainer.ablation
  if layer is None:
    layer = attribution.readable_layer(target, images.shape[1:])
  with precise():
    found = explainer(images, importance=False)
    maps = {
      'cam': attribution.grad_cam(target, images, layer=layer),
      'pathway_cam': attribution.grad_cam(
        target, images, found.masks, off, layer=layer
      ),
      'pathway_gradient': attribution.saliency(
        attribution.gradients(target, images, found.masks, off)
      ),
    }
  folder.mkdir(parents=True, exist_ok=True)
  records = []
  stems = _stems([photo.path.stem for photo in read])
  with progress.Progress(len(read), 'explained') as bar:
    for i, (photo, stem) in enumerate(zip(read, stems)):
      record = {
        'image': str(photo.path),
        'stored_size': list(photo.stored),
        'notes': list(photo.notes),
        'method': found.method,
        'off': 'zero' if off is None else 'mean',
        **describe(found, i, names),
      }
      figure = plot.explanation(
        photo.pixels,
        [m[i] for m in found.masks],
        found.logits[i],
        found.pathway_logits[i],
        names,
        **{key: heat[i] for key, heat in maps.items()},
        method=found.method,
        title=photo.path.name,
      )
      export.replace(folder / f'{stem}.png', export.render(figure, 'png'))
      workdir_lib.write_json(folder / f'{stem}.json', record)
      bar.update(1)
      records.append(record)
      logging.info('%s', _line(folder / f'{stem}.png', record))
  return records


def _explainer(home, method, sparsity, images) -> explainers.Explainer:
  """Returns the method's explainer, at the sparsity asked for or GEN-CNP's."""
  try:
    generative = workspace.load_explainer(home)
  except checkpoints.CheckpointError:
    if method == 'gencnp':
      raise
    generative = None
  if method == 'gencnp':
    return generative.replace(sparsity=sparsity)
  target = generative.target if generative else workspace.load_target(home)
  if sparsity is None and generative:
    with precise():
      found = generative(images, importance=False)
    shapes = [m.shape[1:] for m in found.masks]
    neuron = 1 / pathway.neuron_count(shapes)
    sparsity = float(np.clip(found.firing_sparsity.mean(), neuron, 1 - neuron))
  if sparsity is None:
    sparsity = _DEFAULT_SPARSITY
    logging.info('There is no GEN-CNP in %s: sparsity %g.', home, sparsity)
  off = generative.off if generative else None
  return methods.BASELINES[method](target, sparsity, off=off)


def describe(
  explanation: pathway.Explanation, row: int, class_names: Sequence[str]
) -> dict[str, Any]:
  """Returns what there is to say of one explained image, as JSON values.

  Args:
    explanation: of some images.
    row: which of them.
    class_names: names of all classes.
  """
  before, after = (
    softmax(logits[row])
    for logits in (explanation.logits, explanation.pathway_logits)
  )
  masks = [m[row] for m in explanation.masks]
  layers = [
    {
      'shape': list(m.shape),
      'neurons_on': int(m.sum()),
      'firing_sparsity': 1 - float(m.mean()),
    }
    for m in masks
  ]
  said = {
    key: {
      'class': class_names[p.argmax()],
      'number': int(p.argmax()),
      'probability': float(p.max()),
    }
    for key, p in (('target', before), ('pathway', after))
  }
  warnings = [
    f'No neuron of layer {i} is on: in a plain chain of layers the image cannot '
    'reach the output, and what the target says is in the mask alone.'
    for i, m in enumerate(masks)
    if not m.any()
  ]
  return {
    **said,
    'same_class': bool(before.argmax() == after.argmax()),
    'top': [
      {
        'class': class_names[c],
        'number': int(c),
        'probability': float(before[c]),
        'probability_with_pathway': float(after[c]),
      }
      for c in np.argsort(-before, kind='stable')[:_TOP]
    ],
    'firing_sparsity': float(explanation.firing_sparsity[row]),
    'neurons': int(sum(m.size for m in masks)),
    'neurons_on': int(sum(m.sum() for m in masks)),
    'layers': layers,
    'warnings': warnings,
  }


def _line(path, record) -> str:
  target, under = record['target'], record['pathway']
  return (
    f'{path}: {target["class"]} {100 * target["probability"]:.1f} %, with the '
    f'pathway {under["class"]} {100 * under["probability"]:.1f} %; '
    f'{100 * record["firing_sparsity"]:.1f} % of the neurons are off.'
  )


def _stems(names: Sequence[str]) -> list[str]:
  """Returns names of files, no two of them equal."""
  given: dict[str, int] = {}
  stems = []
  for name in names:
    stem = name
    while stem in given:
      given[name] += 1
      stem = f'{name}-{given[name]}'
    given[stem] = 1
    stems.append(stem)
  return stems

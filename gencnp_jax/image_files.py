"""Image files explained with what a workdir holds: a picture and a JSON each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging
from etils import epath

from gencnp_jax import (
  attribution,
  explainers,
  image_record,
  pathway,
  settings,
  workspace,
)
from gencnp_jax.choices import SettingsError, one_of
from gencnp_jax.data import photos
from gencnp_jax.experiments import methods
from gencnp_jax.experiments.run import precise
from gencnp_jax.report import export, plot
from gencnp_jax.runtime import buckets, progress
from gencnp_jax.runtime import workdir as workdir_lib

# Where there is no GEN-CNP whose mean could be taken.
_DEFAULT_SPARSITY = 0.95
# Images that are held, explained and written at a time.
_BLOCK = 64
_SUFFIXES = ('.png', '.json')


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
    layer: number of the activation whose Grad-CAM is drawn, from 1 as in the
      picture; None for the last whose map is 4x4 or more.

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
  home = workspace.find(workdir, 'gencnp' if method == 'gencnp' else 'target')
  folder = epath.Path(out) if out else home / 'explained' / method
  buckets.check(folder, '--out')
  outputs = [folder / stem for stem in _stems([file.stem for file in files])]
  _check_spares(files, outputs)
  reader = _Reader(files, tuple(about['image_shape'][:2]))
  explainer = _explainer(home, method, sparsity, reader)
  image_shape = tuple(about['image_shape'])
  if layer is None:
    index = attribution.readable_layer(explainer.target, image_shape)
  else:
    shapes = explainer.target.activation_shapes(image_shape)
    maps = [i + 1 for i in attribution.layers_with_map(shapes)]
    if layer not in maps:
      raise SettingsError(
        f'--layer={layer}: Grad-CAM needs a layer with a map; the target has '
        f'them at {maps or "no layer"}.'
      )
    index = layer - 1
  folder.mkdir(parents=True, exist_ok=True)
  records = []
  with progress.Progress(len(files), 'explained') as bar:
    for first, read in reader.blocks():
      if read:
        records += _explain(
          explainer, about['class_names'], read, outputs, first, index
        )
      bar.update(min(_BLOCK, len(files) - first))
  if reader.damaged:
    first = next(iter(reader.damaged.values()))
    raise ValueError(
      first
      if len(files) == 1
      else f'{len(reader.damaged)} of {len(files)} files could not be read; '
      f'the others are explained. The first: {first}'
    )
  return records


class _Reader:
  """Reads image files in blocks; `damaged` has the messages of the others."""

  def __init__(self, files: list[Path], size: tuple[int, int]):
    self._files, self._size = files, size
    self.damaged: dict[int, str] = {}

  def blocks(self) -> Iterator[tuple[int, dict[int, photos.Photo]]]:
    """Yields the number of a block's first file, and its photos by number."""
    for start in range(0, len(self._files), _BLOCK):
      read = {}
      for i in range(start, min(start + _BLOCK, len(self._files))):
        try:
          read[i] = photos.read(self._files[i], self._size)
        except ValueError as error:
          if i not in self.damaged:
            logging.error('%s', error)
          self.damaged[i] = str(error)
      yield start, read


def _explain(explainer, names, read, outputs, first, layer):
  """Explains a block of photos and writes what was found."""
  images = np.stack([photo.pixels for photo in read.values()])
  target, off = explainer.target, explainer.ablation
  with precise():
    found = explainer(images, importance=False, first_index=first)
    maps = {
      'cam': attribution.grad_cam(target, images, layer=layer),
      'pathway_cam': attribution.grad_cam(
        target, images, found.masks, off, layer=layer
      ),
      'pathway_gradient': attribution.saliency(
        attribution.gradients(target, images, found.masks, off)
      ),
    }
  records = []
  for row, (i, photo) in enumerate(read.items()):
    record = {
      'image': str(photo.path),
      'stored_size': list(photo.stored),
      'notes': list(photo.notes),
      'method': found.method,
      'off': 'zero' if off is None else 'mean',
      **image_record.describe(found, row, names),
    }
    figure = plot.explanation(
      photo.pixels,
      [m[row] for m in found.masks],
      found.logits[row],
      found.pathway_logits[row],
      names,
      **{key: heat[row] for key, heat in maps.items()},
      method=found.method,
      title=photo.path.name,
    )
    picture, data = (_with_suffix(outputs[i], s) for s in _SUFFIXES)
    export.replace(picture, export.render(figure, 'png'))
    workdir_lib.write_json(data, record)
    logging.info('%s', image_record.line(picture, record))
    records.append(record)
  return records


def _check_spares(files: list[Path], outputs: list[epath.Path]) -> None:
  """Raises where a picture would be written over an image."""
  given = {file.resolve() for file in files}
  for output in outputs:
    for suffix in _SUFFIXES:
      path = _with_suffix(output, suffix)
      if not buckets.is_remote(path) and Path(path).resolve() in given:
        raise ValueError(
          f'--out={output.parent}: {path.name} would be written over the image '
          'itself; choose another folder.'
        )


def _with_suffix(path: epath.Path, suffix: str) -> epath.Path:
  # Not `with_suffix`: 'cat.v2' would lose its '.v2'.
  return path.parent / f'{path.name}{suffix}'


def _explainer(home, method, sparsity, reader) -> explainers.Explainer:
  """Returns the method's explainer, at the sparsity asked for or GEN-CNP's."""
  generative = None
  if workspace.checkpoint_directory(home, 'gencnp').exists():
    generative = workspace.load_explainer(home)
  if method == 'gencnp':
    return generative.replace(sparsity=sparsity)
  target = generative.target if generative else workspace.load_target(home)
  if sparsity is None and generative:
    sparsity = _mean_sparsity(generative, reader)
  if sparsity is None:
    sparsity = _DEFAULT_SPARSITY
    logging.info('There is no GEN-CNP in %s: sparsity %g.', home, sparsity)
  off = generative.off if generative else None
  return methods.BASELINES[method](target, sparsity, off=off)


def _mean_sparsity(generative, reader) -> float | None:
  """Returns the mean firing sparsity of GEN-CNP over all photos."""
  found = []
  for _, read in reader.blocks():
    if read:
      images = np.stack([photo.pixels for photo in read.values()])
      with precise():
        explanation = generative(images, importance=False)
      found.append(explanation.firing_sparsity)
  if not found:
    return None
  neuron = 1 / pathway.neuron_count([m.shape[1:] for m in explanation.masks])
  return float(np.clip(np.concatenate(found).mean(), neuron, 1 - neuron))


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

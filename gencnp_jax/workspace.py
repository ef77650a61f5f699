"""What a workdir holds: trained targets and explainers, opened by path alone.

workdir/config.json          the config that made it
workdir/target/              checkpoints and run log of the target
workdir/gencnp/              likewise of the GEN-CNP
workdir/evaluate/            results.json, examples
workdir/report.html
"""

from __future__ import annotations

import dataclasses
import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from gencnp_jax import description, npz_files, zoo
from gencnp_jax.choices import some
from gencnp_jax.explainers import Generative
from gencnp_jax.model import GenCNP
from gencnp_jax.runtime import (
  buckets,
  checkpoints,
  devices,
  files,
  processes,
)
from gencnp_jax.target import Preprocess, Target

_ZOO = {'alexnet': zoo.AlexNet, 'vgg11': zoo.VGG11}
OFF = 'off.npz'
"""In the folder gencnp: what stands in for off neurons, where it is not zero."""
_CHECKPOINTS = 'checkpoints'
_LISTED = 8  # names in a message
_LOOKED_INTO = 50  # folders; a bucket answers ten in a second
_PRODUCTS = {'target': 'target', 'gencnp': 'GEN-CNP'}


def checkpoint_directory(workdir: epath.PathLike, stage: str) -> epath.Path:
  """Returns where a stage keeps its checkpoints."""
  return epath.Path(workdir) / stage / _CHECKPOINTS


def find(path: epath.PathLike, stage: str) -> epath.Path:
  """Returns the workdir that a path lies in, or is.

  Args:
    path: a workdir, or one of a stage's folders in it, down to a checkpoint.
    stage: target or gencnp, whose checkpoints are wanted.

  Raises:
    BucketError: a bucket that cannot be used.
    CheckpointError: none there; says what is, and where workdirs are near.
  """
  buckets.check(path)
  start = epath.Path(path)
  place = start
  while not checkpoint_directory(place, stage).exists():
    # Up from within a run alone: a folder in a run may be a run of its own.
    inside = place.name in (*_PRODUCTS, _CHECKPOINTS) or place.name.isdigit()
    if not inside or not place.exists():
      break
    place = place.parent
  else:
    return place
  folder = next((p for p in (start, *start.parents) if p.exists()), start)
  entries = sorted(folder.iterdir()) if folder.is_dir() else []
  near = [
    p.name
    for p in entries[:_LOOKED_INTO]
    if checkpoint_directory(p, stage).exists()
  ]
  there = [p.name for p in entries if not p.name.startswith('.')]
  said = f'{path}: there is no checkpoint here of a {_PRODUCTS[stage]}'
  said += '; it ' if folder == start else f'. {folder} exists, and '
  said += f'holds {some(there, _LISTED)}.' if there else 'is empty.'
  if near:
    trained = [str(folder / name) for name in near]
    said += f' Trained ones are in {some(trained, _LISTED)}.'
  raise checkpoints.CheckpointError(said)


def about(path: epath.PathLike) -> dict[str, Any]:
  """Returns what a workdir's newest checkpoint says of itself.

  Args:
    path: of a workdir, or of a checkpoint in it; local or `gs://`.

  Returns:
    'class_names', 'image_shape', 'data', 'config', 'versions' and more; of the
    target where there is one, else of the GEN-CNP that `fit` made.

  Raises:
    CheckpointError: no checkpoint, a damaged one, or one of another format.
  """
  stage = 'target'
  try:
    workdir = find(path, stage)
  except checkpoints.CheckpointError as error:
    try:  # One that `fit` made holds no target.
      stage, workdir = 'gencnp', find(path, 'gencnp')
    except checkpoints.CheckpointError:
      raise error from None
  return checkpoints.read_about(checkpoint_directory(workdir, stage))


def build_model(name: str, num_classes: int, dtype: str, axis_name: str | None):
  """Returns a target module of the zoo."""
  return _ZOO[name](
    num_classes=num_classes, dtype=jnp.dtype(dtype), axis_name=axis_name
  )


def build_gencnp(
  fields: dict[str, Any], dtype: str, axis_name: str | None
) -> GenCNP:
  """Returns the GenCNP of a config's `gencnp` section (or its JSON)."""
  names = {f.name for f in dataclasses.fields(GenCNP)}
  chosen = {k: v for k, v in fields.items() if k in names}
  chosen['kernel_sizes'] = tuple(
    k if isinstance(k, int) else tuple(k) for k in fields['kernel_sizes']
  )
  chosen['embedding'] = tuple(fields['embedding']) or None
  chosen['canvases'] = fields.get('canvases') or None
  return GenCNP(**chosen, dtype=jnp.dtype(dtype), axis_name=axis_name)


def load_target(workdir: epath.PathLike) -> Target:
  """Opens the trained target of a workdir, on any device count.

  Args:
    workdir: of a run, or a checkpoint in it; local or `gs://`.

  Returns:
    A `Target` that takes uint8 images or floats in [0, 1].

  Raises:
    CheckpointError: no checkpoint, a damaged one, or one of another format.
  """
  directory = checkpoint_directory(find(workdir, 'target'), 'target')
  about = checkpoints.read_about(directory)
  model = build_model(
    about['model'], len(about['class_names']), about['dtype'], None
  )
  images = jax.ShapeDtypeStruct((1, *about['image_shape']), jnp.float32)
  like = jax.eval_shape(model.init, jax.random.key(0), images)
  return Target(
    model.apply,
    checkpoints.read_variables(directory, like),
    Preprocess(tuple(about['mean']), tuple(about['std'])),
  )


def load_explainer(
  workdir: epath.PathLike, target: Target | None = None
) -> Generative:
  """Opens the trained GEN-CNP of a workdir, with its target, as an explainer.

  Args:
    workdir: of a run, or a checkpoint in it; local or `gs://`.
    target: the classifier, where `fit` made the GEN-CNP for one of your own: a
      workdir does not hold it.

  Raises:
    CheckpointError: no checkpoint, a damaged one, or one of another format.
    ValueError: a target of your own that is missing, or is not the one.
  """
  workdir = find(workdir, 'gencnp')
  directory = checkpoint_directory(workdir, 'gencnp')
  about = checkpoints.read_about(directory)
  image_shape = tuple(about['image_shape'])
  if about.get('fitted'):
    if target is None:
      raise ValueError(
        f'{workdir} holds a GEN-CNP that was fitted to a model of your own, '
        'and not that model: load_explainer(workdir, target=...).'
      )
    check_fitted(about['fitted'], target, image_shape)
  elif target is not None:
    raise ValueError(
      f'{workdir} holds its own target: load_explainer(workdir), without '
      'target=.'
    )
  else:
    target = load_target(workdir)
  model = build_gencnp(about['gencnp'], about['dtype'], None)
  shapes = target.activation_shapes(image_shape)
  activations = tuple(
    jax.ShapeDtypeStruct((1, *shape), jnp.float32) for shape in shapes
  )
  classes = None
  if model.class_input:
    classes = jnp.zeros((1, target.num_classes(image_shape)))
  like = jax.eval_shape(
    model.init, jax.random.key(0), activations, classes=classes
  )
  variables = checkpoints.read_variables(directory, like)
  return Generative(
    target, model, variables, read_off(workdir, about['gencnp'])
  )


def fitted(target: Target, image_shape: tuple[int, ...]) -> dict[str, Any]:
  """Returns by what a target of a user's own is known again, as JSON."""
  shapes = target.activation_shapes(image_shape)
  leaves = devices.raw(jax.tree.leaves(target.variables))
  sums = checkpoints.checksums(devices.to_host(leaves))
  return {
    'activations': [list(s) for s in shapes],
    'checksum': zlib.crc32(str(list(sums.values())).encode()),
    'preprocess': description.in_words(target.preprocess),
    'tap': list(target.tap),
    'relus': None if target.relus is None else list(target.relus),
    'layout': target.layout,
  }


def check_fitted(
  known: dict[str, Any], target: Target, image_shape: tuple[int, ...]
) -> None:
  """Raises where a target is not the one that a GEN-CNP was fitted to."""
  now = fitted(target, image_shape)
  if now['activations'] != known['activations']:
    raise ValueError(
      f'target: its activations are {now["activations"]}; this GEN-CNP was '
      f'fitted to a model with {known["activations"]}.'
    )
  for field in ('preprocess', 'tap', 'relus', 'layout'):
    # Of before there was the field, nothing is known.
    if now[field] != known.get(field, now[field]):
      raise ValueError(
        f'target: {field}={now[field]!r}; this GEN-CNP was fitted to a Target '
        f'with {known[field]!r}.'
      )
  if now['checksum'] != known['checksum']:
    raise ValueError(
      'target: its variables are not those that this GEN-CNP was fitted to. '
      'Load them, or fit another in another workdir.'
    )


def has_off(workdir: epath.PathLike) -> bool:
  """Returns whether what stands in for off neurons has been written."""
  return processes.from_first((epath.Path(workdir) / 'gencnp' / OFF).exists)


def read_off(
  workdir: epath.PathLike, gencnp: dict[str, Any]
) -> tuple[np.ndarray, ...] | None:
  """Reads what stands in for off neurons: None for zero."""
  if gencnp['off'] == 'zero':
    return None
  path = epath.Path(workdir) / 'gencnp' / OFF
  remedy = f'remove {path.parent}, and train the GEN-CNP again'
  try:
    arrays = npz_files.read(path, remedy)
    return tuple(arrays[f'arr_{i}'] for i in range(len(arrays)))
  except (FileNotFoundError, KeyError) as error:
    raise ValueError(
      f'{path} is missing, or another file; {remedy}.'
    ) from error


def write_off(workdir: epath.PathLike, off: tuple[np.ndarray, ...]) -> None:
  """Writes what stands in for off neurons."""
  path = epath.Path(workdir) / 'gencnp' / OFF
  files.write(path, lambda file: np.savez(file, *off))

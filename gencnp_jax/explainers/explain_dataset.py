"""Explains a whole data set into a folder, shard by shard.

A run may end at any moment: a shard gets its name when it is whole, about.json
lists it thereafter, and the same call goes on from what is listed.
`explained_dataset.py` says what lies in the folder.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from absl import logging
from etils import epath

from gencnp_jax import arguments, description
from gencnp_jax.data import Dataset
from gencnp_jax.explainers import base, explained_dataset, inputs
from gencnp_jax.runtime import (
  devices,
  preemption,
  processes,
  progress,
  workdir,
)
from gencnp_jax.target import Target


def explain_dataset(
  explainer: base.Explainer,
  dataset: Dataset | np.ndarray,
  out_dir: epath.PathLike,
  *,
  batch_size: int | None = None,
  shard_size: int = 1024,
  importance: bool = False,
) -> explained_dataset.ExplainedDataset:
  """Explains a data set into a folder, and goes on where a run was ended.

  What is found equals `explainer(images)` of all images at once, bit for bit at
  equal batch size (unless memory forced a smaller one). Shards that are there and whole are kept; a damaged one is
  named in the log and made again. Two runs are told apart by the values of all
  arrays and fields, functions by their names alone.

  Args:
    explainer: the method; classes are the target's own arg-max.
    dataset: a `Dataset`, or images `[n, h, w, channels]`, uint8 or float, what
      the target takes.
    out_dir: the folder, made if need be; local or `gs://` (no lock there: run
      one process at a time).
    batch_size: images at a time, over all devices, rounded up to their
      multiple; None for that of the run in the folder, or what fits.
    shard_size: images a file, rounded up to a multiple of the batch size. A
      remainder of less than a batch joins the last file.
    importance: keep the scores (four bytes a neuron) in the files.

  Raises:
    ValueError: images that the target does not take, sizes below 1, a folder
      that is not writable, is in use, or holds another run.
  """
  images = inputs.check_images(
    dataset.images if isinstance(dataset, Dataset) else dataset
  )
  arguments.at_a_time('batch_size', batch_size)
  arguments.at_a_time('shard_size', shard_size)
  with (
    preemption.watched(),
    workdir.open_workdir(out_dir, 'out_dir') as folder,
  ):
    before = processes.from_first(lambda: explained_dataset.read_about(folder))
    if batch_size is None and before is not None:
      batch_size = before['batch_size']
    about = _about(explainer, images, batch_size, shard_size, importance)
    about['shards'] = processes.from_first(
      lambda: _kept(folder, before, about, _defaults(explainer))
    )
    parts = explained_dataset.parts_of(about)
    missing = {k: v for k, v in parts.items() if k not in about['shards']}
    todo = sum(part.stop - part.start for part in missing.values())
    with progress.Progress(
      len(images), 'Explaining', done=len(images) - todo
    ) as bar:
      for name, part in missing.items():
        found = explainer(
          images[part],
          batch_size=about['batch_size'],
          importance=importance,
          first_index=part.start,
        )
        about['shards'] = processes.from_first(
          lambda: _add_shard(folder, name, found, about)  # noqa: B023
        )
        bar.update(len(found))
  return explained_dataset.ExplainedDataset(folder, about)


def _kept(folder, before, about, defaults) -> dict[str, str]:
  """Returns the shards of an earlier run of the same call."""
  _check_same_run(folder, before, about, defaults)
  _remove_half_written(folder)
  return _whole_shards(folder, before)


def _add_shard(folder, name, found, about) -> dict[str, str]:
  """Writes a shard, then says that it is there."""
  # Not before: a call that explains nothing binds no later one.
  if not (folder / explained_dataset.ABOUT).exists():
    workdir.write_json(folder / explained_dataset.ABOUT, about)
  found.save(folder / name)
  digest = explained_dataset.file_digest(folder / name)
  shards = dict(sorted({**about['shards'], name: digest}.items()))
  workdir.write_json(
    folder / explained_dataset.ABOUT, about | {'shards': shards}
  )
  return shards


def _about(explainer, images, batch_size, shard_size, importance):
  """Returns what makes a run this run and no other, JSON values alone."""
  batch_size = batch_size or inputs.batch_size_that_fits(
    explainer.target, images, explainer.copies
  )
  count = jax.device_count()
  # As it is run: no larger than the images need, the devices divide it.
  batch = -(-min(batch_size, len(images)) // count) * count
  return {
    'kind': explained_dataset.KIND,
    'format': explained_dataset.FORMAT,
    'method': explainer.name,
    **_describe(explainer),
    'images': len(images),
    'image_shape': list(images.shape[1:]),
    'image_dtype': str(images.dtype),
    'images_sha256': _digest(images),
    'importance': importance,
    'batch_size': batch,
    'shard_size': -(-shard_size // batch) * batch,
  }


def _describe(explainer: base.Explainer) -> dict[str, Any]:
  """Returns an explainer's fields: digests of arrays, the others in words."""
  described = {}
  for name, field, value in _fields(explainer, 'explainer.'):
    if not _is_plain(value) and field.metadata.get('pytree_node', True):
      described[f'{name}_sha256'] = _digest(value)
    else:
      described[name] = _in_words(value)
  return described


def _defaults(explainer: base.Explainer) -> dict[str, Any]:
  """Returns what a field was before there was such a field."""
  return {
    name: _in_words(field.default)
    for name, field, _ in _fields(explainer, 'explainer.')
    if field.default is not dataclasses.MISSING
  }


def _fields(
  node: base.Explainer | Target, prefix: str
) -> Iterator[tuple[str, dataclasses.Field, Any]]:
  """Yields name, field and value, those of a target in their place."""
  for field in dataclasses.fields(node):
    name, value = prefix + field.name, getattr(node, field.name)
    if isinstance(value, Target):
      yield from _fields(value, f'{name}.')
    else:
      yield name, field, value


def _is_plain(value: Any) -> bool:
  return value is None or isinstance(value, bool | int | float | str)


def _in_words(value: Any) -> Any:
  return value if _is_plain(value) else description.in_words(value)


def _digest(tree: Any) -> str:
  """Returns the SHA-256 of a tree's arrays, their shapes, types and places."""
  digest = hashlib.sha256()
  for path, leaf in jax.tree_util.tree_leaves_with_path(devices.raw(tree)):
    leaf = np.ascontiguousarray(leaf)
    place = f'{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape} '
    digest.update(place.encode())
    digest.update(leaf.reshape(-1).view(np.uint8))
  return digest.hexdigest()


def _check_same_run(
  folder: epath.Path, before: dict | None, now: dict, defaults: dict
) -> None:
  """Raises where a folder holds another run, and names what differs."""
  if before is None:
    if any(folder.glob('shard_*.npz')):
      raise ValueError(
        f'out_dir={folder} holds shards, but no {explained_dataset.ABOUT} that '
        'says whose. Choose another out_dir.'
      )
    return
  before = defaults | before
  names = [*now, *sorted(before.keys() - now.keys() - {'shards'})]
  different = [
    f'  {name}: the folder has {before.get(name)!r}, this call '
    f'{now.get(name)!r}'
    for name in names
    if before.get(name) != now.get(name)
  ]
  if different:
    raise ValueError(
      f'out_dir={folder} holds another run:\n'
      + '\n'.join(different)
      + '\nChoose another out_dir, or call with what the folder has.'
    )


def _remove_half_written(folder: epath.Path) -> None:
  """Removes the temporary files of a run that was killed."""
  for pattern in ('.shard_*.npz.*', f'.{explained_dataset.ABOUT}.*'):
    for path in folder.glob(pattern):
      path.unlink()


def _whole_shards(folder: epath.Path, before: dict | None) -> dict[str, str]:
  """Returns the shards to keep and their digests; names the damaged ones."""
  if before is None:
    return {}
  parts, whole = explained_dataset.parts_of(before), {}
  for name in parts:
    path = folder / name
    if not path.exists():
      continue
    fault = explained_dataset.fault_of(path, before)
    if fault:
      logging.warning('%s; it is made again.', fault)
    else:
      whole[name] = before['shards'][name]
  logging.info('%s: %d of %d shards are there.', folder, len(whole), len(parts))
  return whole

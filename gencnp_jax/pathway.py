"""Pathways: tuples of {0, 1} masks over a target's neurons.

A neuron is one scalar of one activation. Masks are tuples, one array a layer,
bool `[n, h_i, w_i, c_i]` (or `[n, c_i]`), 1 = the neuron is on. Firing sparsity
is the share of neurons switched OFF.

On the device masks are bool arrays; on disk and between stages they are rows of
bits, all layers of an image behind one another.
"""

from __future__ import annotations

import dataclasses
import json
import math
import numbers
import os
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath

from gencnp_jax import arguments, npz_files
from gencnp_jax.runtime import buckets, files

FORMAT = 1
"""Version of the file that `Explanation.save` writes."""


def flat(arrays: Sequence[jax.Array]) -> jax.Array:
  """Concatenates per-layer arrays `[n, ...]` to `[n, neurons]`."""
  return jnp.concatenate([_rows(a) for a in arrays], axis=1)


def _rows(array: Any) -> Any:
  """Returns `[n, ...]` as `[n, neurons]`, n = 0 included."""
  return array.reshape(array.shape[0], math.prod(array.shape[1:]))


def split(rows: Any, shapes: Sequence[tuple[int, ...]]) -> tuple:
  """Inverse of `flat`: `[n, neurons]` to arrays `[n, *shape]`."""
  sizes = [int(np.prod(shape)) for shape in shapes]
  parts, start = [], 0
  for size, shape in zip(sizes, shapes):
    parts.append(rows[:, start : start + size].reshape(len(rows), *shape))
    start += size
  return tuple(parts)


def neuron_count(shapes: Sequence[tuple[int, ...]]) -> int:
  """Returns the number of neurons of activations of these shapes."""
  return sum(int(np.prod(shape)) for shape in shapes)


def firing_sparsity(masks: Sequence[Any]) -> Any:
  """Returns the share of neurons switched off, float32 `[n]`."""
  on = sum(layer_counts(masks).T)
  return 1.0 - on / neuron_count([m.shape[1:] for m in masks])


def layer_counts(masks: Sequence[Any]) -> jax.Array:
  """Returns how many neurons are on, float32 `[n, layers]` (exact to 2^24)."""
  return jnp.stack([_rows(m).sum(1, dtype=jnp.float32) for m in masks], axis=1)


def pack(masks: Sequence[Any]) -> Any:
  """Packs masks to rows of bits, uint8 `[n, ceil(neurons / 8)]`."""
  if all(isinstance(m, np.ndarray) for m in masks):
    rows = np.concatenate([_rows(m) for m in masks], axis=1)
    return np.packbits(rows.astype(bool), axis=1)
  return jnp.packbits(flat(masks).astype(bool), axis=1)


def unpack(
  rows: np.ndarray, shapes: Sequence[tuple[int, ...]]
) -> tuple[np.ndarray, ...]:
  """Inverse of `pack`: uint8 rows to bool arrays `[n, *shape]`.

  Raises:
    ValueError: rows of another width; NumPy would fill them up with zeros.
  """
  neurons = neuron_count(shapes)
  if rows.shape[1:] != (-(-neurons // 8),):
    raise ValueError(
      f'rows has shape {rows.shape}; {neurons} neurons take '
      f'{-(-neurons // 8)} bytes an image.'
    )
  bits = np.unpackbits(rows, axis=1, count=neurons)
  return split(bits.astype(bool), shapes)


def class_pathways(
  masks: Sequence[np.ndarray], labels: np.ndarray, threshold: float
) -> dict[int, tuple[np.ndarray, ...]]:
  """Returns the class-relevant pathways (paper, "Transferability Settings").

  `P_c = 1[mean over the images of class c of P > threshold]`.

  Args:
    masks: tuple of bool `[n, ...]`.
    labels: int `[n]`: true or predicted classes.
    threshold: eps_cn, in [0, 1).

  Returns:
    For each class that occurs, a tuple of bool masks without the image axis.

  Raises:
    ValueError: masks that are none, labels of another length or no integers, or
      a threshold outside [0, 1).
  """
  images = arguments.masks(masks)
  labels = arguments.numbers('labels', labels)
  if labels.shape != (images,):
    raise ValueError(
      f'labels has shape {labels.shape}; the masks hold {images} images.'
    )
  if not np.issubdtype(labels.dtype, np.integer):
    raise ValueError(
      f'labels are {labels.dtype}; pass class numbers as integers.'
    )
  if not isinstance(threshold, numbers.Real) or not 0.0 <= threshold < 1.0:
    raise ValueError(
      f'threshold={threshold}: a neuron is class-relevant where more than this '
      'share of the images has it on; choose from 0 up to, not including, 1.'
    )
  return {
    int(c): tuple(
      np.mean(m[labels == c], axis=0, dtype=np.float64) > threshold
      for m in masks
    )
    for c in np.unique(labels)
  }


@dataclasses.dataclass(frozen=True)
class Explanation:
  """The pathways of some images, and what the target says under them.

  Attributes:
    masks: tuple of bool `[n, h_i, w_i, c_i]`.
    logits: float32 `[n, classes]`, the target's own.
    pathway_logits: float32 `[n, classes]`, under the masks.
    importance: tuple of float32 shaped like the masks, or None.
    tied: share of the kept neurons that a draw among equal scores chose,
      `[n]`, or None.
    method: name of the explainer.
  """

  masks: tuple[np.ndarray, ...]
  logits: np.ndarray
  pathway_logits: np.ndarray
  importance: tuple[np.ndarray, ...] | None = None
  tied: np.ndarray | None = None
  method: str = ''

  def __len__(self) -> int:
    return len(self.logits)

  def __getitem__(self, rows: slice | np.ndarray) -> Explanation:
    """Returns the explanation of some of the images: `explanation[:8]`.

    Args:
      rows: a slice, or an array of numbers or of truths.

    Raises:
      TypeError: a single number, which would drop the image axis.
    """
    if isinstance(rows, int | np.integer):
      raise TypeError(
        f'explanation[{rows}] is one image; write '
        f'explanation[{rows}:{rows + 1}], or explanation.masks[layer][{rows}].'
      )
    return dataclasses.replace(
      self,
      masks=tuple(m[rows] for m in self.masks),
      logits=self.logits[rows],
      pathway_logits=self.pathway_logits[rows],
      importance=self.importance and tuple(s[rows] for s in self.importance),
      tied=None if self.tied is None else self.tied[rows],
    )

  @property
  def firing_sparsity(self) -> np.ndarray:
    """Share of neurons switched off, float32 `[n]`."""
    return np.asarray(firing_sparsity(self.masks))

  @property
  def agreement(self) -> np.ndarray:
    """Whether the target says the same class under the pathway, bool `[n]`."""
    return self.logits.argmax(1) == self.pathway_logits.argmax(1)

  @property
  def empty_layer(self) -> np.ndarray:
    """Whether a layer has no neuron on, bool `[n]`.

    In a plain chain of layers such a pathway cuts the image off: what the
    target says under it does not depend on the image.
    """
    return np.asarray(layer_counts(self.masks).min(1) == 0)

  def save(self, path: str | os.PathLike) -> None:
    """Writes the explanation to an `.npz` file, masks packed to bits."""
    buckets.check(path)
    arrays = {
      'masks': pack(self.masks),
      'logits': self.logits,
      'pathway_logits': self.pathway_logits,
    }
    if self.tied is not None:
      arrays['tied'] = self.tied
    for i, scores in enumerate(self.importance or ()):
      arrays[f'importance_{i}'] = scores
    about = {
      'format': FORMAT,
      'method': self.method,
      'shapes': [m.shape[1:] for m in self.masks],
      'layers_of_importance': len(self.importance or ()),
    }
    about = json.dumps(about)
    files.replace(
      path, lambda file: np.savez_compressed(file, about=about, **arrays)
    )

  @classmethod
  def load(cls, path: str | os.PathLike) -> Explanation:
    """Reads what `save` wrote.

    Raises:
      ValueError: no such file, a damaged one, or one of another format.
    """
    buckets.check(path)
    path = epath.Path(path)
    if not path.exists():
      raise ValueError(f'{path}: no such file.')
    try:
      with path.open('rb') as file:
        arrays = npz_files.arrays(file)
      about = json.loads(str(arrays.pop('about')))
      version, loaded = about['format'], None
      if version == FORMAT:
        layers = range(about['layers_of_importance'])
        loaded = cls(
          masks=unpack(arrays['masks'], [tuple(s) for s in about['shapes']]),
          logits=arrays['logits'],
          pathway_logits=arrays['pathway_logits'],
          importance=tuple(arrays[f'importance_{i}'] for i in layers) or None,
          tied=arrays.get('tied'),
          method=about['method'],
        )
        _check_shapes(loaded)
    except Exception as error:  # Damage shows as any of a dozen of them.
      raise ValueError(
        f'{path}: not an explanation, or a damaged one ({error}). Write it '
        'again with Explanation.save.'
      ) from error
    if loaded is None:
      raise ValueError(
        f'{path}: explanation format {version}; this version reads format '
        f'{FORMAT}.'
      )
    return loaded


def _check_shapes(loaded: Explanation) -> None:
  """Raises where the arrays do not fit each other."""
  shapes = [m.shape for m in loaded.masks]
  fits = (
    loaded.logits.ndim == 2
    and loaded.pathway_logits.shape == loaded.logits.shape
    and {s[0] for s in shapes} == {len(loaded)}
    and (loaded.tied is None or loaded.tied.shape == (len(loaded),))
    and [s.shape for s in loaded.importance or loaded.masks] == shapes
    and isinstance(loaded.method, str)
  )
  if not fits:
    raise ValueError('its arrays do not fit each other')

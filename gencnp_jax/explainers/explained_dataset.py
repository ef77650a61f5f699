"""The folder of an explained data set, and reading it.

out_dir/about.json        whose run it is, and the SHA-256 of each shard
out_dir/shard_00000.npz   the `Explanation` of the first images, and so on

`explain_dataset.py` writes it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from etils import epath

from gencnp_jax import pathway
from gencnp_jax.runtime import buckets

ABOUT = 'about.json'
FORMAT = 1
"""Version of the folder that `explain_dataset` writes."""
KIND = 'explained data set'

# Of shards in a folder: what a damaged number may ask for.
_MOST = 10**6


@dataclasses.dataclass(frozen=True)
class ExplainedDataset:
  """The pathways of a data set, in a folder.

  Attributes:
    path: the folder.
    about: what made it: method, explainer's fields, digests, sizes.
  """

  path: epath.Path
  about: dict[str, Any]

  @classmethod
  def open(cls, out_dir: epath.PathLike) -> ExplainedDataset:
    """Opens what `explain_dataset` finished, by path alone.

    Args:
      out_dir: the folder; local or `gs://`.

    Raises:
      ValueError: nothing there, shards that are still missing, or a folder that
        something else wrote.
    """
    buckets.check(out_dir)
    path = epath.Path(out_dir)
    about = read_about(path)
    if about is None:
      raise ValueError(
        f'{path}: there is no {ABOUT} here, so explain_dataset has not '
        'finished a shard in this folder.'
      )
    parts = parts_of(about)
    there = [n for n in parts if n in about['shards'] and (path / n).exists()]
    if len(there) < len(parts):
      raise ValueError(
        f'{path}: {len(there)} of {len(parts)} shards are there; the same '
        'explain_dataset call goes on with the others.'
      )
    return cls(path, about)

  def __len__(self) -> int:
    return self.about['images']

  def shards(self) -> Iterator[pathway.Explanation]:
    """Yields the explanations of consecutive images, a shard at a time.

    Raises:
      ValueError: a shard that was damaged since it was written, or that is not
        what about.json says.
    """
    for name, part in parts_of(self.about).items():
      fault = fault_of(self.path / name, self.about)
      if fault:
        raise ValueError(
          f'{fault}. The same explain_dataset call makes it again.'
        )
      shard = pathway.Explanation.load(self.path / name)
      found = len(shard), shard.method
      said = part.stop - part.start, self.about['method']
      if found != said:
        raise ValueError(
          f'{self.path / name} holds {found[0]} images of {found[1]}, and '
          f'{ABOUT} says {said[0]} of {said[1]}: {ABOUT} is damaged. Restore '
          f'it from a copy, or remove {self.path} to start over.'
        )
      yield shard

  def load(self) -> pathway.Explanation:
    """Returns one explanation of all images: a byte a neuron and image.

    Raises:
      ValueError: as `shards`.
    """
    shards = list(self.shards())

    def join(field):
      return jax.tree.map(
        lambda *rows: np.concatenate(rows), *[getattr(s, field) for s in shards]
      )

    return pathway.Explanation(
      masks=join('masks'),
      logits=join('logits'),
      pathway_logits=join('pathway_logits'),
      importance=join('importance'),
      tied=join('tied'),
      method=self.about['method'],
    )

  @property
  def firing_sparsity(self) -> np.ndarray:
    """Share of neurons switched off, float32 `[n]`; reads every shard."""
    return np.concatenate([s.firing_sparsity for s in self.shards()])

  @property
  def agreement(self) -> np.ndarray:
    """Whether the target says the same class, bool `[n]`; reads every shard."""
    return np.concatenate([s.agreement for s in self.shards()])


def parts_of(about: dict[str, Any]) -> dict[str, slice]:
  """Returns which images each shard holds: name -> slice."""
  n, batch = about['images'], about['batch_size']
  # Fewer images than a batch would be run as a smaller batch, which may round
  # otherwise: no shard starts less than a batch before the end.
  starts = range(0, max(n - batch, 0) + 1, about['shard_size'])
  return {
    f'shard_{i:05d}.npz': slice(start, stop)
    for i, (start, stop) in enumerate(itertools.pairwise([*starts, n]))
  }


def read_about(folder: epath.Path) -> dict[str, Any] | None:
  """Reads about.json; None where there is none.

  Raises:
    ValueError: it is damaged, or something else wrote it.
  """
  path = folder / ABOUT
  if not path.exists():
    return None
  try:
    about = json.loads(path.read_text())
  except (OSError, ValueError, RecursionError) as error:
    raise _damaged(path, error) from error
  if not isinstance(about, dict) or about.get('kind') != KIND:
    raise ValueError(
      f'{path} was not written by explain_dataset. Choose another out_dir.'
    )
  if about.get('format') != FORMAT:
    raise ValueError(
      f'{path}: format {about.get("format")!r}; this version reads format '
      f'{FORMAT}.'
    )
  _check_about(path, about)
  return about


def _check_about(path: epath.Path, about: dict[str, Any]) -> None:
  """Raises where what says which shards there are cannot be true."""
  for name in ('images', 'batch_size', 'shard_size'):
    value = about.get(name)
    if type(value) is not int or value < 1:
      raise _damaged(path, f'{name} is {value!r}')
  if about['images'] // about['shard_size'] > _MOST:
    raise _damaged(path, f'{about["images"]} images')
  if not isinstance(about.get('method'), str):
    raise _damaged(path, f'method is {about.get("method")!r}')
  shards = about.get('shards')
  if not isinstance(shards, dict):
    raise _damaged(path, f'shards is {shards!r}')


def _damaged(path: epath.Path, what: Any) -> ValueError:
  return ValueError(
    f'{path} is damaged ({what}), so nobody can say whose shards these are. '
    f'Choose another out_dir, or remove {path.parent} to start over.'
  )


def fault_of(path: epath.Path, about: dict[str, Any]) -> str | None:
  """Returns what is wrong with a shard, or None.

  NumPy does not see every flipped bit of an .npz file: a shape in a header may
  shrink, an array may lose its name.
  """
  if not path.exists():
    return f'{path} is gone'
  expected = about['shards'].get(path.name)
  if expected is None:
    return f'{path} was not finished'
  found = file_digest(path)
  if found != expected:
    return f'{path} is damaged: SHA-256 {found} instead of {expected}'
  return None


def file_digest(path: epath.Path) -> str:
  """Returns the SHA-256 of a file, in hexadecimal."""
  return hashlib.sha256(path.read_bytes()).hexdigest()

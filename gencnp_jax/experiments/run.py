"""What experiments share: config, data, products, each loaded once."""

from __future__ import annotations

import functools
import json
import time
import zlib
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from absl import logging
from etils import epath

from gencnp_jax import (
  data,
  explainers,
  metrics,
  npz_files,
  products,
  workspace,
)
from gencnp_jax.explainers.kept import Kept
from gencnp_jax.runtime import checkpoints, processes, workdir

DETAILS = 'details.npz'

# Float32 products run in lower precision on TPU and GPU unless told not to.
precise = functools.partial(jax.default_matmul_precision, 'highest')


class Run:
  """A run's config and workdir, and what lies in it.

  Attributes:
    config: of the run.
    directory: the opened workdir.
    splits: a function that loads the data, once.
  """

  def __init__(
    self,
    config: Any,
    directory: epath.Path,
    splits: Callable[[], data.Splits],
  ):
    self.config, self.directory, self.splits = config, directory, splits

  @functools.cached_property
  def generative(self) -> explainers.Generative:
    """The trained GEN-CNP.

    Raises:
      ValueError: stage gencnp has not run.
    """
    return products.needed(self.directory, 'gencnp', workspace.load_explainer)

  @functools.cached_property
  def chosen(self) -> data.Dataset:
    """The images that are explained, of `evaluate.split`.

    Raises:
      ValueError: a split that is not there.
    """
    section, splits = self.config.evaluate, self.splits()
    chosen = splits.test if section.split == 'test' else splits.validation
    if chosen is None:
      raise ValueError(
        "config.evaluate.split='validation': no images are held out; set "
        'config.data.validation_share above 0 (none are with '
        "config.data.train_on='test'), or evaluate on the test split."
      )
    return chosen

  @functools.cached_property
  def images(self) -> np.ndarray:
    """The first `evaluate.limit` of them, uint8 `[n, h, w, 3]`.

    Where they lie in the order of their classes, as many at equal distances: the
    first ones would be of a few classes.
    """
    return self.chosen.images[self._taken]

  @property
  def labels(self) -> np.ndarray | None:
    """Their labels, int32 `[n]`, or None."""
    labels = self.chosen.labels
    return None if labels is None else labels[self._taken]

  @functools.cached_property
  def _taken(self) -> slice | np.ndarray:
    limit, labels = self.config.evaluate.limit, self.chosen.labels
    return representative(labels, limit or len(self.chosen.images))

  @property
  def shown(self) -> np.ndarray:
    """Some of `images` for the report: `evaluate.examples`, or one."""
    count = max(self.config.evaluate.examples, 1)
    return self.images[representative(self.labels, count)]

  @functools.cached_property
  def blank(self) -> np.ndarray:
    """The mean training image."""
    return metrics.mean_image(self.splits().train.images)

  @functools.cached_property
  def evaluated(self) -> dict[str, Any]:
    """What stage evaluate found: rows, curve, roap, facts, settings.

    Raises:
      ValueError: stage evaluate has not run, or with other settings.
    """
    section = json.loads(json.dumps(self.config.evaluate.to_dict()))
    path = self.evaluate_folder / products.RESULTS
    if not products.is_evaluated(self.evaluate_folder, section, quiet=True):
      raise ValueError(
        f'{path} is not there, or of other settings in config.evaluate; add '
        'evaluate to config.stages.'
      )
    return json.loads(path.read_text())

  @functools.cached_property
  def details(self) -> dict[str, np.ndarray]:
    """Per-image arrays of GEN-CNP's evaluation, and the example images."""
    return read_arrays(self.evaluate_folder / DETAILS, 'evaluate')

  @functools.cached_property
  def about_target(self) -> dict[str, Any]:
    """What the target's checkpoint says of itself: classes, config."""
    return checkpoints.read_about(
      workspace.checkpoint_directory(self.directory, 'target')
    )

  @property
  def trained_on(self) -> str:
    """`data.train_on` of the target, wherever it was trained."""
    # Before there was the field, nothing else was possible.
    return self.about_target['config']['data'].get('train_on', 'train')

  @property
  def evaluate_folder(self) -> epath.Path:
    """Where stage evaluate writes."""
    return self.directory / 'evaluate'

  def folder(self, experiment: str) -> epath.Path:
    """Returns where an experiment's numbers, tables and figures lie."""
    return self.directory / 'experiments' / experiment

  def compare(
    self,
    compared: list[explainers.Explainer],
    sparsities: tuple[float, ...] = (),
    roap_sparsities: tuple[float, ...] = (),
    keep: Kept | None = None,
  ) -> explainers.Comparison:
    """Evaluates explainers on the images of the run, in full precision."""
    with precise():
      return explainers.evaluate(
        compared,
        self.images,
        self.labels,
        sparsities=sparsities,
        roap_sparsities=roap_sparsities,
        batch_size=self.config.evaluate.batch_size or None,
        blank=self.blank,
        seed=self.config.seed,
        keep=keep,
      )


def read_arrays(path: epath.Path, stage: str) -> dict[str, np.ndarray]:
  """Reads the arrays that a stage left in an .npz file.

  Raises:
    ValueError: they are gone, or damaged; says how to have them made again.
  """
  remedy = f'remove {path.parent}, and add {stage} to config.stages'
  try:
    return npz_files.read(path, remedy)
  except FileNotFoundError as error:
    raise ValueError(f'{path} is missing; {remedy}.') from error


def part(
  path: epath.Path,
  settled: dict[str, Any],
  measure: Callable[[], dict[str, Any]],
) -> dict[str, Any]:
  """Returns what was measured: from its file, where the settings are equal.

  Args:
    path: a JSON file; written as soon as there is something to write.
    settled: what the numbers depend on; device and versions are added.
    measure: returns JSON values; called where the file is not there, is
      damaged, or is of other settings.

  Returns:
    What `measure` returned, with 'settings' and 'seconds'.
  """
  settled = on_this_machine(settled)
  found = processes.from_first(lambda: _found(path, settled))
  if found is not None:
    return found
  start = time.monotonic()
  found = {
    'settings': settled,
    **measure(),
    'seconds': time.monotonic() - start,
  }
  workdir.write_json(path, found | {'checksum': _checksum(found)})
  return found


def _checksum(found: dict[str, Any]) -> int:
  """Returns the CRC-32 of JSON values."""
  return zlib.crc32(json.dumps(found, sort_keys=True).encode())


def on_this_machine(settled: dict[str, Any]) -> dict[str, Any]:
  """Returns settings with device and versions, as JSON gives them back."""
  return json.loads(
    json.dumps(
      settled | {'device': products.device(), 'versions': products.versions()}
    )
  )


def _found(path: epath.Path, settled: dict[str, Any]) -> dict[str, Any] | None:
  """Returns what was measured with the same settings; else makes room."""
  if path.exists():
    try:
      found = json.loads(path.read_text())
      # Before there was a checksum, nothing vouched for the numbers.
      if found.pop('checksum', None) not in (None, _checksum(found)):
        raise ValueError('it fails its checksum')
      if found['settings'] == settled:
        logging.info('%s is there: not measured again.', path)
        return found
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
      logging.warning('%s is damaged: measured again.', path)
  path.parent.mkdir(parents=True, exist_ok=True)
  # Arrays are written beside: never an old file beside new ones.
  path.unlink(missing_ok=True)
  return None


def representative(labels: np.ndarray | None, count: int) -> slice | np.ndarray:
  """Returns which of the images to take: the first, or of all classes.

  Args:
    labels: int `[n]`, or None.
    count: how many. Where the images lie in the order of their classes they are
      taken at equal distances, since the first ones would be of a few classes.
  """
  if labels is None or count >= len(labels) or (np.diff(labels) < 0).any():
    return slice(count)
  return np.arange(count) * len(labels) // count

"""How long the main job takes to its first step, without and with a cache."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

from benchmarks import sides

IMAGES = 50_000
STAGES = ('target', 'gencnp')


def measure(models: list[str]) -> list[dict[str, Any]]:
  """Starts both stages of a target twice, the first time with an empty cache.

  A stage has its first step behind it once that step's line is in its log. The
  images are random, as many as CIFAR-10's, in a file.

  Args:
    models: names of targets.
  """
  found = []
  with tempfile.TemporaryDirectory() as name:
    place = pathlib.Path(name)
    _write(place / 'data')
    for model in models:
      for stage in STAGES:
        seconds = [
          _first_step(place, model, stage, attempt) for attempt in range(2)
        ]
        found.append({'row': f'{model}, {stage}', 'seconds': seconds})
  return found


def _write(folder: pathlib.Path) -> None:
  folder.mkdir()
  rng = np.random.default_rng(0)
  for split, number in (('train', IMAGES), ('test', 1000)):
    pixels = rng.integers(0, 256, (number, 32, 32, 3), np.uint8)
    labels = np.arange(number, dtype=np.int32) % 10
    np.savez(folder / f'{split}.npz', images=pixels, labels=labels)


def _first_step(place, model: str, stage: str, attempt: int) -> float:
  """Returns seconds from the start of the command to its first step."""
  workdir = place / f'{model}_{stage}_{attempt}'
  trained = place / f'{model}_target_0'
  options = [
    '--config=configs/cifar.py:' + model,
    f'--workdir={workdir}',
    '--config.data.name=npz',
    f'--config.data.path={place / "data"}',
    '--config.runtime.evaluate_every=1',
    '--config.runtime.checkpoint_every=1',
  ]
  if stage == 'target':
    epochs = 1 / (IMAGES // 128)
    options += ['--config.stages=target', f'--config.target.epochs={epochs}']
  else:
    options += ['--config.stages=target,gencnp']
    options += [f'--config.target.workdir={trained}']
  cache = {'JAX_COMPILATION_CACHE_DIR': str(place / f'cache_{model}_{stage}')}
  log = workdir / stage / 'log.jsonl'
  start = time.perf_counter()
  process = subprocess.Popen(
    [sys.executable, '-m', 'gencnp_jax.main', *options],
    env={**os.environ, **cache},
    cwd=sides.LAUNCH.parent,
    stdout=subprocess.DEVNULL,
    stderr=subprocess.PIPE,
    text=True,
  )
  while not (log.exists() and log.read_text()):
    if process.poll() is not None:
      raise SystemExit(process.stderr.read())
    time.sleep(0.05)
  seconds = time.perf_counter() - start
  if stage == 'target' and attempt == 0:
    process.wait()  # The next stage needs its target.
  else:
    process.kill()
    process.wait()
  return seconds

"""Several real processes of one program, and what became of them."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

from etils import epath

from gencnp_jax.runtime import run_log
from tests import compilation

ROOT = pathlib.Path(__file__).parents[2]
CONFIG = str(ROOT / 'tests' / 'promises' / 'config.py')


class Pod:
  """Starts processes; as a context, none outlives it.

  Args:
    *arguments: of the program; of each process where there are several.
    count: of processes; with more than one they form a cluster.
    devices: of each.
    cache: folder of the compilation cache.
    present: numbers of the processes that are started; None for all.
    folders: working directory of each, where it is not the project.
    program: module that is run.
    **environment: variables.
  """

  def __init__(
    self,
    *arguments,
    count=1,
    devices=1,
    cache=None,
    present=None,
    folders=None,
    program='tests.promises.program',
    **environment,
  ):
    flags = f'--xla_force_host_platform_device_count={devices}'
    environment = {
      **os.environ,
      'JAX_PLATFORMS': 'cpu',
      'PYTHONPATH': str(ROOT),
      'XLA_FLAGS': f'{flags} {compilation.QUICK}',
      **environment,
    }
    if cache is not None:
      environment |= {
        'JAX_COMPILATION_CACHE_DIR': str(cache),
        'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0',
        'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '-1',
      }
    port, self._files, self.processes = free_port(), [], []
    for i in range(count):
      if present is not None and i not in present:
        continue
      cluster = [
        f'--coordinator=127.0.0.1:{port}',
        f'--num_processes={count}',
        f'--process_id={i}',
      ]
      # A file, since a pipe that nobody reads would stop them.
      file = open(f'/dev/shm/pod-{os.getpid()}-{port}-{i}', 'w+')  # noqa: SIM115
      os.unlink(file.name)
      self._files.append(file)
      self.processes.append(
        subprocess.Popen(
          [
            sys.executable,
            '-m',
            program,
            *map(str, arguments),
            *(cluster if count > 1 else ()),
          ],
          stdout=file,
          stderr=subprocess.STDOUT,
          cwd=folders[i] if folders else ROOT,
          env=environment,
        )
      )

  def __enter__(self):
    return self

  def __exit__(self, *unused):
    for process in self.processes:
      process.kill()
      process.wait()
    for file in self._files:
      file.close()

  def said(self, i=0):
    """Returns the output of a process so far."""
    self._files[i].flush()
    # The child moves the shared position.
    return os.pread(self._files[i].fileno(), 1 << 24, 0).decode()

  def until(self, happened, seconds=240):
    """Waits until something is true; fails where a process ends before."""
    end = time.monotonic() + seconds
    while not happened():
      for i, process in enumerate(self.processes):
        assert process.poll() is None, self.said(i)
      assert time.monotonic() < end, self.said()
      time.sleep(0.02)

  def send(self, what=signal.SIGTERM, to=(0,)):
    for i in to:
      self.processes[i].send_signal(what)

  def codes(self, seconds=240):
    """Waits for all; returns their exit codes."""
    end = time.monotonic() + seconds
    for process in self.processes:
      process.wait(max(end - time.monotonic(), 1))
    return [process.returncode for process in self.processes]

  def finish(self):
    """Waits for all, which must end well."""
    assert set(self.codes()) == {0}, '\n'.join(
      self.said(i) for i in range(len(self.processes))
    )


def train(workdir, *arguments, **options):
  """Starts the command with the tiny config."""
  return Pod(
    f'--config={CONFIG}', f'--workdir={workdir}', *arguments, **options
  )


def free_port():
  with socket.socket() as listener:
    listener.bind(('127.0.0.1', 0))
    return listener.getsockname()[1]


def steps(workdir, stage):
  """Returns the steps of a stage that the log has."""
  path = epath.Path(workdir) / stage / 'log.jsonl'
  return [r['step'] for r in run_log.read(path)]


def trained(workdir, stage):
  """Returns what a stage has trained: its log, last step, sums of leaves."""
  folder = epath.Path(workdir) / stage
  log = [
    {k: v for k, v in record.items() if k != 'images_per_second'}
    for record in run_log.read(folder / 'log.jsonl')
  ]
  steps = folder / 'checkpoints'
  last = max(int(p.name) for p in steps.iterdir() if p.name.isdigit())
  about = json.loads((steps / str(last) / 'about/metadata').read_text())
  return log, last, about['checksums']


def outcome(workdir):
  """Returns what a finished run is: what it has trained, and its numbers."""
  workdir = epath.Path(workdir)
  found = {stage: trained(workdir, stage) for stage in ('target', 'gencnp')}
  results = json.loads((workdir / 'evaluate/results.json').read_text())
  found['rows'] = [
    {k: v for k, v in row.items() if k not in ('seconds', 'images_per_second')}
    for row in results['rows']
  ]
  assert len((workdir / 'report.html').read_bytes()) > 10_000
  return found

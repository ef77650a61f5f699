"""The start of several processes: `jax.distributed`, where it is asked for."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils

from gencnp_jax.runtime import processes
from gencnp_jax.runtime.processes import ClusterError

# Seconds without a word until a process counts as dead.
_HEARTBEAT = 60


def start(
  coordinator: str | None = None,
  num_processes: int | None = None,
  process_id: int | None = None,
  timeout: int = 300,
) -> None:
  """Starts `jax.distributed` where flags or the environment ask for it.

  Must be called before any device is touched. A Cloud TPU slice, SLURM and Open
  MPI are detected; elsewhere the three values are needed, or
  JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID.

  Args:
    coordinator: HOST:PORT, where process 0 listens.
    num_processes: how many there are.
    process_id: number of this one, from 0.
    timeout: seconds to wait for the other processes. Then the process ends
      with a message: the runtime itself would end it with a stack trace.

  Raises:
    ClusterError: values that do not go together, or an environment that is not
      what JAX can detect.
  """
  given = {
    '--coordinator': coordinator or os.environ.get('JAX_COORDINATOR_ADDRESS'),
    '--num_processes': _number(num_processes, 'JAX_NUM_PROCESSES'),
    '--process_id': _number(process_id, 'JAX_PROCESS_ID'),
  }
  _check(given, timeout)
  coordinator, num_processes, process_id = given.values()
  cluster = coordinator or detected(os.environ)
  if cluster is None:
    return
  # Of CPUs; the others have their own.
  jax.config.update('jax_cpu_collectives_implementation', 'gloo')
  logging.info('Waiting up to %d s for the processes of %s.', timeout, cluster)
  met = threading.Event()
  threading.Thread(
    target=_watch, args=(met, timeout, cluster, process_id), daemon=True
  ).start()
  try:
    jax.distributed.initialize(
      coordinator,
      num_processes,
      process_id,
      cluster_detection_method='deactivate' if coordinator else None,
      # The message comes before the runtime's own end.
      initialization_timeout=timeout + 60,
      heartbeat_timeout_seconds=_HEARTBEAT,
    )
  except (ValueError, RuntimeError, KeyError) as error:
    raise ClusterError(
      f'jax.distributed did not start under {cluster}: {error} Name the '
      'processes with --coordinator=HOST:PORT --num_processes=N --process_id=I.'
    ) from error
  finally:
    met.set()
  if jax.process_count() > 1:
    processes.watch_others()
    _check_devices()
    _connect()
  logging.info(
    'Process %d of %d on %s: %d of %d devices.',
    jax.process_index(),
    jax.process_count(),
    socket.gethostname(),
    jax.local_device_count(),
    jax.device_count(),
  )


def detected(environ: Mapping[str, str]) -> str | None:
  """Returns the cluster that an environment says it is a process of, or None.

  Args:
    environ: the environment's variables.
  """

  def several(*names):
    return next((int(environ[n]) > 1 for n in names if n in environ), False)

  if several('OMPI_COMM_WORLD_SIZE'):
    return 'Open MPI'
  # A batch script, or a shell in an allocation, is none of the processes that
  # srun starts.
  in_step = 'SLURM_STEP_NODELIST' in environ
  if in_step and several('SLURM_STEP_NUM_TASKS', 'SLURM_NTASKS'):
    return 'SLURM'
  # JAX sets it on a TPU VM when it is imported.
  on_tpu = environ.get('TPU_ML_PLATFORM') == 'JAX'
  if on_tpu and environ.get('JAX_PLATFORMS', 'tpu') in ('', 'tpu'):
    return 'a Cloud TPU slice'
  return None


def _watch(
  met: threading.Event, timeout: int, cluster: str, process_id: int | None
) -> None:
  """Ends the process with a message where the others do not come."""
  if met.wait(timeout):
    return
  mine = '' if process_id is None else f' This is process {process_id}.'
  processes.say(
    f'Error: the processes of {cluster} did not meet within {timeout} s.{mine} '
    'Start the same command on every worker (launch/tpu_pod.sh, srun, mpirun, '
    'or one process for each --process_id from 0), see that the port of the '
    'coordinator can be reached, or allow more with --cluster_timeout.'
  )
  os._exit(1)


def _connect() -> None:
  """Makes the connections of the collectives while all processes are here.

  On CPU a process waits for the others 30 s in the first collective over a set
  of devices, and for any time in those after it.
  """
  multihost_utils.sync_global_devices('start')
  gather = jax.pmap(lambda x: jax.lax.all_gather(x, 'all'), axis_name='all')
  jax.block_until_ready(gather(np.zeros(jax.local_device_count(), np.float32)))


def _check_devices() -> None:
  counts = processes.from_all(jax.local_device_count())
  if len(set(counts)) > 1:
    raise ClusterError(
      f'the processes have {counts} devices; each needs the same number.'
    )


def _check(given: Mapping[str, Any], timeout: int) -> None:
  """Raises where flags do not go together."""
  missing = [flag for flag, value in given.items() if value is None]
  if timeout < 1:
    raise ClusterError(f'--cluster_timeout={timeout}: must be 1 or more.')
  if len(missing) == len(given):
    return
  if missing:
    raise ClusterError(
      f'{" and ".join(missing)} missing: {", ".join(given)} go together.'
    )
  coordinator, count, number = given.values()
  host, _, port = coordinator.rpartition(':')
  if not host or not port.isdigit():
    raise ClusterError(f'--coordinator={coordinator}: must be HOST:PORT.')
  if count < 1:
    raise ClusterError(f'--num_processes={count}: must be 1 or more.')
  if not 0 <= number < count:
    raise ClusterError(
      f'--process_id={number}: must be 0 to {count - 1}, with '
      f'--num_processes={count}.'
    )


def _number(given: int | None, name: str) -> int | None:
  """Returns what a flag gave, else what the environment says."""
  value = os.environ.get(name)
  if given is not None or value is None:
    return given
  if not value.isdigit():
    raise ClusterError(f'{name}={value} in the environment: must be a number.')
  return int(value)

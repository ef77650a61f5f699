"""Processes: two real ones agree, and one alone asks nobody."""

import os
import pathlib
import subprocess
import sys

import jax
import pytest

from gencnp_jax.runtime import cluster, processes
from tests import compilation
from tests.promises import pod


def test_two_processes_agree(tmp_path):
  """The checks are those of `agreements.py`."""
  port = pod.free_port()
  started = [
    subprocess.Popen(
      [
        *(sys.executable, '-m', 'tests.runtime.agreements'),
        *(str(port), str(i), str(tmp_path)),
      ],
      stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT,
      text=True,
      cwd=pathlib.Path(__file__).parents[2],
      env={
        **os.environ,
        'JAX_PLATFORMS': 'cpu',
        'XLA_FLAGS': (
          f'{compilation.QUICK} --xla_force_host_platform_device_count=2'
        ),
      },
    )
    for i in range(2)
  ]
  for process in started:
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 0 and 'agreed' in said, said


def test_one_process_asks_nobody():
  assert processes.is_first() and not processes.several()
  assert processes.from_first(lambda: (1, 2)) == (1, 2)
  assert processes.from_all(3) == [3]
  processes.check_same('thing', {'a': object}, '')
  processes.wait('nothing')


_SRUN = {
  'SLURM_STEP_NODELIST': 'node[1-2]',
  'SLURM_STEP_NUM_TASKS': '2',
  'SLURM_NTASKS': '2',
}


@pytest.mark.parametrize(
  'environ, found',
  [
    ({}, None),
    (_SRUN, 'SLURM'),
    # A shell in an allocation, a batch script, one task.
    ({'SLURM_NTASKS': '8'}, None),
    (_SRUN | {'SLURM_STEP_NUM_TASKS': '1'}, None),
    ({'OMPI_COMM_WORLD_SIZE': '4'}, 'Open MPI'),
    ({'OMPI_COMM_WORLD_SIZE': '1'}, None),
    ({'TPU_ML_PLATFORM': 'JAX'}, 'a Cloud TPU slice'),
    ({'TPU_ML_PLATFORM': 'JAX', 'JAX_PLATFORMS': 'cpu'}, None),
    ({'TPU_ML_PLATFORM': 'JAX', 'JAX_PLATFORMS': 'tpu'}, 'a Cloud TPU slice'),
  ],
)
def test_clusters_are_told_by_their_environment(environ, found):
  assert cluster.detected(environ) == found


@pytest.mark.parametrize(
  'flags, message',
  [
    (('h:1', 2, None), '--process_id missing'),
    ((None, 2, 1), '--coordinator missing'),
    (('h', 2, 1), '--coordinator=h: must be HOST:PORT'),
    ((':8', 2, 1), 'must be HOST:PORT'),
    (('h:1', 0, 0), '--num_processes=0'),
    (('h:1', 2, 2), '--process_id=2: must be 0 to 1'),
    (('h:1', 2, -1), '--process_id=-1'),
    (('h:1', 2, 1, 0), '--cluster_timeout=0'),
  ],
)
def test_flags_that_do_not_go_together(flags, message):
  with pytest.raises(cluster.ClusterError, match=message):
    cluster.start(*flags)


def test_the_environment_may_give_what_flags_do(monkeypatch):
  monkeypatch.setenv('JAX_COORDINATOR_ADDRESS', 'h:1')
  monkeypatch.setenv('JAX_NUM_PROCESSES', '2')
  monkeypatch.setenv('JAX_PROCESS_ID', '5')
  with pytest.raises(cluster.ClusterError, match='--process_id=5'):
    cluster.start()
  monkeypatch.setenv('JAX_PROCESS_ID', 'two')
  with pytest.raises(cluster.ClusterError, match='JAX_PROCESS_ID=two'):
    cluster.start()


def test_without_a_cluster_nothing_is_started():
  cluster.start()
  assert not processes.started()


@pytest.mark.parametrize(
  'said',
  [
    'UNKNOWN: Gloo AllGather failed: [pair.cc:547] Connection closed by peer',
    'UNAVAILABLE: task 1 heartbeat timeout\nmore of it',
  ],
)
def test_a_process_that_is_gone_is_told_from_other_errors(said):
  message = processes.lost(jax.errors.JaxRuntimeError(said))
  assert message.startswith('Error: another process of this run is gone')
  assert message.endswith(f'({said.splitlines()[0]})')
  assert processes.lost(RuntimeError(said)) is None
  memory = jax.errors.JaxRuntimeError('RESOURCE_EXHAUSTED: Out of memory')
  assert processes.lost(memory) is None

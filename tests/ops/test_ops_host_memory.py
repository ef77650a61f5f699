"""Freed blocks stay in the process: the second use faults no page in."""

import pathlib
import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource, runpy, sys
import numpy as np
if sys.argv[2] == 'keep':
  assert runpy.run_path(sys.argv[1])['keep_freed_memory']()
def faults():
  before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  np.ones(80_000_000, np.uint8)
  return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(faults())
"""


@pytest.mark.skipif(
  platform.libc_ver()[0] != 'glibc', reason='a setting of glibc'
)
def test_large_blocks_are_faulted_in_once():
  root = pathlib.Path(__file__).parents[2]
  module = root / 'gencnp_jax' / 'ops' / 'host_memory.py'

  def faults(mode):
    command = [sys.executable, '-c', SCRIPT, str(module), mode]
    return int(
      subprocess.run(command, check=True, capture_output=True, text=True).stdout
    )

  assert faults('keep') < 10 < faults('plain')

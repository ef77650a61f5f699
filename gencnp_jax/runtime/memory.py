"""How much memory a device has."""

from __future__ import annotations

import os
import pathlib

import jax

from gencnp_jax.runtime import processes

# What a container may take; 'max', or no file, where nothing limits it.
_LIMITS = (
  '/sys/fs/cgroup/memory.max',
  '/sys/fs/cgroup/memory/memory.limit_in_bytes',
)


def device_bytes() -> int:
  """Returns the bytes that one device has for arrays.

  On CPU the host's memory, or what its container may take, shared by the
  simulated devices. The least of all processes.
  """
  return min(processes.from_all(_own()))


def _own() -> int:
  stats = jax.local_devices()[0].memory_stats() or {}
  if 'bytes_limit' in stats:
    return stats['bytes_limit']
  host = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
  for name in _LIMITS:
    path = pathlib.Path(name)
    if path.exists() and (limit := path.read_text().strip()).isdigit():
      host = min(host, int(limit))
  return host // jax.local_device_count()

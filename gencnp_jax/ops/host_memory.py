"""Large host buffers that stay in the process.

XLA's CPU backend asks malloc for one block of temporaries per execution. glibc
serves a block of that size by a mapping of its own and unmaps it afterwards, so
that every training step faults all its pages in again: on the machine of the
benchmarks a third to a half of a step's time. Heap memory that is never given
back is faulted in once.
"""

import ctypes
import platform

# Names and numbers from glibc's malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_M_ARENA_MAX = -8
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
  """Tells malloc to keep what is freed instead of returning it.

  For programs, not for libraries: it is a setting of the process, and its
  memory stays at the highest use so far. Call it before the first JAX
  operation. Threads share one heap from then on, since the others cannot
  hold a block over 64 MB.

  Returns:
    Whether it took effect; only glibc has it.
  """
  if platform.libc_ver()[0] != 'glibc':
    return False
  mallopt = ctypes.CDLL(None).mallopt
  settings = (
    (_M_ARENA_MAX, 1),
    (_M_MMAP_MAX, 0),
    (_M_TRIM_THRESHOLD, _NEVER),
  )
  return all([mallopt(name, value) for name, value in settings])

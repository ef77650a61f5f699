"""What lets XLA compile quickly: programs here run once, on tiny arrays."""

import jaxlib

QUICK = '--xla_backend_optimization_level=0'
if jaxlib.version.__version_info__ < (0, 11):
  # A third less to compile. XLA is taking the flag out, and refuses one that
  # it does not know.
  QUICK += ' --xla_cpu_use_fusion_emitters=false'

"""Our worker; started by `sides.py`."""

import jax

from benchmarks import (
  growth_jax,
  methods_jax,
  others_jax,
  steps_jax,
  synthetic,
  without,
  worker,
)


def work(options) -> worker.Work:
  """Returns the work of a row."""
  kind, _, name = options.row.partition('/')
  batch, dtype, count = options.batch, options.dtype, options.count
  if kind == 'step':
    target, _, gencnp = name.partition('_')
    made = steps_jax.distillation if gencnp else steps_jax.classification
    return made(target, batch, dtype)
  if kind in synthetic.TARGETS:
    return methods_jax.work(kind, name, batch, count)
  if kind == 'growth':
    return growth_jax.work(name, count, batch)
  if kind == 'class_iou':
    return others_jax.class_iou(name, count)
  if kind == 'data':
    made = {'device': others_jax.on_device, 'host': others_jax.on_host}
    return made[name](batch, count)
  return {
    'product': lambda: others_jax.product(dtype),
    'copy': others_jax.copy,
  }[kind]()


if __name__ == '__main__':
  chosen = worker.parse()
  if chosen.row == 'growth/devices':
    jax.config.update('jax_num_cpu_devices', chosen.count)
  with without.without(chosen.without):
    made = work(chosen)
    made.about['version'] = jax.__version__
    made.about['without'] = without.TRICKS.get(chosen.without, '')
    made.about['device'] = jax.devices()[0].device_kind
    worker.serve(made)

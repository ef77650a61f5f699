"""PyTorch's worker; started by `sides.py`, perhaps in another environment."""

import torch

from benchmarks import methods_torch, others_torch, steps_torch, worker


def work(options) -> worker.Work:
  """Returns the work of a row."""
  kind, _, name = options.row.partition('/')
  if kind == 'step':
    target, _, gencnp = name.partition('_')
    made = steps_torch.distillation if gencnp else steps_torch.classification
    return made(options, target)
  if kind == 'class_iou':
    return others_torch.class_iou(options, name)
  if kind == 'data':
    return others_torch.loader(options)
  return methods_torch.work(options, kind, name)


if __name__ == '__main__':
  chosen = worker.parse()
  torch.set_num_threads(chosen.threads)
  made = work(chosen)
  made.about['version'] = torch.__version__
  worker.serve(made)

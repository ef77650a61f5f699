"""What is no step and no method, in PyTorch: data and class IoU."""

from __future__ import annotations

import torch
from torch.nn import functional
from torch.utils import data

from benchmarks import worker

PAD = 4
BLOCK = 2048
NEURONS = {'alexnet': 10_752, 'vgg11': 151_552}


class Cropped(data.Dataset):
  """Random crops and flips of uint8 images, one at a time."""

  def __init__(self, images: int):
    self._images = torch.randint(0, 256, (images, 3, 32, 32), dtype=torch.uint8)
    self._labels = torch.randint(0, 10, (images,))

  def __len__(self) -> int:
    return len(self._images)

  def __getitem__(self, i):
    image = functional.pad(self._images[i], [PAD] * 4)
    down, right, flip = (int(torch.randint(0, n, ())) for n in (9, 9, 2))
    image = image[:, down : down + 32, right : right + 32]
    return image.flip(2) if flip else image, self._labels[i]


def loader(options) -> worker.Work:
  """A DataLoader whose workers augment, as one would write it."""
  batches = _endless(
    data.DataLoader(
      Cropped(options.count),
      options.batch,
      shuffle=True,
      num_workers=options.threads,
      drop_last=True,
      persistent_workers=True,
    )
  )
  return worker.Work(lambda: next(batches), options.batch, {})


def _endless(batches):
  while True:
    yield from batches


def class_iou(options, name: str) -> worker.Work:
  """Class IoU over all pairs, in blocks of dense products."""
  neurons, images = NEURONS[name], options.count
  packed = torch.rand(images, neurons) < 0.05
  labels = torch.arange(images) % 10

  def run():
    sizes = packed.sum(1).float()
    total, count = 0.0, 0
    for start in range(0, images, BLOCK):
      left = packed[start : start + BLOCK].float()
      for other in range(start, images, BLOCK):
        right = packed[other : other + BLOCK].float()
        shared = left @ right.T
        rows = slice(start, start + BLOCK), slice(other, other + BLOCK)
        union = sizes[rows[0], None] + sizes[None, rows[1]] - shared
        same = labels[rows[0], None] == labels[None, rows[1]]
        if start == other:
          same = same.triu(1)
        total += (shared / union)[same].sum().item()
        count += same.sum().item()
    return total / count

  return worker.Work(run, images, {})

"""The pictures of `pictures`, drawn: Figs. 7 to 9 and 15 to 20."""

from __future__ import annotations

from typing import Any

from gencnp_jax.experiments import heat_peaks, methods
from gencnp_jax.experiments.result import NamedFigure, Result
from gencnp_jax.experiments.run import Run
from gencnp_jax.experiments.stored import Arrays
from gencnp_jax.report import Column, Table, plot

PICTURES = 'pictures.npz'
FULL, GRADIENT, INTEGRATED = 'Full target', 'Gradient', 'Integrated gradient'

_TEXT = """\
Grad-CAM of the last map of 4x4 or more and gradients to the pixels, of the full target and of
the target with each method's pathway alone; always of the class that the full
target predicts. The images are the first that the target gets right of classes
drawn by seed. GEN-CNP has its own sparsity for each image, the baselines its mean
over all images; the paper's pictures are at firing sparsity 30 %.

Pictures say where a pathway looks, not whether it is right to look there: the
swap leak says how much of the answer is the shape of the pathway itself."""


def present(run: Run, content: dict[str, Any] | None) -> Result | None:
  """Draws the galleries, the transferred pathways and two pathways."""
  if content is None:
    return None
  arrays = Arrays(run.folder('pictures') / PICTURES)
  names = run.about_target['class_names']
  rows = [names[c] for c in content['classes']]
  titles = [methods.TITLES[name] for name in order(run)]
  notes = {
    title: plot.predictions(
      arrays[f'logits/{title}'], names, arrays[f'logits/{FULL}']
    )
    for title in (FULL, *titles)
  }
  cams = {title: arrays[f'cam/{title}'] for title in (FULL, *titles)}
  slopes = {
    title: arrays[f'gradient/{title}']
    for title in (GRADIENT, INTEGRATED, *titles)
  }
  figures = [
    NamedFigure(
      'grad_cam',
      'Grad-CAM (Fig. 7, 15, 16). Below each map: what the target says with '
      'these neurons alone.',
      plot.gallery(arrays['images'], cams, rows, notes=notes),
    ),
    NamedFigure(
      'gradients',
      'Gradients to the pixels (Fig. 8, 17, 18): of the full target, integrated '
      'from black, and on each pathway.',
      plot.gallery(
        arrays['images'],
        slopes,
        rows,
        notes={title: notes[title] for title in titles},
        kind='gradient',
      ),
    ),
  ]
  for i, worn in enumerate(content['worn']):
    figures += _worn_figures(arrays, i, worn, names)
  return Result(
    'What pathways look at',
    _TEXT,
    (
      heat_peaks.table(content['peaks'], content['positions']),
      _gap_table(content['gaps'], rows, content['steps']),
    ),
    tuple(figures),
  )


def _worn_figures(arrays, i, worn, names) -> list[NamedFigure]:
  def of(side):
    prefix = f'worn{i}/{side}'
    heats = {
      'full target': arrays[f'{prefix}/cam'],
      worn['rows'][side]: arrays[f'{prefix}/pathway_cam'],
    }
    said = {
      worn['rows'][side]: plot.predictions(
        arrays[f'{prefix}/pathway_logits'], names, arrays[f'{prefix}/logits']
      )
    }
    return arrays[f'{prefix}/images'], heats, said

  own, own_heats, own_notes = of('own')
  others, other_heats, other_notes = of('other')
  name = names[worn['class']]
  masks, core = (
    [arrays[f'worn{i}/{kind}{j}'] for j in range(worn['layers'])]
    for kind in ('mask', 'core')
  )
  return [
    NamedFigure(
      f'transferred_{i + 1}',
      f'Pathways of class {name}, and the class-relevant one on images that did '
      f'not build it (Fig. 9, 19, 20): {worn["said"]}.',
      plot.transferred(
        own,
        own_heats,
        others,
        other_heats,
        name,
        own_notes,
        other_notes,
        worn['said'],
      ),
    ),
    NamedFigure(
      f'pathway_{i + 1}',
      f'GEN-CNP’s pathway of one image of class {name}, layer by layer: what it '
      'shares with the class-relevant one, and what is on in this image only.',
      plot.pathway(own[0], masks, core, title=f'{name}, GEN-CNP'),
    ),
  ]


def _gap_table(
  gaps: list[dict[str, float]], rows: list[str], steps: int
) -> Table:
  return Table(
    'Completeness of integrated gradients',
    (
      Column('class', 'Image of class', fmt='text'),
      Column('rise', 'Rise of the logit', fmt='float'),
      Column('gap', 'Gap', fmt='float'),
    ),
    [{'class': name, **gap} for name, gap in zip(rows, gaps)],
    'Rise: from a black image to the image. Gap: the sum of the attributions '
    f'minus the rise, after {steps} steps; 0 were there infinitely many.',
  )


def order(run: Run) -> list[str]:
  """Returns the methods, GEN-CNP last, as the paper's pictures have it."""
  own, *others = methods.named(run.config)
  return [*others, own]

import io

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from gencnp_jax.report import comparison, palette, plot
from tests.report import demo


def _draw(figure):
  """Renders the figure; returns the texts of all its axes."""
  FigureCanvasAgg(figure)
  figure.savefig(io.BytesIO(), format='png', dpi=50)
  texts = figure.findobj(matplotlib.text.Text)
  return [text.get_text() for text in texts]


def _titles(figure):
  return [axes.get_title('left') for axes in figure.axes]


def test_plots_leave_the_callers_style_alone():
  before = dict(matplotlib.rcParams)
  plot.comparison(demo.rows())
  assert dict(matplotlib.rcParams) == before


# training curves


def test_training_curves_draw_what_was_logged():
  figure = plot.training_curves(demo.records())
  _draw(figure)
  assert _titles(figure) == [
    'Loss',
    'Agreement with the target, %',
    'Firing sparsity, %',
    'Learning rate',
    'Throughput, images/s',
  ]
  train, validation = figure.axes[1].get_lines()
  assert len(train.get_xdata()) == 51 and len(validation.get_xdata()) == 6
  assert 97 < train.get_ydata()[-1] < 100  # percent
  assert {axes.get_xlabel() for axes in figure.axes} == {'step'}


def test_training_curves_last_row_of_a_step_counts():
  rows = [
    {'step': 2, 'split': 'train', 'loss': 9.0},
    {'step': 1, 'split': 'train', 'loss': 3.0},
    {'step': 2, 'split': 'train', 'loss': 2.0},
    {'step': 3, 'split': 'train', 'loss': float('nan')},
    {'step': 4, 'split': 'test', 'loss': 1.0},
    {'step': 5, 'message': 'saved'},
  ]
  (axes,) = plot.training_curves(rows).axes
  (line,) = axes.get_lines()
  assert list(line.get_xdata()) == [1, 2]
  assert list(line.get_ydata()) == [3, 2]


def test_training_curves_of_one_step():
  rows = [{'step': 0, 'split': 'validation', 'loss': 1.0, 'accuracy': None}]
  figure = plot.training_curves(rows)
  _draw(figure)
  assert _titles(figure) == ['Loss']
  assert figure.axes[0].get_lines()[0].get_marker() == 'o'


@pytest.mark.parametrize('rows', [[], [{'step': 1, 'split': 'train'}]])
def test_training_curves_need_a_metric(rows):
  with pytest.raises(ValueError, match=r'records: .*firing_sparsity'):
    plot.training_curves(rows)


# comparison


def test_comparison_has_a_panel_a_metric():
  figure = plot.comparison(demo.rows())
  texts = _draw(figure)
  assert len(figure.axes) == 5
  assert all(method in texts for method in demo.METHODS)
  assert '98.1' in texts and '4.8' in texts
  within, between = (figure.axes[3].get_lines()[i] for i in range(2))
  assert within.get_xdata()[0] == pytest.approx(59.13)
  assert between.get_xdata()[0] == pytest.approx(31.21)
  assert between.get_markerfacecolor() == 'white'


def test_comparison_leaves_out_what_is_missing():
  rows = [
    {'method': 'GEN-CNP', 'agreement': 0.98, 'swap': None},
    {'method': 'Random', 'agreement': float('nan')},
  ]
  figure = plot.comparison(rows)
  _draw(figure)
  assert len(figure.axes) == 1
  assert len(figure.axes[0].get_lines()) == 1


def test_comparison_needs_a_metric():
  with pytest.raises(ValueError, match=r'rows: .*agreement.*swap'):
    plot.comparison([{'method': 'GEN-CNP', 'agreement': None}])


def test_method_colors():
  one, two = palette.method_colors(['GEN-CNP', 'gencnp, swap term'])
  assert one == two == palette.BLUE
  dgr, random_start = palette.method_colors(['DGR', 'DGR_R'])
  assert dgr != random_start
  alone = palette.method_colors(['Random'])
  assert (
    palette.method_colors(['Mine', 'Other', 'Random', 'Mine'])[2:3] == alone
  )
  colors = palette.method_colors(['Mine', 'Other', 'Random', 'Mine'])
  assert len(set(colors)) == 3 and colors[0] == colors[3]


# firing sparsity


def test_firing_sparsity_in_percent():
  data = demo.sparsity_data()
  figure = plot.firing_sparsity(data[0], data[1], demo.CLASSES, data[2])
  texts = _draw(figure)
  assert f'Firing sparsity, mean {100 * data[0].mean():.1f} %' in texts
  for words in (*demo.CLASSES, 'ReLU 1', 'ReLU 5'):
    assert words in texts
  assert f'{100 * data[2][0, 0]:.1f}' in texts
  left, right = figure.axes
  assert left.get_ylim() == right.get_ylim() == (9.5, -0.5)


@pytest.mark.parametrize(
  'classes, layers, n',
  [
    (1, 1, 0),
    (1, 1, 1),
    (1, 8, 40),
    (3, 1, 2),
    (3, 8, 0),
    (3, 8, 400),
    (200, 8, 50),
  ],
)
def test_firing_sparsity_edge_cases(classes, layers, n):
  random = np.random.default_rng(0)
  predicted = random.integers(0, max(1, classes - 1), n)
  counts = np.bincount(predicted, minlength=classes)
  per_layer = random.random((classes, layers))
  per_layer[counts == 0] = np.nan
  names = [f'class {i}' for i in range(classes)]
  figure = plot.firing_sparsity(random.random(n), predicted, names, per_layer)
  texts = _draw(figure)
  if classes <= 40:
    assert texts.count('no image') == (counts == 0).sum()
    assert texts.count('–') == (counts == 0).sum() * layers


def test_firing_sparsity_of_pathways_that_never_fire():
  zeros = np.zeros((2, 3))
  figure = plot.firing_sparsity(np.ones(5), np.ones(5, int), 'ab', zeros)
  assert _draw(figure).count('0.0') >= 6


def test_firing_sparsity_refuses_what_does_not_fit():
  with pytest.raises(ValueError, match=r'per_layer \(2, 5\).*3 class names'):
    plot.firing_sparsity(np.ones(4), np.ones(4, int), 'abc', np.ones((2, 5)))


# examples


def _examples(k=2, shapes=demo.SHAPES, classes=10, masks=None):
  logits = np.zeros((k, classes), np.float32)
  logits[:, 0] = np.log(3 * max(classes - 1, 1))  # 75 % of class 0
  masks = demo.pathways(k, shapes=shapes) if masks is None else masks
  names = [f'class {i}' for i in range(classes)]
  return demo.pictures(k), masks, logits, logits.copy(), names


def test_examples_say_prediction_probabilities_and_sparsity():
  images, masks, before, after, names = _examples()
  after[1, 3] = after[1, 0] + 9
  texts = _draw(plot.examples(images, masks, before, after, names))
  off = 100 - 100 * sum(m[0].sum() for m in masks) / 10752
  assert 'class 0' in texts and '75 → 75 %' in texts
  assert '75 → class 3 100 %' in texts
  assert f'{off:.1f} % off' in texts
  assert '8×8×64' in texts and 'ReLU 5' in texts


def test_long_class_names_stay_beside_the_image():
  images, masks, before, after, _ = _examples()
  after[1, 3] = after[1, 0] + 9
  names = ['European fire salamander'] * 10
  figure = plot.examples(images, masks, before, after, names)
  texts = _draw(figure)
  assert 'European fire…' in texts
  assert '75 → European … 100 %' in texts
  picture = next(a for a in figure.axes if a.images).get_window_extent()
  words = figure.axes[0].texts + figure.axes[7].texts
  assert len(words) == 6
  assert all(word.get_window_extent().x1 < picture.x0 for word in words)


def test_example_maps_share_one_scale():
  figure = plot.examples(*_examples())
  maps = [image for axes in figure.axes for image in axes.images]
  shown = [image for image in maps if image.get_array().ndim == 2]
  assert len(shown) == 2 * 5
  assert len({image.get_clim() for image in shown}) == 1
  share = 100 * demo.pathways(2)[0][0].mean(-1)
  np.testing.assert_allclose(shown[0].get_array(), share)
  assert {image.get_interpolation() for image in shown} == {'nearest'}


@pytest.mark.parametrize(
  'k, shapes, classes',
  [(1, [(5, 3, 1)], 1), (4, [(5, 3, 1)], 10), (1, [(2, 2, 4)] * 8, 10)],
)
def test_examples_edge_cases(k, shapes, classes):
  _draw(plot.examples(*_examples(k, shapes, classes)))


@pytest.mark.parametrize('k', [1, 6])
def test_example_panels_are_equal_and_inside_the_figure(k):
  figure = plot.examples(*_examples(k))
  _draw(figure)
  boxes = [a.get_window_extent() for a in figure.axes if a.images]
  sizes = [size for box in boxes for size in (box.width, box.height)]
  np.testing.assert_allclose(sizes, sizes[0], rtol=1e-3)
  tight = figure.get_tightbbox().extents
  assert (tight[:2] >= 0).all()
  assert (tight[2:] <= figure.get_size_inches()).all()


@pytest.mark.parametrize('width', [1, 10, 64, 4096])
def test_fully_connected_layers_are_strips(width):
  mask = np.random.default_rng(0).random((2, width)) < 0.3
  maps = demo.pathways(2, shapes=[(4, 4, 8)])
  figure = plot.examples(*_examples(masks=(*maps, mask)))
  _draw(figure)
  strips = [i for a in figure.axes for i in a.images if i.cmap.name == 'Greys']
  assert [s.get_array().shape for s in strips] == [(1, min(width, 64))] * 2
  assert strips[0].get_array().mean() == pytest.approx(mask[0].mean())


def test_only_fully_connected_layers():
  mask = np.eye(2, 6, dtype=bool)
  _draw(plot.examples(*_examples(masks=(mask, mask))))


def test_empty_pathway():
  masks = tuple(np.zeros((1, *shape), bool) for shape in demo.SHAPES)
  assert '100.0 % off' in _draw(plot.examples(*_examples(1, masks=masks)))


@pytest.mark.parametrize('rows', [0, 3])
def test_examples_refuse_other_lengths(rows):
  arguments = list(_examples())
  arguments[0] = demo.pictures(rows) if rows else arguments[0][:0]
  words = rf'same number of rows.*got \[{rows}, 2'
  with pytest.raises(ValueError, match=words):
    plot.examples(*arguments)


# sparsity curve

CUTS = (0.7, 0.9, 0.99)


def _curve():
  return [
    {'method': method, 'cut': cut, 'agreement': 1 - k * cut / 3, 'swap': None}
    for k, method in enumerate(('GEN-CNP', 'NeuronMCT', 'Random'))
    for cut in CUTS
  ]


def test_the_sparsity_curve_has_a_line_a_method_and_a_panel_a_metric():
  figure = plot.sparsity_curve(_curve())
  texts = _draw(figure)
  assert _titles(figure) == ['Agreement ↑']  # Nothing else was measured.
  (axes,) = figure.axes
  for k, line in enumerate(axes.get_lines()):
    np.testing.assert_allclose(line.get_xdata(), (0, 1, 2))
    expected = [100 * (1 - k * cut / 3) for cut in CUTS]
    np.testing.assert_allclose(line.get_ydata(), expected)
  assert [t.get_text() for t in axes.get_xticklabels()] == ['70', '90', '99']
  assert {'GEN-CNP', 'NeuronMCT', 'Random'} <= set(texts)
  colors = [line.get_color() for line in axes.get_lines()]
  assert colors == palette.method_colors(['GEN-CNP', 'NeuronMCT', 'Random'])


@pytest.mark.parametrize(
  'sparsity, place',
  [(0.7, 0), (0.8, 0.5), (0.945, 1.5), (0.99, 2), (0.1, -0.3), (0.999, 2.3)],
)
def test_a_methods_own_sparsity_is_ringed_where_it_lies(sparsity, place):
  own = {'method': 'GEN-CNP', 'firing_sparsity': sparsity, 'agreement': 0.5}
  figure = plot.sparsity_curve(_curve(), [own])
  _draw(figure)
  ring = figure.axes[0].get_lines()[-1]
  np.testing.assert_allclose(ring.get_xdata(), [place])
  np.testing.assert_allclose(ring.get_ydata(), [50])


@pytest.mark.parametrize('missing', [0, 1])
def test_no_panel_of_the_sparsity_curve_stands_alone(missing):
  keys = [column.key for column in comparison.CURVE][missing:]
  rows = [row | dict.fromkeys(keys, 0.5) for row in _curve()]
  figure = plot.sparsity_curve(rows, keys=keys)
  texts = _draw(figure)
  assert len(figure.axes) == len(keys) == 8 - missing
  # Seven leave the legend a place among them, eight have it below.
  rows = {axes.get_subplotspec().rowspan.start for axes in figure.axes}
  assert rows == {0, 1}
  legend = figure.legends[0].get_window_extent()
  for axes in figure.axes:
    assert not legend.overlaps(axes.get_window_extent())
  assert {'GEN-CNP', 'NeuronMCT', 'Random'} <= set(texts)


def test_a_sparsity_curve_of_nothing():
  with pytest.raises(ValueError, match='sparsities='):
    plot.sparsity_curve([])

import matplotlib
import numpy as np
import pytest

from gencnp_jax.report import layer_panels, layers, maps, palette, plot
from gencnp_jax.report.sheet import Sheet
from tests.report import demo, figures

SHAPES = ((4, 4, 6), (2, 2, 8), (10,))
NAMES = tuple(f'class {i}' for i in range(10))


def _masks(shapes=SHAPES, seed=0, share=0.4):
  random = np.random.default_rng(seed)
  return tuple(random.random(shape) < share for shape in shapes)


def _images(figure, name):
  """The maps and strips of a colour map, not the pictures."""
  found = [image for axes in figure.axes for image in axes.images]
  return [i for i in found if i.get_array().ndim == 2 and i.cmap.name == name]


# sheet and maps


def test_a_sheet_places_in_inches_from_the_top_left():
  sheet = Sheet(4, 2)
  box = sheet.axes(1, 0.5, 2, 1).get_position().bounds
  np.testing.assert_allclose(box, (0.25, 0.25, 0.5, 0.5))
  text = sheet.write(1, 0.5, 'here', color='red')
  assert text.get_position() == (0.25, 0.75)
  assert (text.get_va(), text.get_color()) == ('top', 'red')


def test_share_on_of_a_map_is_that_of_channels():
  mask = np.zeros((2, 3, 4), bool)
  mask[1, 2, :3] = True
  share = maps.share_on(mask)
  assert share.shape == (2, 3)
  assert share[1, 2] == 75 and share.sum() == 75


@pytest.mark.parametrize('width', [1, 10, 64, 100, 4096])
def test_share_on_of_a_strip_keeps_the_mean(width):
  mask = np.random.default_rng(0).random(width) < 0.5
  share = maps.share_on(mask)
  assert len(share) == min(width, maps.STRIP)
  sizes = [len(part) for part in np.array_split(mask, len(share))]
  assert np.average(share, weights=sizes) == pytest.approx(100 * mask.mean())


def test_strips_and_maps_have_a_scale_each():
  shares = [np.full((2, 2), 7.0), np.full(3, 20.0), np.full((1, 1), 9.0)]
  assert maps.highest(shares) == (20, 9)
  assert maps.highest([np.zeros((2, 2))]) == (100, 100)


@pytest.mark.parametrize('down', [1, 0.3])
def test_a_strip_is_as_thick_in_flat_axes(down):
  axes = Sheet(2, 2).bare(0, 0, 1, down)
  maps.draw(axes, np.ones(4), (100, 100))
  low, high = axes.get_ylim()
  assert high - low == pytest.approx(down)
  assert (high + low) / 2 == pytest.approx(0.5)


def test_numbers_have_a_space_between_thousands():
  assert maps.count(7) == '7'
  assert maps.count(np.int64(1234567)) == '1 234 567'
  assert maps.dimensions((8, 8, 64)) == '8×8×64'


def test_a_summary_counts_all_layers():
  masks = (np.zeros((2, 2, 400), bool), np.ones(400, bool))
  words = 'firing sparsity 80.0 %: 400 of 2 000 neurons are on'
  assert maps.summary(masks) == words


@pytest.mark.parametrize('shapes', [(), [(1, 2, 2, 3)], [(2, 2)], [(2, 2, 0)]])
def test_masks_are_those_of_one_image(shapes):
  masks = [np.zeros(shape, bool) for shape in shapes]
  for draw in (
    lambda: plot.pathway(demo.pictures(1)[0], masks),
    lambda: _card(masks=masks),
  ):
    with pytest.raises(ValueError, match=r'masks are those of one image'):
      draw()


# pathway


def _pathway(masks=None, **arguments):
  masks = _masks() if masks is None else masks
  return plot.pathway(demo.pictures(1)[0], masks, **arguments)


def test_a_pathway_has_a_map_a_layer_on_one_scale():
  masks = _masks()
  figure = _pathway(masks)
  shown = _images(figure, 'viridis')
  assert len(shown) == 2  # and a strip
  np.testing.assert_allclose(shown[1].get_array(), 100 * masks[1].mean(-1))
  assert len({image.get_clim() for image in shown}) == 1
  assert [i.get_array().shape for i in _images(figure, 'Greys')] == [(1, 10)]


def test_a_pathway_counts_its_neurons():
  masks = _masks()
  texts = figures.texts(_pathway(masks, title='a horse'))
  on = masks[0].sum()
  assert f'{on} of 96  ({100 * on / 96:.1f} %)' in texts
  assert {'a horse', 'ReLU 1', 'ReLU 3', '4×4×6', '10'} <= set(texts)
  words = maps.summary(masks)
  assert words.replace('firing', 'Firing') in texts


def test_layers_have_the_names_given():
  texts = figures.texts(_pathway(layer_names=['stem', 'block', 'head']))
  assert {'stem', 'block', 'head'} <= set(texts)
  assert 'ReLU 1' not in texts
  with pytest.raises(ValueError, match='2 layer names for masks of 3 layers'):
    _pathway(layer_names=['stem', 'head'])


def test_long_layer_names_stay_beside_the_map():
  figure = _pathway(layer_names=['encoder.layer4.1.relu'] * 3)
  left = _images(figure, 'viridis')[0].axes.get_window_extent().x0
  names = [t for t in figure.texts if t.get_text() == 'encoder.lay…']
  assert len(names) == 3
  assert all(name.get_window_extent().x1 < left for name in names)


def test_channels_are_sorted_by_how_often_they_are_on():
  axes = Sheet(3, 1).axes(0, 0, 3, 1)
  mask = np.zeros((2, 2, 3), bool)
  mask[0, 0, 1] = True
  mask[:, 0, 2] = True
  layer_panels.channels(axes, [(palette.BLUE, mask)])
  (steps,) = axes.patches
  np.testing.assert_array_equal(steps.get_data().values, [50, 25, 0])
  assert axes.get_ylim() == (0, 50)
  assert axes.texts[0].get_text() == '2 of 3 channels'


def test_channels_of_a_class_core_are_stacked():
  axes = Sheet(3, 1).axes(0, 0, 3, 1)
  shared, alone, missing = np.eye(3, dtype=bool)
  missing = missing | np.array([False, True, False])
  parts = list(zip('bgr', (shared, alone, missing)))
  layer_panels.channels(axes, parts)
  tops = [steps.get_data().values for steps in axes.patches]
  np.testing.assert_array_equal(tops[0], [100, 0, 0])
  np.testing.assert_array_equal(tops[1], [100, 100, 0])
  np.testing.assert_array_equal(tops[2], [100, 200, 100])
  assert axes.texts[0].get_text() == '2 of 3 neurons'


def test_a_class_core_splits_the_counts():
  masks, core = _masks(), _masks(seed=1)
  figure = _pathway(masks, class_core=core)
  texts = figures.texts(figure)
  shared = sum((m & c).sum() for m, c in zip(masks, core))
  on, size = sum(m.sum() for m in masks), sum(c.sum() for c in core)
  for number, words in (
    (shared, f'of the class core, on ({100 * shared / on:.0f} % of the'),
    (on - shared, f'core ({100 * (on - shared) / on:.0f} % of the pathway)'),
    (size - shared, f'off ({100 * (size - shared) / size:.0f} % of the core)'),
  ):
    assert str(number) in texts
    assert any(words in text for text in texts)
  mask, of_class = masks[0], core[0]
  first = (mask & of_class, mask & ~of_class, of_class & ~mask)
  bars = [axes for axes in figure.axes if len(axes.containers) == 3]
  widths = [container[0].get_width() for container in bars[0].containers]
  np.testing.assert_allclose(widths, [100 * part.mean() for part in first])
  assert len(bars) == 3
  assert len({axes.get_xlim() for axes in bars}) == 1


def test_a_class_core_splits_the_maps_on_one_scale():
  masks, core = _masks(), _masks(seed=1)
  figure = _pathway(masks, class_core=core)
  scales = set()
  for color, _, _ in layers.KINDS:
    shown = [
      i for i in _images(figure, color) if i.get_array().shape != (1, 10)
    ]
    assert len(shown) == 2
    scales |= {image.get_clim() for image in shown}
  assert len(scales) == 1
  only_here = _images(figure, palette.ORANGE)[0].get_array()
  expected = 100 * (masks[0] & ~core[0]).mean(-1)
  np.testing.assert_allclose(only_here, expected)


def test_a_core_of_the_pathway_itself():
  masks = _masks()
  texts = figures.texts(_pathway(masks, class_core=masks))
  assert any('(100 % of the pathway)' in text for text in texts)
  assert any('off (0 % of the core)' in text for text in texts)


def test_a_core_of_other_shapes():
  with pytest.raises(ValueError, match=r'class_core .*10.* shaped as masks'):
    _pathway(_masks(SHAPES[:2]), class_core=_masks())


@pytest.mark.parametrize('core', [False, True])
@pytest.mark.parametrize(
  'shapes',
  [[(1, 1, 1)], demo.SHAPES, [(4, 4, 8)] * 19 + [(9,)]],
)
def test_nothing_in_a_pathway_overlaps(shapes, core):
  masks = _masks(shapes)
  core = _masks(shapes, seed=1) if core else None
  figures.check_inside(_pathway(masks, class_core=core, title='a title'))


def test_a_pathway_of_nothing():
  masks = tuple(np.zeros(shape, bool) for shape in SHAPES)
  figure = _pathway(masks, class_core=masks)
  figures.check_inside(figure)
  texts = figures.texts(figure)
  assert '0 of 10  (0.0 %)' in texts and '0 of 6 channels' in texts


def test_a_pathway_of_fully_connected_layers_has_no_scale_of_maps():
  texts = figures.texts(
    _pathway(_masks([(10,), (5,)]), class_core=_masks([(10,), (5,)]))
  )
  assert not any('at a position' in text for text in texts)


# explanation


def _card(masks=None, before=0, after=0, names=NAMES, image=None, **arguments):
  logits = np.zeros((2, len(names)))
  logits[[0, 1], [before, after]] = np.log(3 * max(len(names) - 1, 1))
  return plot.explanation(
    demo.pictures(1)[0] if image is None else image,
    _masks() if masks is None else masks,
    *logits,
    names,
    **arguments,
  )


def test_the_card_says_that_the_prediction_is_the_same():
  figure = _card(title='horse.png', method='DGR')
  texts = figures.texts(figure)
  words = 'The prediction is the same: class 0, 75 % → 75 % with the pathway'
  assert words in texts and 'horse.png' in texts
  assert f'DGR, {maps.summary(_masks())}' in texts


def test_the_card_says_that_the_prediction_changes():
  words = (
    'The prediction changes: class 0, 75 % → class 3, 75 % with the pathway'
  )
  found = _card(after=3).findobj(matplotlib.text.Text)
  (text,) = [text for text in found if text.get_text() == words]
  assert text.get_color() == palette.ORANGE


def _bars(figure):
  (axes,) = [a for a in figure.axes if a.get_title('left') == 'Probability, %']
  return axes


def test_the_card_pairs_the_bars_of_the_most_probable_classes():
  axes = _bars(_card(before=4, after=7, method='NeuronMCT'))
  names = [label.get_text() for label in axes.get_yticklabels()]
  assert names[0] == 'class 4' and 'class 7' in names and len(names) == 5
  full, pathway = axes.containers
  assert full[0].get_width() == pytest.approx(75)
  assert pathway[names.index('class 7')].get_width() == pytest.approx(75)
  colors = [matplotlib.colors.to_hex(c[0].get_facecolor()) for c in (pathway,)]
  assert colors == palette.method_colors(['NeuronMCT'])
  legend = [text.get_text() for text in axes.get_legend().texts]
  assert legend == ['full target', 'with the pathway']


@pytest.mark.parametrize('classes, bars', [(1, 1), (2, 2), (5, 5), (1000, 5)])
def test_the_card_of_few_and_many_classes(classes, bars):
  names = [f'European fire salamander {i}' for i in range(classes)]
  figure = _card(names=names)
  assert len(_bars(figure).get_yticklabels()) == bars
  figures.check_inside(figure)


def test_the_card_has_a_picture_for_each_heat():
  heats = np.random.default_rng(0).random((3, 32, 32))
  for given, pictures in (
    ({}, 1),
    ({'cam': heats[0]}, 2),
    ({'pathway_gradient': heats[2]}, 2),
    ({'cam': heats[0], 'pathway_cam': heats[1]}, 3),
    (
      {'cam': heats[0], 'pathway_cam': heats[1], 'pathway_gradient': heats[2]},
      4,
    ),
  ):
    figure = _card(**given)
    cells = [a for a in figure.axes if a.images]
    assert len(cells) == pictures + 3
    texts = figures.texts(figure)
    assert sum('Grad-CAM' in text for text in texts) == len(given) - (
      'pathway_gradient' in given
    )
    scale = any('map’s maximum' in text for text in texts)
    assert scale == ('cam' in given)
    figures.check_inside(figure)
  np.testing.assert_array_equal(cells[3].images[0].get_array(), heats[2])


def test_the_card_maps_the_layers_on_one_scale():
  masks = _masks()
  figure = _card(masks)
  shown = _images(figure, 'viridis')
  np.testing.assert_allclose(shown[0].get_array(), 100 * masks[0].mean(-1))
  assert len({image.get_clim() for image in shown}) == 1
  assert f'{100 * masks[2].mean():.1f} % on' in figures.texts(figure)


@pytest.mark.parametrize(
  'shapes, lines',
  [
    ([(3, 3, 2)], 1),
    ([(4, 4, 8)] * 8, 1),
    ([(4, 4, 8)] * 20, 2),
    ([(9,)] * 3, 1),
  ],
)
def test_the_card_of_few_and_many_layers(shapes, lines):
  figure = _card(_masks(shapes))
  figures.check_inside(figure)
  assert figure.get_size_inches()[0] == palette.WIDTH
  layers = [a for a in figure.axes if a.get_title().startswith('ReLU')]
  tops = {round(a.get_position().y1, 6) for a in layers}
  assert (len(layers), len(tops)) == (len(shapes), lines)


@pytest.mark.parametrize('shape', [(8, 8, 1), (20, 40, 3)])
def test_the_card_of_a_normalised_image(shape):
  image = np.random.default_rng(0).normal(size=shape)
  figure = _card(image=image, cam=np.eye(2))
  shown = figure.axes[0].images[0].get_array()
  assert (shown.shape, shown.min(), shown.max()) == ((*shape[:2], 3), 0, 1)
  figures.check_inside(figure)


def test_the_card_refuses_other_logits():
  image, masks = demo.pictures(1)[0], _masks()
  with pytest.raises(
    ValueError, match=r'logits \(1, 2\).*\(2,\).*2 class names'
  ):
    plot.explanation(image, masks, np.zeros((1, 2)), np.zeros(2), 'ab')
  with pytest.raises(ValueError, match='at least one'):
    plot.explanation(image, masks, np.zeros(0), np.zeros(0), '')

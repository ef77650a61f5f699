import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from gencnp_jax.report import gallery as galleries
from gencnp_jax.report import heat, palette, plot
from tests.report import demo, figures


@pytest.fixture
def axes():
  return Figure((1, 1)).add_axes((0, 0, 1, 1))


def _colors(figure, text):
  found = figure.findobj(matplotlib.text.Text)
  return [t.get_color() for t in found if t.get_text() == text]


def _heats(k, size=4, seed=0):
  return np.random.default_rng(seed).random((k, size, size))


def _cells(figure):
  """The axes that show an image or a heat map, not the colour scale."""
  return [axes for axes in figure.axes if axes.images]


# pixels


def test_bytes_and_floats_are_the_same_picture():
  image = demo.pictures(1)[0]
  pixels = heat.pixels(image)
  assert pixels.shape == (32, 32, 3)
  np.testing.assert_allclose(pixels, image / 255)
  np.testing.assert_allclose(heat.pixels(image / 255), pixels)


def test_normalised_floats_are_stretched_to_their_own_range():
  image = np.linspace(-2, 6, 12).reshape(2, 2, 3).astype(np.float32)
  expected = np.linspace(0, 1, 12).reshape(2, 2, 3)
  np.testing.assert_allclose(heat.pixels(image), expected, atol=1e-6)


def test_floats_within_the_range_are_not_stretched():
  image = np.full((2, 2, 3), 0.4)
  image[0, 0] = 0.6
  np.testing.assert_array_equal(heat.pixels(image), image)


@pytest.mark.parametrize('value', [-1.0, 3.0])
def test_a_normalised_image_of_one_value_is_black(value):
  assert not heat.pixels(np.full((2, 2, 1), value)).any()


def test_one_channel_is_grey():
  image = np.arange(4, dtype=np.uint8).reshape(2, 2, 1)
  pixels = heat.pixels(image)
  for channel in range(3):
    np.testing.assert_allclose(pixels[..., channel], image[..., 0] / 255)


@pytest.mark.parametrize('shape', [(4, 4), (4, 4, 2), (1, 4, 4, 3)])
def test_what_is_no_picture(shape):
  with pytest.raises(ValueError, match=r'\[h, w, 1\] or \[h, w, 3\]'):
    heat.pixels(np.zeros(shape))


# overlay


def _overlay(axes, values, image=None):
  heat.overlay(axes, demo.pictures(1)[0] if image is None else image, values)
  return axes.images


def test_the_overlay_is_as_opaque_as_it_is_hot(axes):
  values = np.array([[0.0, 0], [0, 7]])
  picture, over = _overlay(axes, values)
  colors = over.get_array()
  quarter = heat.FINE // 4  # the middle of a cell
  cold, hot = colors[quarter, quarter], colors[-quarter, -quarter]
  assert cold[3] == pytest.approx(0, abs=0.01)
  assert hot[3] == pytest.approx(heat.HIDES, abs=0.01)
  np.testing.assert_allclose(hot[:3], heat.HEAT(1.0)[:3], atol=0.02)
  assert over.get_extent() == picture.get_extent()


def test_the_overlay_is_divided_by_its_own_maximum(axes):
  values = _heats(1)[0]
  one, other = (_overlay(axes, v)[-1] for v in (values, 250 * values))
  np.testing.assert_allclose(one.get_array(), other.get_array(), atol=1e-6)


def test_what_is_negative_is_cold(axes):
  values = np.array([[-9.0, -9], [-9, 1]])
  one, other = (_overlay(axes, v)[-1] for v in (values, values.clip(0)))
  np.testing.assert_array_equal(one.get_array(), other.get_array())


def test_pixels_are_squares_and_heat_is_smooth(axes):
  picture, over = _overlay(axes, np.eye(2))
  assert picture.get_interpolation() == 'nearest'
  alpha = over.get_array()[..., 3]
  assert np.abs(np.diff(alpha, axis=0)).max() < 0.02


def test_the_picture_below_heat_is_dimmed_and_less_colourful(axes):
  image = np.zeros((2, 2, 3))
  image[..., 0] = 1
  below = _overlay(axes, np.ones((2, 2)), image)[0].get_array()
  red, green, blue = below[0, 0]
  assert image.max() > red > green == blue > 0


@pytest.mark.parametrize('value', [0.0, -1.0])
def test_no_heat_is_the_plain_picture_and_a_note(axes, value):
  (picture,) = _overlay(axes, np.full((3, 3), value))
  np.testing.assert_allclose(picture.get_array(), demo.pictures(1)[0] / 255)
  assert [text.get_text() for text in axes.texts] == ['no heat']


@pytest.mark.parametrize('image', [(32, 32), (8, 8), (224, 224), (30, 60)])
@pytest.mark.parametrize('size', [(1, 1), (2, 2), (7, 9), (256, 256)])
def test_heat_of_any_size_takes_the_form_of_the_image(image, size):
  values = np.random.default_rng(0).random(size)
  fine = heat.smooth(values, image)
  assert fine.shape[0] * image[1] == fine.shape[1] * image[0]
  assert max(fine.shape) == max(heat.FINE, *image)
  assert 0 <= fine.min() <= fine.max() <= 1


def test_a_smooth_map_does_not_move():
  y, x = np.mgrid[:8, :8] / 7
  fine = heat.smooth(y + x > 1.5, (32, 32))
  np.testing.assert_allclose(fine, fine.T, atol=1e-6)
  assert fine[-1, -1] > 0.99 and fine[0, 0] < 0.01


@pytest.mark.parametrize(
  'values', [np.ones(3), np.ones((1, 2, 2)), np.full((2, 2), np.nan)]
)
def test_what_is_no_heat_map(axes, values):
  for draw in (
    lambda: _overlay(axes, values),
    lambda: heat.saliency(axes, values),
  ):
    with pytest.raises(ValueError, match='finite numbers'):
      draw()


# saliency


def test_saliency_shows_pixels_from_0_to_1(axes):
  values = np.array([[0, 0.5], [0.9, 3.0]])
  heat.saliency(axes, values)
  (drawn,) = axes.images
  np.testing.assert_array_equal(drawn.get_array(), values.clip(0, 1))
  assert drawn.get_clim() == (0, 1)
  assert drawn.get_interpolation() == 'nearest'
  assert not axes.texts


def test_saliency_of_nothing(axes):
  heat.saliency(axes, np.zeros((2, 2)))
  assert [text.get_text() for text in axes.texts] == ['no heat']


# predictions


def test_predictions_name_class_probability_and_change():
  logits = np.log([[0.93, 0.07], [0.2, 0.8]])
  full = np.log([[0.6, 0.4], [0.9, 0.1]])
  cat, dog = plot.predictions(logits, ('cat', 'dog'), full)
  assert cat[0] == 'cat' and not cat.changed
  assert cat.probability == pytest.approx(0.93)
  assert (cat.words(20), dog.words(20)) == ('cat 93 %', '✗ dog 80 %')
  assert not any(p.changed for p in plot.predictions(logits, 'ab'))


def test_large_logits_stay_finite():
  (said,) = plot.predictions(np.array([[1e4, -1e4]]), 'ab')
  assert said.probability == 1


def test_long_names_are_cut_and_the_number_is_not():
  said = plot.Prediction('European fire salamander', 0.5)
  assert said.words(20) == 'European fire … 50 %'
  assert len(said.words(20)) == 20
  assert said._replace(changed=True).words(20) == '✗ European fi… 50 %'


@pytest.mark.parametrize('full', [None, np.zeros((2, 2))])
def test_predictions_refuse_other_shapes(full):
  with pytest.raises(ValueError, match=r'logits \(2, 3\).*2 classes'):
    plot.predictions(np.zeros((2, 3)), 'ab', full)


# gallery


def _gallery(k=2, columns=('Grad-CAM', 'GEN-CNP'), **arguments):
  heats = {name: _heats(k, seed=i) for i, name in enumerate(columns)}
  names = [f'row {i}' for i in range(k)]
  images = arguments.pop('images', demo.pictures(k))
  return plot.gallery(images, heats, names, **arguments)


def test_a_gallery_is_a_row_an_image_and_a_column_a_method():
  figure = _gallery(3)
  cells = _cells(figure)
  assert [len(axes.images) for axes in cells] == [1, 2, 2] * 3
  lefts = {round(axes.get_position().x0, 6) for axes in cells}
  tops = {round(axes.get_position().y1, 6) for axes in cells}
  assert (len(lefts), len(tops)) == (3, 3)
  assert {'Grad-CAM', 'GEN-CNP', 'row 0', 'row 2'} <= set(figures.texts(figure))


def test_a_gallery_draws_each_heat_in_its_place(axes):
  figure = _gallery(2)
  over = _cells(figure)[5].images[1]  # second row, second heat
  expected = _overlay(axes, _heats(2, seed=1)[1], demo.pictures(2)[1])[1]
  np.testing.assert_array_equal(over.get_array(), expected.get_array())


def test_a_gallery_of_gradients():
  heats = {'Full': _heats(2, 32)}
  figure = plot.gallery(demo.pictures(2), heats, 'ab', kind='gradient')
  cells = _cells(figure)
  assert [len(axes.images) for axes in cells] == [1, 1] * 2
  np.testing.assert_array_equal(
    cells[3].images[0].get_array(), heats['Full'][1]
  )
  assert any('gradient' in text for text in figures.texts(figure))


def test_notes_of_another_class_are_orange_and_explained():
  said = [plot.Prediction('cat', 0.93), plot.Prediction('dog', 0.5, True)]
  figure = _gallery(2, notes={'GEN-CNP': said})
  assert _colors(figure, 'cat 93 %') == [palette.QUIET]
  assert _colors(figure, '✗ dog 50 %') == [palette.ORANGE]
  mark = '✗  another class than without the pathway'
  assert _colors(figure, mark) == [palette.ORANGE]
  same = _gallery(2, notes={'GEN-CNP': said[:1] * 2})
  assert not any('✗' in text for text in figures.texts(same))


def test_a_line_below_a_heading():
  figure = _gallery(1, column_notes={'GEN-CNP': '94.7 % off'})
  assert _colors(figure, '94.7 % off') == [palette.QUIET]


NAMES = (
  'Grad-CAM',
  'NeuronMCT',
  'NeuronIntGrad',
  'Original activation',
  'DGR',
  'DGR_R',
  'Greedy',
  'Random',
  'Integrated gradients',
  'GEN-CNP',
)


@pytest.mark.parametrize('k, columns', [(1, 1), (2, 10), (10, 2)])
def test_nothing_in_a_gallery_overlaps(k, columns):
  said = [plot.Prediction('European fire salamander', 0.99, True)] * k
  figure = plot.gallery(
    demo.pictures(k),
    {name: _heats(k) for name in NAMES[:columns]},
    ['a European fire salamander from behind'] * k,
    notes={name: said for name in NAMES[:columns]},
  )
  figures.check_inside(figure)
  cells = _cells(figure)
  sizes = [size for a in cells for size in a.get_window_extent().bounds[2:]]
  np.testing.assert_allclose(sizes, 100 * galleries.CELL, rtol=1e-6)
  notes = [t for t in figure.texts if '…' in t.get_text()]
  widths = [note.get_window_extent().width for note in notes]
  assert len(notes) == k * columns
  assert max(widths) <= 100 * (galleries.CELL + galleries.GAP)


@pytest.mark.parametrize('channels', [1, 3])
def test_a_gallery_of_normalised_images(channels):
  images = np.random.default_rng(0).normal(size=(2, 8, 8, channels))
  shown = _cells(_gallery(2, images=images))[0].images[0].get_array()
  assert (shown.shape, shown.min(), shown.max()) == ((8, 8, 3), 0, 1)


def test_a_gallery_refuses_what_does_not_fit():
  images, heats = demo.pictures(2), {'A': _heats(2)}
  with pytest.raises(ValueError, match=r"'images': 2, 'row_names': 3, 'A': 2"):
    plot.gallery(images, heats, 'abc')
  with pytest.raises(ValueError, match=r'at least one'):
    plot.gallery(images[:0], {'A': _heats(0)}, '')
  with pytest.raises(ValueError, match=r"\['B'\].*heats of \['A'\]"):
    plot.gallery(images, heats, 'ab', {'B': 'low'})
  with pytest.raises(ValueError, match='each of 2 images'):
    plot.gallery(images, heats, 'ab', notes={'A': []})
  with pytest.raises(ValueError, match="'cam' or 'gradient'"):
    plot.gallery(images, heats, 'ab', kind='heat')


def test_examples_draw_grey_and_normalised_images_too():
  images = np.random.default_rng(0).normal(size=(2, 8, 8, 1))
  logits = np.zeros((2, 3))
  figure = plot.examples(images, demo.pathways(2), logits, logits, 'abc')
  shown = _cells(figure)[0].images[0].get_array()
  assert (shown.shape, shown.min(), shown.max()) == ((8, 8, 3), 0, 1)


# transferred

FULL, OWN, CORE = 'Grad-CAM, full target', 'own pathway', 'class pathway'


def _transferred(k=3, m=2, **arguments):
  return plot.transferred(
    demo.pictures(k),
    {FULL: _heats(k), OWN: _heats(k, seed=1)},
    demo.pictures(m, seed=1),
    {FULL: _heats(m, seed=2), CORE: _heats(m, seed=3)},
    'monarch',
    **arguments,
  )


def test_transferred_has_two_parts_of_three_rows(axes):
  figure = _transferred()
  cells = _cells(figure)
  assert [len(a.images) for a in cells] == [1] * 3 + [2] * 6 + [1] * 2 + [2] * 4
  tops = [round(a.get_position().y1, 6) for a in cells]
  assert sorted(set(tops), reverse=True) == list(dict.fromkeys(tops))
  assert len(set(tops)) == 6
  expected = _overlay(axes, _heats(2, seed=3)[1], demo.pictures(2, seed=1)[1])
  last = cells[-1].images[1].get_array()
  np.testing.assert_array_equal(last, expected[1].get_array())
  texts = figures.texts(figure)
  assert texts.count('image') == texts.count('Grad-CAM,\nfull target') == 2
  assert {'monarch', OWN, CORE, 'Their own pathways'} <= set(texts)


def test_transferred_says_what_it_is_made_of():
  words = 'neurons on in more than half of 40 images'
  assert words in figures.texts(_transferred(class_pathway=words))


def test_transferred_notes_stand_in_their_part():
  kept, lost = plot.Prediction('cat', 0.9), plot.Prediction('dog', 0.4, True)
  figure = _transferred(
    own_notes={FULL: [lost] * 3}, other_notes={FULL: [kept] * 2}
  )
  texts = figures.texts(figure)
  assert (texts.count('✗ dog 40 %'), texts.count('cat 90 %')) == (3, 2)
  assert any('another class' in text for text in texts)
  figures.check_inside(figure)


@pytest.mark.parametrize('k, m', [(1, 1), (8, 3)])
def test_nothing_in_transferred_overlaps(k, m):
  figures.check_inside(_transferred(k, m))


def test_transferred_names_the_part_that_does_not_fit():
  one, two = demo.pictures(1), demo.pictures(2)
  with pytest.raises(ValueError, match="'other_images': 2, 'A': 1"):
    plot.transferred(one, {'A': _heats(1)}, two, {'A': _heats(1)}, 'cat')

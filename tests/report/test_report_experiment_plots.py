import io
import itertools

import matplotlib
import numpy as np
import pytest

from gencnp_jax.report import export, lines, palette, plot

METHODS = ('GEN-CNP', 'GEN-CNP, swap term', 'DGR_R', 'Random')
CUTS = (0.5, 0.9, 0.99)
LAYERS = ('ReLU 1', 'ReLU 2', 'ReLU 3')
SAMPLES, CLASSES = (0.4, 0.6, 0.9), (0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9)


def _curve(keys, settings=('off = zero',)):
  """A row a method, setting and sparsity; every value differs."""
  combinations = list(itertools.product(METHODS, settings, CUTS))
  values = iter(np.linspace(0.02, 0.99, len(combinations) * len(keys)))
  return [
    {'method': method, 'setting': setting, 'cut': cut}
    | {key: float(next(values)) for key in keys}
    for method, setting, cut in combinations
  ]


def _transfer():
  keys = ('accuracy', 'agreement', 'increase_rate', 'swap', 'firing_sparsity')
  keys += ('mean_increase_of_risers', 'mean_decrease_of_fallers')
  random = np.random.default_rng(0)
  return [
    {'method': m, 'by': by, 'sample_sparsity': s, 'class_sparsity': c}
    | dict(zip(keys, random.random(len(keys)).tolist()))
    for m in METHODS
    for by in ('true class', 'predicted class')
    for s in SAMPLES
    for c in CLASSES
  ]


def _drawn(axes):
  """Method -> points of its line, to a ten-thousandth of a percent."""
  return {
    line.get_label(): [tuple(map(_round, point)) for point in line.get_xydata()]
    for line in axes.get_lines()
    if not line.get_label().startswith('_')
  }


def _round(value):
  return round(float(value), 4)


def _expected(rows, x, key):
  points = {method: [] for method in dict.fromkeys(r['method'] for r in rows)}
  for row in rows:
    if row[key] is not None:
      points[row['method']].append((_round(x(row)), _round(100 * row[key])))
  return {method: values for method, values in points.items() if values}


def _words(figure):
  return [text.get_text() for text in figure.findobj(matplotlib.text.Text)]


def _titles(figure):
  return [axes.get_title('left') for axes in figure.axes]


def _covered(figure):
  """Whether a legend lies over a panel or leaves the figure."""
  figure.draw_without_rendering()
  boxes = [legend.get_window_extent() for legend in figure.legends]
  inside = figure.bbox.padded(1)
  assert boxes
  return any(
    box.overlaps(axes.get_window_extent())
    for box in boxes
    for axes in figure.axes
  ) or not all(
    inside.contains(*corner) for box in boxes for corner in (box.min, box.max)
  )


# how lines look


def test_variants_of_a_method_share_its_colour_and_nothing_else():
  variants = ('GEN-CNP, swap term', 'GEN-CNP, trained under the mean')
  names = (variants[0], 'GEN-CNP', variants[1], 'NeuronMCT')
  looks = lines.looks([{'method': name} for name in names])
  assert list(looks) == list(names)
  ours = [looks[name] for name in names[:3]]
  assert {look['color'] for look in ours} == {palette.BLUE}
  assert len({look['marker'] for look in ours}) == 3
  assert len({str(look['ls']) for look in ours}) == 3
  # The plain one is solid wherever it stands, and thickest.
  assert looks['GEN-CNP']['ls'] == looks['NeuronMCT']['ls'] == '-'
  widest = max(looks, key=lambda name: looks[name]['lw'])
  assert widest == 'GEN-CNP'


def test_random_is_dashed_and_dgr_r_is_no_variant_of_dgr():
  looks = lines.looks([{'method': name} for name in ('DGR', 'DGR_R', 'Random')])
  assert [look['ls'] for look in looks.values()] == ['-', '-', '--']
  assert {look['marker'] for look in looks.values()} == {'o'}


def test_unknown_methods_are_no_variants_of_each_other():
  looks = lines.looks([{'method': 'Mine'}, {'method': 'Other'}])
  assert [look['ls'] for look in looks.values()] == ['-', '-']
  assert looks['Mine']['color'] != looks['Other']['color']


@pytest.mark.parametrize(
  'values, end',
  [
    ((), 100),
    ((None, 0.0), 5),
    ((0.2, None), 22),
    ((0.7, 0.1), 100),
    ((1,), 100),
  ],
)
def test_where_an_axis_ends(values, end):
  assert lines.top(values) == pytest.approx(end)


@pytest.mark.parametrize('direction', ['x', 'y'])
@pytest.mark.parametrize(
  'values, ticks',
  [
    ((50, 90, 99, 99.9), {50, 90, 99, 99.9}),
    ((99.2, 100), {99.5, 100}),
    ((100, 100), {100}),
    ((20, 45), set()),
    ((0, 100), {0, 100}),
  ],
)
def test_an_axis_spread_near_100(direction, values, ticks):
  axes = matplotlib.figure.Figure().subplots()
  palette.spread_near_100(axes, direction, values)
  axis = {'x': axes.xaxis, 'y': axes.yaxis}[direction]
  low, high = axis.get_view_interval()
  assert low < min(values) and max(values) < high
  shown = axis.get_ticklocs()
  assert ticks <= set(shown)
  places = axis.get_transform().transform(np.array([low, *values, high]))
  assert np.isfinite(places).all() and (np.diff(places) >= 0).all()
  words = [label.get_text() for label in axis.get_ticklabels()]
  assert words == [f'{tick:g}' for tick in shown]


def test_spread_near_100_makes_nines_equal_steps():
  axes = matplotlib.figure.Figure().subplots()
  palette.spread_near_100(axes, 'y', [0, 99.9999])
  steps = np.diff(axes.yaxis.get_transform().transform(np.array([0, 90, 99])))
  np.testing.assert_allclose(steps, steps[0], rtol=1e-2)


def test_nothing_to_spread_leaves_the_axis():
  axes = matplotlib.figure.Figure().subplots()
  palette.spread_near_100(axes, 'y', [])
  assert axes.get_yscale() == 'linear'


# class overlap by layer


def _overlap():
  return [
    {'method': method, 'within_per_layer': [0.1 * k, 0.2, 0.3 + 0.1 * k]}
    | {'profile_floor': 0.01 * (k + 1)}
    for k, method in enumerate(METHODS)
  ]


def test_layer_overlap_draws_a_line_a_method():
  rows = _overlap()
  figure = plot.layer_overlap(rows, LAYERS)
  (axes,) = figure.axes
  assert _drawn(axes) == {
    row['method']: [
      (i, _round(100 * value))
      for i, value in enumerate(row['within_per_layer'])
    ]
    for row in rows
  }
  labels = [label.get_text() for label in axes.get_xticklabels()]
  assert labels == [*LAYERS, 'floor,\nall layers']
  floors = [bars.get_segments()[0] for bars in axes.collections]
  np.testing.assert_allclose([f[0][1] for f in floors], (1, 2, 3, 4))
  ends = [x for floor in floors for x in floor[:, 0]]
  assert ends == sorted(ends)  # side by side
  colors = [bars.get_color()[0] for bars in axes.collections]
  expected = matplotlib.colors.to_rgba_array(palette.method_colors(METHODS))
  np.testing.assert_allclose(colors, expected)
  assert not _covered(figure)


def test_layer_overlap_leaves_out_what_is_missing():
  rows = [
    {'method': 'GEN-CNP', 'within_per_layer': [0.5, None, float('nan')]},
    {'method': 'DGR', 'within_per_layer': None, 'profile_floor': None},
  ]
  (axes,) = plot.layer_overlap(rows, LAYERS).axes
  assert _drawn(axes) == {'GEN-CNP': [(0, 50)]}
  labels = [label.get_text() for label in axes.get_xticklabels()]
  assert labels == list(LAYERS) and not axes.collections


def test_layer_overlap_refuses():
  with pytest.raises(ValueError, match='rows is empty'):
    plot.layer_overlap([], LAYERS)
  with pytest.raises(
    ValueError, match=r'GEN-CNP: .* 3 values for the 1 layers'
  ):
    plot.layer_overlap(_overlap(), LAYERS[:1])
  with pytest.raises(ValueError, match='no row has within_per_layer'):
    plot.layer_overlap([{'method': 'DGR', 'within_per_layer': None}], LAYERS)


# ROAP


def test_roap_stands_on_a_linear_axis():
  rows = _curve(['roap'])
  rows[4]['roap'] = None
  figure = plot.roap_curve(rows, 0.7746)
  (axes,) = figure.axes
  assert _drawn(axes) == _expected(rows, lambda r: 100 * r['cut'], 'roap')
  assert axes.get_xscale() == 'linear'
  (whole,) = [x for x in axes.get_lines() if x.get_label().startswith('_')]
  assert set(whole.get_ydata()) == {77.46}
  assert 'whole target\n77.5 %' in _words(figure)
  assert not _covered(figure)


def test_roap_without_the_whole_target():
  figure = plot.roap_curve(_curve(['roap']), None)
  assert not any('whole target' in words for words in _words(figure))


def test_roap_refuses():
  with pytest.raises(ValueError, match='rows is empty'):
    plot.roap_curve([], 0.5)
  with pytest.raises(ValueError, match=r"'roap'.*labelled"):
    plot.roap_curve([{'method': 'DGR', 'cut': 0.5, 'roap': None}], None)


# transfer

PANELS = (
  ('mean_increase_of_risers', 'sample_sparsity', 'class_sparsity', 0.7),
  ('mean_increase_of_risers', 'class_sparsity', 'sample_sparsity', 0.6),
  ('mean_decrease_of_fallers', 'sample_sparsity', 'class_sparsity', 0.7),
  ('accuracy', 'class_sparsity', 'sample_sparsity', 0.6),
  ('swap', 'class_sparsity', 'sample_sparsity', 0.6),
  ('firing_sparsity', 'class_sparsity', 'sample_sparsity', 0.6),
)


@pytest.mark.parametrize('by', ['true class', 'predicted class'])
def test_transfer_draws_one_reading_at_the_fixed_sparsities(by):
  rows = _transfer()
  rows[4]['mean_increase_of_risers'] = None
  figure = plot.transfer(rows, by=by)
  for axes, (key, over, fixed, value) in zip(figure.axes, PANELS, strict=True):
    shown = [r for r in rows if r['by'] == by and r[fixed] == value]
    assert _drawn(axes) == _expected(shown, lambda r, o=over: 100 * r[o], key)
  assert [title[:3] for title in _titles(figure)] == [
    f'({letter})' for letter in 'abcdef'
  ]
  at = [axes.get_title('right') for axes in figure.axes]
  assert at[0] == r'$\epsilon_{cn}$ = 70 %' and at[3].endswith('{ss}$ = 60 %')
  assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
  assert figure.axes[5].get_yscale() == 'function'
  if by == 'true class':
    assert not _covered(figure)


def test_transfer_without_labels_shows_agreement():
  rows = [row | {'accuracy': None} for row in _transfer()]
  axes = plot.transfer(rows).axes[3]
  assert axes.get_title('left') == '(d) Agreement ↑'
  assert set(_drawn(axes)) == set(METHODS)


def test_transfer_where_nothing_rose():
  rows = [row | {'mean_increase_of_risers': None} for row in _transfer()]
  figure = plot.transfer(rows)
  assert not _drawn(figure.axes[0]) and _drawn(figure.axes[2])
  assert set(METHODS) <= set(_words(figure))  # in the legend all the same


@pytest.mark.parametrize(
  'arguments, words',
  [
    ({'rows': []}, 'rows is empty'),
    ({'by': 'class'}, r"by='class'.*'predicted class', 'true class'"),
    ({'class_sparsity': 0.2}, r'class_sparsity=0.2 .* choose one of 0.1, 0.3'),
    ({'sample_sparsity': 0.5}, r'sample_sparsity=0.5 .* 0.4, 0.6, 0.9'),
  ],
)
def test_transfer_refuses(arguments, words):
  with pytest.raises(ValueError, match=words):
    plot.transfer(**{'rows': _transfer()} | arguments)


def test_the_transfer_grid_shows_few_panels_with_the_ends():
  rows = _transfer()
  figure = plot.transfer_grid(rows, 'accuracy', 'A title')
  assert 'A title' in _words(figure)
  upper, lower = figure.axes[:5], figure.axes[5:]
  rows = [row for row in rows if row['by'] == 'true class']
  for panels, fixed, values, over in (
    (upper, 'class_sparsity', (0.1, 0.5, 0.6, 0.7, 0.9), 'sample_sparsity'),
    (lower, 'sample_sparsity', SAMPLES, 'class_sparsity'),
  ):
    for axes, value in zip(panels, values, strict=True):
      own = [row for row in rows if row[fixed] == value]
      expected = _expected(own, lambda r, o=over: 100 * r[o], 'accuracy')
      assert _drawn(axes) == expected
      assert axes.get_title('left').endswith(f'= {100 * value:g} %')
  assert len({axes.get_ylim() for axes in figure.axes}) == 1
  assert not _covered(figure)


def test_the_transfer_grid_of_one_setting():
  rows = [
    row
    for row in _transfer()
    if row['class_sparsity'] == 0.7 and row['sample_sparsity'] == 0.6
  ]
  figure = plot.transfer_grid(rows, 'firing_sparsity', 'One')
  assert len(figure.axes) == 2
  assert figure.axes[0].get_yscale() == 'function'


@pytest.mark.parametrize(
  'rows, key, words',
  [
    ([], 'swap', 'rows is empty'),
    (_transfer(), 'leak', r"key='leak': choose one of accuracy, .*swap"),
    ([r | {'swap': None} for r in _transfer()], 'swap', "no row has 'swap'"),
  ],
)
def test_the_transfer_grid_refuses(rows, key, words):
  with pytest.raises(ValueError, match=words):
    plot.transfer_grid(rows, key, 'A title')


# embeddings


def _embeddings(n=40, layers=3, classes=10):
  random = np.random.default_rng(0)
  labels = np.arange(n) % classes
  points = random.normal(size=(2, layers, n, 2))
  names = [f'class {i}' for i in range(classes)]
  captions = [f'−0.{i}, +0.{i}' for i in range(layers)]
  return [*points, labels, names, list(LAYERS)[:layers], captions]


def test_embeddings_draw_each_point_in_its_classes_colour():
  arguments = _embeddings()
  figure = plot.embeddings(*arguments)
  assert len(figure.axes) == 6
  layers = [*arguments[0], *arguments[1]]
  for axes, points in zip(figure.axes, layers, strict=True):
    (cloud,) = axes.collections
    offsets, colors = np.asarray(cloud.get_offsets()), cloud.get_facecolor()
    order = np.argsort(offsets[:, 0])
    expected = np.argsort(points[:, 0])
    np.testing.assert_allclose(offsets[order], points[expected])
    wanted = np.asarray(palette.CLASSES)[arguments[2][expected]]
    wanted = matplotlib.colors.to_rgba_array(wanted)
    np.testing.assert_allclose(colors[order], wanted)
    assert cloud.get_rasterized()
    assert not axes.get_xticks().size and not axes.get_yticks().size
    spans = [np.ptp(axes.get_xlim()), np.ptp(axes.get_ylim())]
    np.testing.assert_allclose(spans[0], spans[1])
  words = _words(figure)
  for text in (*arguments[3], *arguments[4], *arguments[5]):
    assert text in words
  assert not any('classes' in text for text in words)
  assert not _covered(figure)


@pytest.mark.parametrize('layers', [1, 3])
def test_more_than_ten_classes_are_left_out_in_words(layers):
  arguments = _embeddings(60, layers, classes=12)
  figure = plot.embeddings(*arguments)
  shown = (arguments[2] < 10).sum()
  assert {len(a.collections[0].get_offsets()) for a in figure.axes} == {shown}
  words = _words(figure)
  assert 'The first 10 of 12 classes' in words and 'class 10' not in words
  assert not _covered(figure)


@pytest.mark.parametrize(
  'place, value, words',
  [
    (0, np.zeros((3, 39, 2)), r'features \(3, 39, 2\).*\(3, 40, 2\)'),
    (1, np.zeros((2, 40, 2)), r'importance \(2, 40, 2\)'),
    (2, np.full(40, 10), 'labels run from 10 to 10; there are 10'),
    (2, np.full(40, -1), 'labels run from -1'),
    (5, ['one'], 'captions: 1 for 3 layers'),
  ],
)
def test_embeddings_refuse(place, value, words):
  arguments = _embeddings()
  arguments[place] = value
  with pytest.raises(ValueError, match=words):
    plot.embeddings(*arguments)


def test_embeddings_of_no_image():
  with pytest.raises(ValueError, match='no image of the classes shown'):
    plot.embeddings(*_embeddings(0))
  arguments = _embeddings(40, classes=12)
  arguments[2] = np.full(40, 11)
  with pytest.raises(ValueError, match='no image of the classes shown'):
    plot.embeddings(*arguments)


# sparsity of images


def _images(n=200, classes=4):
  random = np.random.default_rng(0)
  sparsity, confidence = 0.9 + 0.1 * random.random(n), random.random(n)
  predicted = random.integers(0, classes, n)
  names = [f'class {i}' for i in range(classes)]
  return [sparsity, confidence, random.random(n) < 0.7, predicted, names]


def test_instance_sparsity_draws_every_image():
  sparsity, confidence, correct, predicted, names = _images()
  figure = plot.instance_sparsity(
    sparsity, confidence, correct, predicted, names
  )
  histogram, scatter, groups = figure.axes
  assert sum(bar.get_height() for bar in histogram.patches) == 200
  assert f'mean {100 * sparsity.mean():.1f} %' in histogram.get_title('left')
  cloud = scatter.collections[0]
  assert cloud.get_rasterized()
  np.testing.assert_allclose(
    cloud.get_offsets(), 100 * np.stack([confidence, sparsity], 1)
  )
  bins = np.array_split(np.argsort(confidence), 10)
  middle = scatter.get_lines()[-1].get_xydata()
  expected = [
    [100 * np.median(x[b]) for x in (confidence, sparsity)] for b in bins
  ]
  np.testing.assert_allclose(middle, expected)
  quartiles = np.array(scatter.collections[-1].get_segments())[:, :, 1]
  expected = [100 * np.percentile(sparsity[b], (25, 75)) for b in bins]
  np.testing.assert_allclose(quartiles, expected)
  labels = [label.get_text() for label in groups.get_yticklabels()]
  assert labels == [*names, 'right', 'wrong']
  members = [predicted == c for c in range(4)] + [correct, ~correct]
  means = [line.get_xdata()[0] for line in groups.get_lines()]
  np.testing.assert_allclose(
    means, [100 * sparsity[member].mean() for member in members]
  )
  spans = [np.ptp(b.get_segments()[0][:, 0]) for b in groups.collections]
  expected = [200 * sparsity[member].std() for member in members]
  np.testing.assert_allclose(spans, expected)


def test_confidence_near_1_is_spread():
  arguments = _images()
  assert plot.instance_sparsity(*arguments).axes[1].get_xscale() == 'linear'
  arguments[1] = 1 - 0.1 * arguments[1] ** 4
  assert plot.instance_sparsity(*arguments).axes[1].get_xscale() == 'function'


@pytest.mark.parametrize(
  'classes, labelled, expected',
  [
    (20, False, 20),
    (21, True, ['right', 'wrong']),
    (21, False, None),
    (1, True, ['class 0', 'right', 'wrong']),
  ],
)
def test_what_the_last_panel_compares(classes, labelled, expected):
  arguments = _images(classes=classes)
  if not labelled:
    arguments[2] = None
  panels = plot.instance_sparsity(*arguments).axes
  if expected is None:
    assert len(panels) == 2
    return
  labels = [label.get_text() for label in panels[2].get_yticklabels()]
  assert labels == expected or len(labels) == expected


def test_instance_sparsity_of_few_images_and_absent_classes():
  names = ['one', 'two', 'three']
  figure = plot.instance_sparsity(
    np.array([0.9]), np.array([1.0]), None, np.array([1]), names
  )
  (mean,) = figure.axes[2].get_lines()
  np.testing.assert_allclose(mean.get_xydata(), [[90, 1]])
  figure.draw_without_rendering()


def test_instance_sparsity_refuses():
  arguments = _images()
  arguments[1] = arguments[1][:-1]
  with pytest.raises(ValueError, match=r'same length.*\[200, 199, 200, 200\]'):
    plot.instance_sparsity(*arguments)
  with pytest.raises(ValueError, match='at least 1'):
    plot.instance_sparsity(*_images(0))
  arguments = _images()
  arguments[4] = ['one']
  with pytest.raises(
    ValueError, match='predicted runs from 0 to 3; there are 1'
  ):
    plot.instance_sparsity(*arguments)


# leakage

LEAKS = ('agreement', 'swap', 'blank', 'disconnected')
SETTINGS = ('off = zero', 'off = mean')


def test_leakage_curves_have_a_row_a_setting():
  rows = _curve(LEAKS, SETTINGS)
  rows[7]['swap'] = None
  figure = plot.leakage_curves(rows)
  panels = itertools.product(SETTINGS, LEAKS)
  for axes, (setting, key) in zip(figure.axes, panels, strict=True):
    own = [row for row in rows if row['setting'] == setting]
    expected = _expected(own, lambda row: CUTS.index(row['cut']), key)
    assert _drawn(axes) == expected
    labels = [label.get_text() for label in axes.get_xticklabels()]
    assert labels == ['50', '90', '99']
  assert set(SETTINGS) <= set(_words(figure))
  heads = ['Agreement ↑', 'Swap leak ↓', 'Blank leak ↓', 'Disconnected ↓']
  assert _titles(figure) == 2 * heads
  styles = {
    (line.get_color(), line.get_linestyle(), line.get_marker())
    for line in figure.axes[0].get_lines()
  }
  assert len(styles) == len(METHODS)
  assert not _covered(figure)


def test_leakage_curves_leave_out_what_no_one_measured():
  figure = plot.leakage_curves(_curve(('agreement', 'disconnected')))
  assert _titles(figure) == ['Agreement ↑', 'Disconnected ↓']


def test_leakage_tradeoff_runs_through_the_sparsities():
  rows = _curve(('agreement', 'swap'), SETTINGS)
  rows[0]['swap'] = rows[10]['agreement'] = None
  figure = plot.leakage_tradeoff(rows[::-1])
  assert _titles(figure) == list(SETTINGS[::-1])
  for axes, setting in zip(figure.axes, SETTINGS[::-1], strict=True):
    own = [
      row
      for row in rows
      if row['setting'] == setting and None not in row.values()
    ]
    drawn = _drawn(axes)
    assert drawn == _expected(own, lambda row: 100 * row['swap'], 'agreement')
    large = [line for line in axes.get_lines() if len(line.get_xdata()) == 1]
    ends = [tuple(map(_round, line.get_xydata()[0])) for line in large]
    assert ends == [points[-1] for points in drawn.values()]
    # Top left is the good corner.
    assert np.diff(axes.get_xlim()) > 0 and np.diff(axes.get_ylim()) > 0
    *named, words = axes.texts
    assert words.get_text().startswith('↖ good')
    points = {
      (100 * row['swap'], 100 * row['agreement'], f'{100 * row["cut"]:g}')
      for row in own
    }
    assert {(*text.xy, text.get_text()) for text in named} <= points
    first = [text for text in named if text.get_color() == palette.BLUE]
    assert len(first) > 2
  assert any('50 to 99 %' in words for words in _words(figure))
  assert not _covered(figure)
  # No point can lie behind the words.
  box = words.get_window_extent()
  bottom = axes.transData.inverted().transform(box.min)[1]
  assert bottom > 100


def test_leakage_refuses():
  for draw in (plot.leakage_curves, plot.leakage_tradeoff):
    with pytest.raises(ValueError, match='rows is empty'):
      draw([])
  with pytest.raises(ValueError, match=r'agreement, swap, blank, disconn'):
    plot.leakage_curves(_curve(('other',)))
  with pytest.raises(ValueError, match="both 'agreement' and 'swap'"):
    plot.leakage_tradeoff(_curve(('agreement',)))


# files


def test_a_figure_is_written_as_png_and_svg(tmp_path):
  def save(name):
    return export.save(
      plot.embeddings(*_embeddings(classes=2)), tmp_path / name
    )

  png, svg = save('new/at_0.95')
  assert (png.name, svg.name) == ('at_0.95.png', 'at_0.95.svg')
  assert sorted(p.name for p in png.parent.iterdir()) == [png.name, svg.name]
  assert b'<svg' in svg.read_bytes() and b'<dc:date>' not in svg.read_bytes()
  with io.BytesIO(png.read_bytes()) as file:
    height, width, _ = matplotlib.image.imread(file, format='png').shape
  size = plot.embeddings(*_embeddings(classes=2)).get_size_inches()
  np.testing.assert_allclose((width, height), 192 * size, atol=1)
  again = save('again')
  assert [p.read_bytes() for p in again] == [png.read_bytes(), svg.read_bytes()]


def test_a_file_that_cannot_be_written_leaves_the_old_one(
  tmp_path, monkeypatch
):
  path = export.replace(tmp_path / 'a', b'old')

  def fail(*_):
    raise OSError('no space')

  monkeypatch.setattr('os.replace', fail)
  with pytest.raises(OSError, match='no space'):
    export.replace(path, b'new')
  assert [p.read_bytes() for p in tmp_path.iterdir()] == [b'old']

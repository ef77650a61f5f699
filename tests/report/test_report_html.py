import base64
import html.parser
import os
import re
import urllib.parse
import xml.etree.ElementTree as ElementTree

import pytest
from matplotlib.figure import Figure

from gencnp_jax import report
from tests.report import demo

VOID = {'meta', 'img', 'br', 'hr', 'link'}


class _Reader(html.parser.HTMLParser):
  """Collects elements and checks that tags are closed in order."""

  def __init__(self):
    super().__init__()
    self.open, self.seen, self.text = [], [], []

  def handle_starttag(self, tag, attrs):
    self.seen.append((tag, dict(attrs)))
    if tag not in VOID:
      self.open.append(tag)

  def handle_endtag(self, tag):
    assert self.open.pop() == tag, self.getpos()

  def handle_data(self, data):
    if not self.open or self.open[-1] != 'style':
      self.text.append(data)

  def all(self, tag):
    return [attrs for name, attrs in self.seen if name == tag]


def _read(path):
  reader = _Reader()
  reader.feed(path.read_text(encoding='utf-8'))
  reader.close()
  assert reader.open == []
  return reader


@pytest.fixture(scope='module')
def page(tmp_path_factory):
  path = tmp_path_factory.mktemp('report') / 'new' / 'report.html'
  assert report.write(path, demo.build()) == path
  return path


def _small(**fields):
  contents = {'title': 'T', 'lead': 'L', 'facts': {}, 'sections': []}
  return report.Report(**contents | fields)


def test_is_one_closed_file(page):
  reader = _read(page)
  assert not reader.all('script') and not reader.all('link')
  for _, attrs in reader.seen:
    for name in ('src', 'href', 'srcset', 'action', 'data'):
      value = attrs.get(name) or '#'
      assert value.startswith(('#', 'data:')), (name, value[:80])
  style = re.search('<style>(.*?)</style>', page.read_text(), re.S)[1]
  assert 'url(' not in style and '@import' not in style
  assert os.listdir(page.parent) == ['report.html']


def test_says_what_was_explained(page):
  text = ' '.join(_read(page).text)
  for fact in demo.build().facts.items():
    assert all(str(part) in text for part in fact)
  for words in ('Table 1.', 'Table 2.', 'Figure 5.', 'Warning.', 'sigma: 2.0'):
    assert words in text
  assert 'Figure 6.' not in text


def test_sections_are_linked(page):
  reader = _read(page)
  targets = {attrs['id'] for attrs in reader.all('section')}
  links = [attrs['href'] for attrs in reader.all('a')]
  assert {f'#{target}' for target in targets} == {
    link for link in links if link.startswith('#')
  }


def test_tables_and_figures_scroll_in_their_own_container(page):
  text = page.read_text()
  for tag in ('table', 'img'):
    found = re.findall(rf'<div class="scroll"[^>]*>\s*<{tag}\b', text)
    assert len(found) == text.count(f'<{tag}')


def test_csv_is_the_table(page):
  links = [a for a in _read(page).all('a') if 'download' in a]
  kind, content = links[0]['href'].split(',', 1)
  assert kind == 'data:text/csv;charset=utf-8'
  assert urllib.parse.unquote(content) == demo.table().to_csv()


def test_curves_are_vectors_and_images_are_pictures(page):
  kinds = []
  for attrs in _read(page).all('img'):
    kind, content = attrs['src'].split(';base64,')
    content = base64.b64decode(content, validate=True)
    kinds.append(kind.removeprefix('data:image/'))
    assert attrs['alt'] and int(attrs['width']) > 100
    if kinds[-1] == 'svg+xml':
      ElementTree.fromstring(content)
    else:
      assert content.startswith(b'\x89PNG')
      # Twice the width at which it is shown.
      width = int.from_bytes(content[16:20])
      assert abs(width - 2 * int(attrs['width'])) <= 2
  assert kinds == ['svg+xml', 'svg+xml', 'png', 'svg+xml', 'svg+xml']


def test_a_figure_of_many_points_becomes_a_picture(tmp_path):
  figure = Figure()
  points = range(8000)
  figure.subplots().scatter(points, points)
  section = report.Section('S', figures=[('points', figure)])
  path = report.write(tmp_path / 'r.html', _small(sections=[section]))
  assert _read(path).all('img')[0]['src'].startswith('data:image/png')


def test_same_report_same_bytes(tmp_path):
  pages = []
  for i in range(2):
    curve, picture = Figure(), Figure()
    curve.subplots().plot([1, 2])
    picture.subplots().imshow([[0, 1]])
    section = report.Section('S', figures=[('a', curve), ('b', picture)])
    path = report.write(tmp_path / f'{i}.html', _small(sections=[section]))
    pages.append(path.read_bytes())
  assert pages[0] == pages[1]


def test_text_is_escaped_and_set_in_paragraphs(tmp_path):
  section = report.Section(
    '<i>', 'a < b\n\nrun `x --y=<z>`', warnings=['1 & 2']
  )
  path = report.write(tmp_path / 'r.html', _small(sections=[section]))
  text = path.read_text()
  assert '<h2>&lt;i&gt;</h2>' in text
  assert '<p>a &lt; b</p>' in text
  assert '<p>run <code>x --y=&lt;z&gt;</code></p>' in text
  assert '1 &amp; 2' in text


@pytest.mark.parametrize(
  'count, said', [(1, 'numbers: table 1<'), (2, 'numbers: tables 1 to 2<')]
)
def test_folded_tables_are_counted(count, said, tmp_path):
  section = report.Section('S', folded=[demo.table()] * count)
  path = report.write(tmp_path / 'r.html', _small(sections=[section]))
  assert said in path.read_text()


def test_what_is_not_given_leaves_no_trace(tmp_path):
  reader = _read(report.write(tmp_path / 'r.html', _small()))
  for tag in ('dl', 'nav', 'details', 'table', 'img', 'section'):
    assert not reader.all(tag)


def test_failure_keeps_the_old_report(tmp_path, monkeypatch):
  path = report.write(tmp_path / 'r.html', _small())
  before = path.read_bytes()

  def fail(*args):
    raise OSError('disk full')

  monkeypatch.setattr(os, 'replace', fail)
  with pytest.raises(OSError, match='disk full'):
    report.write(path, _small(title='new'))
  assert path.read_bytes() == before
  assert os.listdir(tmp_path) == ['r.html']

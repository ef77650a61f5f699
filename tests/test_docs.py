"""The documents: links that lead somewhere, code that is of this package."""

import importlib.util
import pathlib
import re

import pytest

import gencnp_jax
from gencnp_jax import explainers

ROOT = pathlib.Path(__file__).parents[1]
PAGES = sorted([ROOT / 'README.md', *ROOT.glob('docs/**/*.md')])
_LINK = re.compile(r'\]\(([^)\s]+)\)')
_PYTHON = re.compile(r'```python\n(.*?)```', re.DOTALL)


def _id(path):
  return str(path.relative_to(ROOT))


@pytest.mark.parametrize('page', PAGES, ids=_id)
def test_links_lead_somewhere(page):
  text = page.read_text()
  for link in _LINK.findall(text):
    if link.startswith('http'):
      continue
    name, _, anchor = link.partition('#')
    target = (page.parent / name).resolve() if name else page
    assert target.exists(), link
    if anchor:
      headings = re.findall(r'^#+ (.+)$', target.read_text(), re.MULTILINE)
      slugs = [re.sub(r'[^\w -]', '', h.lower()) for h in headings]
      assert anchor in [s.replace(' ', '-') for s in slugs], link


@pytest.mark.parametrize('page', PAGES, ids=_id)
def test_python_is_python_and_its_names_are_there(page):
  for block in _PYTHON.findall(page.read_text()):
    compile(block, _id(page), 'exec')
    for room, pattern in (
      (gencnp_jax, r'\bgencnp_jax((?:\.\w+)+)'),
      (explainers, r'(?<![\w.])explainers((?:\.\w+)+)'),
    ):
      for dotted in re.findall(pattern, block):
        thing = room
        for name in dotted[1:].split('.'):
          thing = getattr(thing, name)


def test_the_api_page_is_of_these_docstrings():
  spec = importlib.util.spec_from_file_location('api', ROOT / 'docs' / 'api.py')
  api = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(api)
  assert api.PAGE.read_text() == api.page(), 'Run: python docs/api.py'


def test_every_command_of_the_readme_names_files_that_are_there():
  for path in re.findall(r'(?:configs|launch)/[\w./]+', PAGES[0].read_text()):
    assert (ROOT / path.rstrip('.')).exists(), path

"""The Jinja2 templates of the report, which lie beside this file."""

import re

import jinja2
import markupsafe


def prose(text: str) -> markupsafe.Markup:
  """Plain text as HTML: blank lines part paragraphs, backticks mark code."""
  paragraphs = [p for p in re.split(r'\n\s*\n', str(text).strip()) if p]
  escaped = [str(markupsafe.escape(p)) for p in paragraphs]
  coded = [re.sub(r'`([^`]+)`', r'<code>\1</code>', p) for p in escaped]
  return markupsafe.Markup('\n'.join(f'<p>{p}</p>' for p in coded))


environment = jinja2.Environment(
  loader=jinja2.PackageLoader('gencnp_jax', 'report'),
  autoescape=True,
  undefined=jinja2.StrictUndefined,
  trim_blocks=True,
  lstrip_blocks=True,
)
environment.filters['prose'] = prose

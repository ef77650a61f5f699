"""Tables, plots and the single-file HTML report."""

from gencnp_jax.report import plots as plot
from gencnp_jax.report.column import Column
from gencnp_jax.report.html import Report, Section, write
from gencnp_jax.report.table import Table

__all__ = ['Column', 'Report', 'Section', 'Table', 'plot', 'write']

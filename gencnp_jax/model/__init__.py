"""GEN-CNP: recursive embedders and decoders, PDN, DAQ."""

from gencnp_jax.model.daq import daq as daq
from gencnp_jax.model.gencnp import GenCNP as GenCNP
from gencnp_jax.model.gencnp import Generated as Generated

"""Training: one loop for targets and for GEN-CNP; two losses, not two loops."""

from gencnp_jax.training.distillation import Distillation as Distillation
from gencnp_jax.training.loop import NonFiniteLoss as NonFiniteLoss
from gencnp_jax.training.loop import train as train
from gencnp_jax.training.state import TrainState as TrainState
from gencnp_jax.training.tasks import Classification as Classification

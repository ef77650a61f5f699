"""What the target looks at: Grad-CAM and gradients, in full and on a pathway.

Each takes the masks of a pathway, or none for the full target, and returns
arrays; `gencnp_jax.plot.gallery` draws them (paper, Fig. 7 to 9 and 15 to 20).
"""

from gencnp_jax.attribution.grad_cam import grad_cam as grad_cam
from gencnp_jax.attribution.grad_cam import layers_with_map as layers_with_map
from gencnp_jax.attribution.grad_cam import readable_layer as readable_layer
from gencnp_jax.attribution.gradients import (
  IntegratedGradients as IntegratedGradients,
)
from gencnp_jax.attribution.gradients import gradients as gradients
from gencnp_jax.attribution.gradients import (
  integrated_gradients as integrated_gradients,
)
from gencnp_jax.attribution.gradients import saliency as saliency

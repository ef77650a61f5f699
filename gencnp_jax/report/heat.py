"""Heat maps over pictures, and saliency maps of pixels."""

import matplotlib
import numpy as np
from jaxtyping import Float, Shaped
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, ListedColormap
from PIL import Image

from gencnp_jax import arguments
from gencnp_jax.report import palette

# Perceptually uniform, and read by colour-blind eyes too. Its ends would look
# like a shadow and like a white spot of the picture.
HEAT = ListedColormap(
  matplotlib.colormaps['inferno'](np.linspace(0.2, 0.96, 256)), name='heat'
)
SALIENCY = 'inferno'
LABEL = 'heat, % of a map’s maximum'
HIDES = 0.8  # how much of the picture the hottest spot covers
FINE = 192  # cells of a smooth map, along the longer side
_GREY = (0.299, 0.587, 0.114)  # brightness of red, green and blue


def overlay(
  axes: Axes,
  image: Shaped[np.ndarray, 'h w c'],
  heat: Float[np.ndarray, 'a b'],
) -> None:
  """Draws a smooth heat map over an image; cold parts show the image.

  Args:
    axes: bare axes.
    image: uint8 or float, one or three channels; see `pixels`.
    heat: stretched over the image, and divided by its own maximum. What is
      negative is cold; where nothing is positive, the image stands alone with
      the note 'no heat'.

  Raises:
    ValueError: the heat is no finite map, or see `pixels`.
  """
  picture = pixels(image)
  heat = np.maximum(_checked(heat), 0)
  if not heat.any():
    show(axes, image)
    _no_heat(axes)
    return
  # The colours of the picture would mix with those of the heat.
  grey = (picture @ np.array(_GREY))[..., None]
  show(axes, 0.8 * (0.7 * grey + 0.3 * picture))
  fine = smooth(heat / heat.max(), picture.shape[:2])
  colors = HEAT(fine)
  colors[..., 3] = HIDES * fine
  h, w = picture.shape[:2]
  axes.imshow(
    colors, interpolation='bilinear', extent=(-0.5, w - 0.5, h - 0.5, -0.5)
  )


def saliency(axes: Axes, heat: Float[np.ndarray, 'h w']) -> None:
  """Draws how much each pixel matters, bright where it does.

  Args:
    axes: bare axes.
    heat: in [0, 1].

  Raises:
    ValueError: the heat is no finite map.
  """
  heat = np.clip(_checked(heat), 0, 1)
  axes.imshow(heat, cmap=SALIENCY, vmin=0, vmax=1, interpolation='nearest')
  if not heat.any():
    _no_heat(axes)


def scale(cmap: str | Colormap = HEAT) -> ScalarMappable:
  """Returns what a colour bar shows for `overlay`, or a map of `SALIENCY`."""
  shown = ScalarMappable(cmap=cmap)
  shown.set_clim(0, 100)
  return shown


def show(axes: Axes, image: Shaped[np.ndarray, 'h w c']) -> None:
  """Draws an image as it is, a pixel a square; see `pixels`."""
  axes.imshow(pixels(image), interpolation='nearest')


def pixels(image: Shaped[np.ndarray, 'h w c']) -> Float[np.ndarray, 'h w 3']:
  """Returns an image as red, green and blue in [0, 1].

  Args:
    image: integers to 255, or floats in [0, 1]. Other floats, which a model
      takes normalised, are stretched from their own minimum to their maximum.
      One channel is grey.

  Raises:
    ValueError: the image has not three axes, not one or three channels, or
      values that are not finite.
  """
  image = arguments.numbers('image', image)
  if image.ndim != 3 or image.shape[-1] not in (1, 3) or not image.size:
    raise ValueError(
      f'an image is drawn from [h, w, 1] or [h, w, 3]; got shape {image.shape}.'
    )
  if not np.isfinite(image).all():
    raise ValueError('image holds NaN or infinite values; repair or remove it.')
  if np.issubdtype(image.dtype, np.integer):
    image = image / 255
  image = image.astype(np.float64)
  low, high = image.min(), image.max()
  if low < 0 or high > 1:
    image = (image - low) / (high - low or 1)
  return np.clip(np.broadcast_to(image, (*image.shape[:2], 3)), 0, 1)


def smooth(
  heat: Float[np.ndarray, 'a b'], like: tuple[int, int]
) -> Float[np.ndarray, 'c d']:
  """Returns a map in [0, 1] on a finer grid, without steps.

  Args:
    heat: in [0, 1], any size.
    like: height and width of what it lies over, of which it takes the form.
  """
  factor = max(1, FINE / max(like))
  height, width = (max(1, round(factor * side)) for side in like)
  fine = Image.fromarray(heat.astype(np.float32)).resize(
    (width, height), Image.Resampling.BICUBIC
  )
  # Cubic curves overshoot.
  return np.clip(np.asarray(fine, np.float64), 0, 1)


def _checked(heat) -> np.ndarray:
  heat = arguments.numbers('heat', heat).astype(np.float64)
  if heat.ndim != 2 or not heat.size or not np.isfinite(heat).all():
    raise ValueError(
      f'a heat map is [h, w] of finite numbers; got shape {heat.shape}.'
    )
  return heat


def _no_heat(axes: Axes) -> None:
  style = {'fontsize': 6.5, 'ha': 'right', 'va': 'bottom', 'color': 'white'}
  box = {'facecolor': palette.INK, 'alpha': 0.6, 'lw': 0, 'pad': 1.5}
  axes.text(0.97, 0.03, 'no heat', transform=axes.transAxes, bbox=box, **style)

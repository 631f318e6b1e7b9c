"""What every drawn class is drawn with: light, noise, uneven shapes, and the camera.

Lengths are pixels, angles radians, brightness 0 to 1 until the last step. Places are (x, y) from the
image's centre, x to the right and y down.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from scipy import ndimage

SIZE = 256
"""Width and height of every drawn image."""

Rng = np.random.Generator
Picture = npt.NDArray[np.uint8]  # [SIZE, SIZE, 3]
Mask = npt.NDArray[np.bool_]  # [SIZE, SIZE]
Field = npt.NDArray[np.floating]  # [SIZE, SIZE] where nothing else is said
Place = tuple[float, float]
_Scene = TypeVar("_Scene")


@dataclass(frozen=True)
class Product(Generic[_Scene]):
    """How a class is drawn: a flawless scene, its picture, and what each defect makes of the scene."""

    scene: Callable[[Rng], _Scene]
    render: Callable[[_Scene], Picture]
    defects: dict[str, Callable[[_Scene, Rng], _Scene]]


Y, X = np.mgrid[:SIZE, :SIZE].astype(np.float32) - (SIZE - 1) / 2
"""Place of each pixel's middle, float32 [SIZE, SIZE] each."""


def expose(light: Field, noise: Field) -> Picture:
    """What the camera stores of light [SIZE, SIZE, 3]: lens blur, sensor noise, 8 bits."""
    blurred = ndimage.gaussian_filter(light, (0.55, 0.55, 0), truncate=3)
    stored: Picture = np.clip((blurred + noise) * 255 + 0.5, 0, 255).astype(np.uint8)
    return stored


def sensor_noise(rng: Rng, sigma: float) -> Field:
    """Sensor noise [SIZE, SIZE, 3], mostly common to the channels, as it is after demosaicing; `sigma` in brightness."""
    grey = rng.standard_normal((SIZE, SIZE, 1), dtype=np.float32)
    colour = rng.standard_normal((SIZE, SIZE, 3), dtype=np.float32)
    return np.float32(sigma) * (grey + np.float32(0.4) * colour)


def lamplight(rng: Rng) -> Field:
    """Exposure, a gradient across the image and darker corners, float32 [SIZE, SIZE] around 1."""
    angle, slope = rng.uniform(0, 2 * np.pi), rng.uniform(0.02, 0.10)
    gradient = slope * (np.cos(angle) * X + np.sin(angle) * Y) / SIZE * 2
    vignette = rng.uniform(0.02, 0.05) * (X**2 + Y**2) / (SIZE / 2) ** 2
    return np.asarray(rng.normal(1.0, 0.03) + gradient - vignette, np.float32)


def clouds(rng: Rng, cells: int) -> Field:
    """Smooth noise of about unit deviation with `cells` bumps across the image, float32 [SIZE, SIZE]."""
    coarse = Image.fromarray(rng.standard_normal((cells + 3, cells + 3), dtype=np.float32))
    return np.asarray(coarse.resize((SIZE, SIZE), Image.Resampling.BICUBIC)) * np.float32(1.25)


def cover(distance: Field) -> Field:
    """Share of a pixel that lies inside a shape, from the signed distance to its outline, inside positive."""
    share: Field = np.clip(distance + 0.5, 0, 1)
    return share


def blot(rng: Rng, centre: Place, radius: float, ragged: float) -> Field:
    """Signed distance [SIZE, SIZE] to the outline of an uneven blot, inside positive.

    Args:
        rng: Where its unevenness comes from.
        centre: Its middle.
        radius: Its radius before it is stretched, by up to 1.3 in one direction.
        ragged: How far its outline strays, as a share of the radius.
    """
    x, y = X - np.float32(centre[0]), Y - np.float32(centre[1])
    angle, stretch = rng.uniform(0, np.pi), rng.uniform(1.0, 1.3)
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    distance: Field = radius * (1 + ragged * clouds(rng, 24)) - np.hypot(along / stretch, across * stretch)
    return distance


def curl(rng: Rng, centre: Place, length: float, turning: float) -> npt.NDArray[np.float64]:
    """Points (x, y) [48, 2] of a slightly shaky line that turns mostly halfway.

    Args:
        rng: Where its direction and its shaking come from.
        centre: The mean of its points.
        length: Its length.
        turning: The angle it turns by.
    """
    shaky = 0.04 * np.cumsum(rng.standard_normal(48))
    heading = rng.uniform(0, 2 * np.pi) + turning * np.tanh(np.linspace(-2, 2, 48)) / 2 + shaky
    path = np.cumsum(np.stack((np.cos(heading), np.sin(heading)), axis=-1), axis=0) * length / 48
    return np.asarray(path - path.mean(axis=0) + centre)


def stroke(points: npt.NDArray[np.float64], width: float) -> Field:
    """Share of each pixel under a line of `width` through `points` [n, 2], float32 [SIZE, SIZE]."""
    fine = 4
    canvas = Image.new("L", (SIZE * fine, SIZE * fine))
    path = [(float(x), float(y)) for x, y in (points + SIZE / 2) * fine]
    ImageDraw.Draw(canvas).line(path, fill=255, width=max(1, round(width * fine)), joint="curve")
    return np.asarray(canvas.reduce(fine), dtype=np.float32) / 255


def octaves(rng: Rng, low: float, high: float) -> float:
    """A size or a strength between the bounds, with as many from `low` to twice it as in any octave above."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))

"""An image beside its anomaly map, as one picture that says what was decided."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evernorm.files import write_bytes
from evernorm.types import Floats, Image

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

LONGEST = 2000  # pixels of a picture's longer side, unless it is asked for in full
LEAST = 512  # pixels of its width, so that the words can be read
_BEGINS, _FULL = 0.33, 1.23  # shares of the threshold at which colour begins and is full
_CONTOUR = (0, 255, 255)
_INK, _PAPER = (20, 20, 20), (255, 255, 255)


def save_overlay(
    path: Path,
    image: Image,
    score_map: Floats,
    threshold: float,
    said: Sequence[str],
    longest: int | None = LONGEST,
) -> None:
    """Write a PNG: the image on the left, on the right the same in grey with hot regions in colour; a legend below.

    Colour begins at a third of the threshold and is full (yellow) a little above it, so pictures of
    different images and classes can be compared. What is above the threshold has a contour.

    Args:
        path: Where to.
        image: uint8 ``[H, W, 3]``.
        score_map: Standardised map ``[H, W]``.
        threshold: Map value at which a patch alone makes its image anomalous.
        said: Lines above the picture: class, score, decision.
        longest: Longer side of the two images beside each other, at most, in pixels; None: no bound. Small images are
            enlarged to `LEAST`.
    """
    from PIL import Image as Pictures

    scale = min(1.0, (longest or np.inf) / max(2 * image.shape[1], image.shape[0]))
    enlarged = min(LEAST / (2 * image.shape[1]), (longest or LONGEST) / image.shape[0])
    scale = max(scale, enlarged)
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    left = Pictures.fromarray(image).resize(size, Pictures.Resampling.LANCZOS)
    spots = np.asarray(Pictures.fromarray(score_map).resize(size, Pictures.Resampling.BILINEAR))
    right = Pictures.fromarray(_heated(np.asarray(left), spots, threshold))
    header, legend = _written(said, 2 * size[0]), _legend(2 * size[0])
    whole = Pictures.new("RGB", (2 * size[0], header.height + size[1] + legend.height), _PAPER)
    for part, place in (
        (header, (0, 0)),
        (left, (0, header.height)),
        (right, (size[0], header.height)),
        (legend, (0, header.height + size[1])),
    ):
        whole.paste(part, place)
    encoded = io.BytesIO()
    whole.save(encoded, "PNG")
    write_bytes(path, encoded.getvalue())


def _heated(image: Image, spots: Floats, threshold: float) -> Image:
    """The image in grey under the colours of the map, with the contour of what is above the threshold."""
    from scipy.ndimage import binary_dilation, binary_erosion

    colour, opacity = _colours(spots / max(threshold, 1e-6))
    mixed = (1 - opacity) * image.mean(axis=2, keepdims=True) + opacity * colour
    above = spots > threshold
    thick = max(1, max(image.shape) // 500)
    edge = binary_dilation(above, iterations=thick) & ~binary_erosion(above, border_value=1)
    mixed[edge] = _CONTOUR
    heated: Image = mixed.astype(np.uint8)
    return heated


def _colours(shares: Floats) -> tuple[Floats, Floats]:
    """Colour ``[…, 3]`` and opacity ``[…, 1]`` of a map's value, given as a share of the threshold."""
    heat = np.clip((shares - _BEGINS) / (_FULL - _BEGINS), 0, 1)[..., None]
    colour = (
        np.concatenate([np.ones_like(heat), np.clip(2 * heat - 1, 0, 1), np.zeros_like(heat)], axis=-1) * 255
    )
    return colour, 0.75 * np.sqrt(heat)


def _written(lines: Sequence[str], width: int) -> "Picture":
    """Lines of text, in a size that fits the width."""
    from PIL import Image as Pictures
    from PIL import ImageDraw, ImageFont

    size = 18.0
    longest = max((ImageFont.load_default(size).getlength(line) for line in lines), default=0)
    size = max(6.0, min(size, size * (width - 12) / max(longest, 1)))
    font, step = ImageFont.load_default(size), round(size * 1.35)
    made = Pictures.new("RGB", (width, step * len(lines) + 8), _PAPER)
    draw = ImageDraw.Draw(made)
    for number, line in enumerate(lines):
        draw.text((6, 4 + number * step), line, fill=_INK, font=font)
    return made


def _legend(width: int) -> "Picture":
    """The colours of the map from nothing to full, and what the contour is."""
    from PIL import Image as Pictures

    text = _written(
        ["colour: map, from a third of the threshold (red) to above it (yellow) · cyan: at the threshold"],
        width,
    )
    bar = np.linspace(0, _FULL, width, dtype=np.float32)[None].repeat(8, axis=0)
    colour, opacity = _colours(bar)
    made = Pictures.new("RGB", (width, 8 + text.height), _PAPER)
    made.paste(Pictures.fromarray(((1 - opacity) * 160 + opacity * colour).astype(np.uint8)), (0, 0))
    made.paste(text, (0, 8))
    return made

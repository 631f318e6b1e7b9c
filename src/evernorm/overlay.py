"""An image beside its anomaly map, as one picture."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt

from evernorm.files import write_bytes


def save_overlay(
    path: Path, image: npt.NDArray[np.uint8], score_map: npt.NDArray[np.float32], threshold: float
) -> None:
    """Write a PNG: the image on the left, on the right the same in grey with hot regions in colour.

    Colour begins at a third of the threshold and is full (yellow) a little above it, so pictures of
    different images and classes can be compared.

    Args:
        path: Where to.
        image: uint8 ``[H, W, 3]``.
        score_map: Standardised map ``[H, W]``.
        threshold: Map value at which a patch alone makes its image anomalous.
    """
    from PIL import Image

    heat = np.clip((score_map / max(threshold, 1e-6) - 0.33) / 0.9, 0, 1)[..., None]
    colour = (
        np.concatenate([np.ones_like(heat), np.clip(2 * heat - 1, 0, 1), np.zeros_like(heat)], axis=2) * 255
    )
    opacity = 0.75 * np.sqrt(heat)
    grey = image.mean(axis=2, keepdims=True)
    mixed = (1 - opacity) * grey + opacity * colour
    encoded = io.BytesIO()
    Image.fromarray(np.concatenate([image, mixed.astype(np.uint8)], axis=1)).save(encoded, "PNG")
    write_bytes(path, encoded.getvalue())

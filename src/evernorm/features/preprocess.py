"""From an image of any size to the backbone's input; the rule travels with the bank."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from evernorm.types import Floats, Image


@dataclass(frozen=True)
class Preprocess:
    """Resize the whole frame to a square (nothing is cropped: a defect may be at the rim), then normalise.

    Attributes:
        size: Side of the square, pixels.
        mean: Per channel, in units of full scale.
        std: Per channel, in units of full scale.
        interpolation: ``bilinear`` or ``bicubic``, with antialiasing.
    """

    size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str

    def resize(self, image: Image) -> Image:
        """The image as uint8 ``[size, size, 3]``; one of that size is not changed."""
        from PIL import Image as Pillow

        filters = {"bilinear": Pillow.Resampling.BILINEAR, "bicubic": Pillow.Resampling.BICUBIC}
        resized = Pillow.fromarray(image).resize((self.size, self.size), filters[self.interpolation])
        return np.asarray(resized)

    def __call__(self, image: Image) -> Floats:
        """Preprocess one image.

        Args:
            image: uint8 ``[H, W, 3]``, RGB.

        Returns:
            float32 ``[3, size, size]``.
        """
        return self.normalise(self.resize(image))

    def normalise(self, resized: Image) -> Floats:
        """Images that have been resized, uint8 ``[..., size, size, 3]`` → float32 ``[..., 3, size, size]``."""
        scaled = resized.astype(np.float32) / np.float32(255)
        normalised = (scaled - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return np.ascontiguousarray(np.moveaxis(normalised, -1, -3))

    def to_json(self) -> dict[str, Any]:
        """Plain values for `from_json`."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Preprocess":
        """Rebuild from plain values."""
        return cls(values["size"], tuple(values["mean"]), tuple(values["std"]), values["interpolation"])

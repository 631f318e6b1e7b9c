"""Segment Anything: masks of everything in an image, painted into one label map (UCAD section 3.3)."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from evernorm.params.groups import SamParams
from evernorm.structure.painting import least_pixels, merge_tiny, paint
from evernorm.structure.parts import Parts
from evernorm.structure.sam_sources import Generate, locate_sam, segment_anything, transformers_sam

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class SamSegmenter:
    """SAM's masks as a label map.

    Attributes:
        generate: Gives the masks, bool ``[H, W]`` each, of an RGB image uint8 ``[H, W, 3]``.
        min_region: Smallest region, as a share of the image; smaller ones join their neighbour.
    """

    generate: Generate
    min_region: float

    @classmethod
    def load(cls, params: SamParams, min_region: float, device: "torch.device") -> Self:
        """Load SAM from where `params.checkpoint` says: a file, a directory, or a hub name.

        Raises:
            ParamsError: transformers cannot do what a parameter asks for.
            WeightsError: The checkpoint is missing or does not fit; SAM never runs with random weights.
        """
        source = locate_sam(params)
        if isinstance(source, Path):
            return cls(segment_anything(source, params, device), min_region)
        return cls(transformers_sam(source, params, device), min_region)

    def segment(self, image: npt.NDArray[np.uint8]) -> Parts:
        """Parts of an RGB image ``[H, W, 3]``; 0 is where SAM finds nothing.

        Raises:
            DataError: There are more than 65535 masks.
        """
        shape = image.shape[0], image.shape[1]
        return Parts(merge_tiny(paint(self.generate(image), shape), least_pixels(self.min_region, shape)))

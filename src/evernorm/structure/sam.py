"""Segment Anything: masks of everything in an image, painted into one label map (UCAD section 3.3)."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from evernorm.errors import WeightsError
from evernorm.params.groups import SamParams
from evernorm.structure.painting import least_pixels, merge_tiny, paint
from evernorm.structure.sam_sources import WAYS, Generate, segment_anything, transformers_sam

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
        source = params.checkpoint
        path = Path(source).expanduser()
        if not source:
            raise WeightsError(f"masks.sam.checkpoint is empty: SAM has no weights. {WAYS}")
        if path.is_file():
            return cls(segment_anything(path, params, device), min_region)
        if path.is_dir():
            return cls(transformers_sam(str(path), params, device), min_region)
        if source.count("/") != 1 or path.suffix in {".pth", ".pt", ".safetensors"}:  # no hub name
            raise WeightsError(f"masks.sam.checkpoint {source!r} is no file and no directory. {WAYS}")
        return cls(transformers_sam(source, params, device), min_region)

    def labels(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
        """Label map ``[H, W]`` of an RGB image ``[H, W, 3]``: regions are 1..n, 0 is where SAM finds nothing.

        Raises:
            DataError: There are more than 65535 masks.
        """
        shape = image.shape[0], image.shape[1]
        return merge_tiny(paint(self.generate(image), shape), least_pixels(self.min_region, shape))

"""Grounding DINO and SAM: masks of what phrases name, painted into one label map (MTRMB section 3.2)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

from evernorm.params.groups import GroundingParams, MaskParams
from evernorm.structure.grounding.detector import Detector, choose_boxes
from evernorm.structure.grounding.sources import load_detector
from evernorm.structure.painting import least_pixels, merge_tiny, paint
from evernorm.structure.parts import Parts
from evernorm.structure.sam_boxes import MaskBoxes, load_box_masks
from evernorm.types import Image

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class GroundedSegmenter:
    """Masks of boxes of phrases as a label map.

    Attributes:
        phrases: What is looked for.
        detector: Finds boxes of the phrases.
        masks: Makes a mask of each box.
        params: The `masks.grounding` group.
        min_region: Smallest region, as a share of the image; smaller ones join their neighbour.
    """

    phrases: tuple[str, ...]
    detector: Detector
    masks: MaskBoxes
    params: GroundingParams
    min_region: float

    @classmethod
    def load(cls, params: MaskParams, name: str, device: "torch.device") -> Self:
        """Load both networks for the images of a class.

        Raises:
            MachineError: The package groundingdino is asked for and not installed.
            ParamsError: The phrases are too long.
            WeightsError: A checkpoint is missing or does not fit.
        """
        phrases = params.grounding.phrases_for(name)
        detector = load_detector(params.grounding, phrases, device)
        return cls(phrases, detector, load_box_masks(params.sam, device), params.grounding, params.min_region)

    def segment(self, image: Image) -> Parts:
        """Parts of an RGB image ``[H, W, 3]``; 0 is where no phrase is.

        For a phrase that is found nowhere the whole image stands, below all other regions.

        Raises:
            DataError: There are more than 65535 masks.
        """
        shape = image.shape[0], image.shape[1]
        boxes = choose_boxes(self.detector(image), self.detector.owners, self.params, shape)
        missing = tuple(phrase for number, phrase in enumerate(self.phrases) if number not in boxes.found)
        whole = [np.ones(shape, np.bool_)] if missing else []
        labels = paint([*whole, *self.masks(image, boxes.corners)], shape)
        return Parts(merge_tiny(labels, least_pixels(self.min_region, shape)), missing)

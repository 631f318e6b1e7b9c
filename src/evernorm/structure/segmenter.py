"""What every segmenter does, and which one params.yaml asks for."""

from typing import Protocol

from evernorm.params.groups import Device, MaskParams, StructureKind
from evernorm.structure.parts import Parts
from evernorm.types import Image


class Segmenter(Protocol):
    """What finds the parts of an image."""

    def segment(self, image: Image) -> Parts:
        """The parts of an RGB image uint8 ``[H, W, 3]``."""
        ...


def build_segmenter(params: MaskParams, name: str, device: Device = Device.AUTO) -> Segmenter:
    """Build the segmenter that params.yaml names.

    Args:
        params: The `masks` group.
        name: The class whose images it is for.
        device: Where SAM and Grounding DINO run; superpixels need none.

    Raises:
        MachineError: A package that it needs is not installed.
        ParamsError: CUDA was asked for and is not there, or a parameter cannot be followed.
        WeightsError: A checkpoint is missing or does not fit.
    """
    if params.structure is StructureKind.SUPERPIXELS:
        from evernorm.structure.superpixels import SuperpixelSegmenter

        return SuperpixelSegmenter(params.superpixels, params.min_region)
    from evernorm.features.backbone import choose_device

    if params.structure is StructureKind.GROUNDED_SAM:
        from evernorm.structure.grounded_sam import GroundedSegmenter

        return GroundedSegmenter.load(params, name, choose_device(device))
    from evernorm.structure.sam import SamSegmenter

    return SamSegmenter.load(params.sam, params.min_region, choose_device(device))

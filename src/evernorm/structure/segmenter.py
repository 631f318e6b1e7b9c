"""What every segmenter does, and which one params.yaml asks for."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from evernorm.params.groups import Device, MaskParams, StructureKind


class Segmenter(Protocol):
    """What finds the parts of an image."""

    def labels(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint16]:
        """Label map ``[H, W]`` of an RGB image ``[H, W, 3]``: regions are 1..n, 0 belongs to none."""
        ...


def build_segmenter(params: MaskParams, device: Device = Device.AUTO) -> Segmenter:
    """Build the segmenter that params.yaml names.

    Args:
        params: The `masks` group.
        device: Where SAM runs; superpixels need none.

    Raises:
        ParamsError: CUDA was asked for and is not there.
        WeightsError: SAM's checkpoint is missing or does not fit.
    """
    if params.structure is StructureKind.SUPERPIXELS:
        from evernorm.structure.superpixels import SuperpixelSegmenter

        return SuperpixelSegmenter(params.superpixels, params.min_region)
    from evernorm.features.backbone import choose_device
    from evernorm.structure.sam import SamSegmenter

    return SamSegmenter.load(params.sam, params.min_region, choose_device(device))

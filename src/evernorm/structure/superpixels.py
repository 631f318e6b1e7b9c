"""Superpixels: a segmenter without weights (Felzenszwalb and Huttenlocher, 2004)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from evernorm.params.groups import SuperpixelParams
from evernorm.structure.grid import nearest
from evernorm.structure.painting import as_labels, least_pixels
from evernorm.structure.parts import Parts


@dataclass(frozen=True)
class SuperpixelSegmenter:
    """Graph-based segmentation at a fixed size, so that the parameters mean the same for every camera.

    Attributes:
        params: The `masks.superpixels` group.
        min_region: Smallest region, as a share of the image.
    """

    params: SuperpixelParams
    min_region: float

    def segment(self, image: npt.NDArray[np.uint8]) -> Parts:
        """Parts of an RGB image ``[H, W, 3]``; every pixel is in a region, so there is no 0.

        Raises:
            DataError: There are more than 65535 regions.
        """
        from skimage.segmentation import felzenszwalb

        height, width = image.shape[:2]
        scale = self.params.size / max(height, width)
        shape = max(1, round(height * scale)), max(1, round(width * scale))
        small = Image.fromarray(image).resize(shape[::-1], Image.Resampling.BILINEAR)
        regions = felzenszwalb(
            np.asarray(small),
            scale=self.params.scale,
            sigma=self.params.sigma,
            min_size=least_pixels(self.min_region, shape),
        )
        rows, columns = nearest(shape[0], height), nearest(shape[1], width)
        return Parts(as_labels(regions[np.ix_(rows, columns)] + 1))

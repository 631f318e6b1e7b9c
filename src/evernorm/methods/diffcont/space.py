"""What is diffused: an image made small (the paper's), or what a frozen backbone makes of it."""

from collections.abc import Sequence

import numpy as np

from evernorm.features.backbone import Backbone
from evernorm.types import Floats, Image


def inputs(images: Sequence[Image], side: int, backbone: Backbone | None) -> Floats:
    """Images of any size as float32 ``[n, C, side, side]``.

    Pixels lie in [−1, 1]; features are the backbone's patches, averaged to fewer.

    Args:
        images: uint8 ``[H, W, 3]`` each.
        side: Rows and columns of what comes out.
        backbone: Whose features they are; None for pixels.
    """
    if backbone is None:
        return np.stack([_pixels(image, side) for image in images])
    import torch
    from torch.nn.functional import adaptive_avg_pool2d

    patches = torch.from_numpy(backbone.features(images)).mT
    patches = patches.reshape(len(images), backbone.dim, *backbone.grid)
    pooled: Floats = adaptive_avg_pool2d(patches, side).numpy()
    return pooled


def channels(backbone: Backbone | None) -> int:
    """Of `inputs`."""
    return 3 if backbone is None else backbone.dim


def _pixels(image: Image, side: int) -> Floats:
    from PIL import Image as Pillow

    small = Pillow.fromarray(image).resize((side, side), Pillow.Resampling.BOX)
    scaled: Floats = (np.asarray(small, np.float32) / 127.5 - 1).transpose(2, 0, 1)
    return scaled

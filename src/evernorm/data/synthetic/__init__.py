"""Drawn product classes: a woven cloth and a turned metal part, with defects and pixel-exact masks.

A scene (every thread, every turning mark, the pose, the lamp, the sensor's noise) is drawn at random; a
defect changes the scene; both scenes are rendered, and what differs visibly between the two is the mask.
So a mask is what the defect really changed, not an outline somebody drew around it.
"""

from typing import Any

import numpy as np
from scipy import ndimage

from evernorm.data.synthetic.drawing import SIZE, Mask, Picture, Product
from evernorm.data.synthetic.machined_part import MACHINED_PART
from evernorm.data.synthetic.textile import TEXTILE
from evernorm.errors import DataError

__all__ = ["DEFECTS", "SIZE", "SPECK", "VISIBLE", "draw"]

VISIBLE = 6
"""Smallest change of a channel, in grey levels of 255, that counts as a change."""
SPECK = 8
"""Changed areas of fewer pixels than this are put back as they were."""

_PRODUCTS: dict[str, Product[Any]] = {"textile": TEXTILE, "machined_part": MACHINED_PART}

DEFECTS: dict[str, tuple[str, ...]] = {kind: tuple(product.defects) for kind, product in _PRODUCTS.items()}
"""The defects each class can have."""


def draw(kind: str, rng: np.random.Generator, defect: str | None = None) -> tuple[Picture, Mask]:
    """Draw one image of a class.

    The generator advances by the same two numbers whatever is drawn, and the scene depends on the first
    alone: from the same generator state, a defective image equals the normal one outside its mask.

    Args:
        kind: What to draw, "textile" or "machined_part".
        rng: Where the seeds of the scene and of the defect come from.
        defect: One of ``DEFECTS[kind]``, or None for a normal image.

    Returns:
        The image, uint8 RGB [256, 256, 3], and the mask of the pixels the defect changed, bool [256, 256];
        without a defect the mask is empty, with one it never is.

    Raises:
        DataError: No such kind, or no such defect of this kind.
    """
    if kind not in _PRODUCTS:
        raise DataError(f"no drawn class {kind!r}; choose one of {', '.join(_PRODUCTS)}")
    if defect is not None and defect not in DEFECTS[kind]:
        raise DataError(f"{kind} has no defect {defect!r}; choose one of {', '.join(DEFECTS[kind])}")
    product = _PRODUCTS[kind]
    scene_rng, defect_rng = (np.random.default_rng(seed) for seed in rng.integers(2**63, size=2))
    scene = product.scene(scene_rng)
    normal = product.render(scene)
    mask = np.zeros((SIZE, SIZE), np.bool_)
    if defect is None:
        return normal, mask
    while not mask.any():  # too faint to be seen, or hidden in a bore: that is no defect, draw another
        defective = product.render(product.defects[defect](scene, defect_rng))
        mask = _changed(normal, defective)
    return np.where(mask[..., None], defective, normal), mask


def _changed(normal: Picture, defective: Picture) -> Mask:
    """Pixels that differ visibly, with pinholes closed and specks dropped."""
    change = np.abs(normal.astype(np.int16) - defective).max(axis=-1) >= VISIBLE
    closed = ndimage.binary_closing(np.pad(change, 2), np.ones((3, 3)), iterations=2)[2:-2, 2:-2]
    areas, _ = ndimage.label(closed, np.ones((3, 3)))
    large = np.bincount(areas.ravel()) >= SPECK
    large[0] = False
    mask: Mask = large[areas]
    return mask

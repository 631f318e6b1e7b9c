"""The parts of an image."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Parts:
    """What a segmenter finds.

    Attributes:
        labels: Label map uint16 ``[H, W]``: regions are 1..n, 0 belongs to none.
        missing: Phrases that were looked for and found nowhere in the image.
    """

    labels: npt.NDArray[np.uint16]
    missing: tuple[str, ...] = ()

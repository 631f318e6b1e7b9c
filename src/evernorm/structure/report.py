"""Whether the structure found is of use: images without a region, of one region, of too many."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from evernorm.params.groups import StructureKind

SCHEMA = 1
REPORT = "report.json"
_SHOWN = 3


@dataclass(frozen=True)
class Regions:
    """What a label map consists of.

    Attributes:
        number: Regions, the background not counted.
        background: Whether there is any.
    """

    number: int
    background: bool

    @classmethod
    def of(cls, labels: npt.NDArray[np.uint16]) -> Self:
        """Count the regions of a label map ``[H, W]``."""
        pixels = np.bincount(labels.ravel(), minlength=1)
        return cls(int(np.count_nonzero(pixels[1:])), bool(pixels[0]))


def report(structure: StructureKind, images: Mapping[str, Regions], max_regions: int) -> dict[str, Any]:
    """Sum up the structure of a class.

    Args:
        structure: What found it.
        images: The regions of each image by its path, at least one image.
        max_regions: More than that many are reported.

    Returns:
        A JSON object: the least, median and most regions an image; the paths of images `without` a region, of
        those where one region is the `whole` image (both have no parts to tell apart), and of `crowded` ones.
    """
    numbers = [regions.number for regions in images.values()]
    return {
        "schema": SCHEMA,
        "structure": structure.value,
        "images": len(numbers),
        "max_regions": max_regions,
        "regions": {"least": min(numbers), "median": float(np.median(numbers)), "most": max(numbers)},
        "without": [path for path, regions in images.items() if regions.number == 0],
        "whole": [path for path, regions in images.items() if regions == Regions(1, background=False)],
        "crowded": [path for path, regions in images.items() if regions.number > max_regions],
    }


def flagged(found: Mapping[str, Any]) -> list[str]:
    """The paths of all images that a report names."""
    return [*found["without"], *found["whole"], *found["crowded"]]


def warnings(found: Mapping[str, Any]) -> list[str]:
    """What a person should know of a report, a sentence each; nothing where all is well."""
    kinds = {
        "without": "no region",
        "whole": "one region that is the whole image",
        "crowded": f"more than {found['max_regions']} regions",
    }
    return [
        f"{len(paths)} of {found['images']} images {'has' if len(paths) == 1 else 'have'} {what}: "
        f"{', '.join(paths[:_SHOWN])}{', …' if len(paths) > _SHOWN else ''}"
        for kind, what in kinds.items()
        if (paths := found[kind])
    ]

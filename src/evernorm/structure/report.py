"""Whether the structure found is of use: images without a region, of one region, of too many."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from evernorm.params.groups import StructureKind
from evernorm.structure.parts import Parts

SCHEMA = 1
REPORT = "report.json"
_SHOWN = 3


@dataclass(frozen=True)
class Regions:
    """What a label map consists of.

    Attributes:
        number: Regions, the background not counted.
        background: Whether there is any.
        missing: Phrases that were found nowhere in the image.
    """

    number: int
    background: bool
    missing: tuple[str, ...] = ()

    @classmethod
    def of(cls, parts: Parts) -> Self:
        """Count the regions of an image."""
        pixels = np.bincount(parts.labels.ravel(), minlength=1)
        return cls(int(np.count_nonzero(pixels[1:])), bool(pixels[0]), parts.missing)


def report(structure: StructureKind, images: Mapping[str, Regions], max_regions: int) -> dict[str, Any]:
    """Sum up the structure of a class.

    Args:
        structure: What found it.
        images: The regions of each image by its path, at least one image.
        max_regions: More than that many are reported.

    Returns:
        A JSON object: the least, median and most regions an image; the paths of images `without` a region, of
        those where one region is the `whole` image (both have no parts to tell apart), and of `crowded` ones; for
        each phrase that is `missing` in some image, the paths of these.
    """
    missing: dict[str, list[str]] = {}
    for path, regions in images.items():
        for phrase in regions.missing:
            missing.setdefault(phrase, []).append(path)
    numbers = [regions.number for regions in images.values()]
    return {
        "schema": SCHEMA,
        "structure": structure.value,
        "images": len(numbers),
        "max_regions": max_regions,
        "regions": {"least": min(numbers), "median": float(np.median(numbers)), "most": max(numbers)},
        "without": [path for path, regions in images.items() if regions.number == 0],
        "whole": [
            path for path, regions in images.items() if (regions.number, regions.background) == (1, False)
        ],
        "crowded": [path for path, regions in images.items() if regions.number > max_regions],
        **({"missing": missing} if missing else {}),
    }


def flagged(found: Mapping[str, Any]) -> list[str]:
    """The paths of all images that a report names."""
    missing = [path for paths in found.get("missing", {}).values() for path in paths]
    return list(dict.fromkeys([*found["without"], *found["whole"], *found["crowded"], *missing]))


def warnings(found: Mapping[str, Any]) -> list[str]:
    """What a person should know of a report, a sentence each; nothing where all is well."""
    kinds = {
        "no region": found["without"],
        "one region that is the whole image": found["whole"],
        f"more than {found['max_regions']} regions": found["crowded"],
        **{
            f"no {phrase!r}, for which the whole image stands": paths
            for phrase, paths in found.get("missing", {}).items()
        },
    }
    return [
        f"{len(paths)} of {found['images']} images {'has' if len(paths) == 1 else 'have'} {what}: "
        f"{', '.join(paths[:_SHOWN])}{', …' if len(paths) > _SHOWN else ''}"
        for what, paths in kinds.items()
        if paths
    ]

"""From overlapping masks to one label map without specks."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from evernorm.errors import DataError

MOST = int(np.iinfo(np.uint16).max)


def paint(masks: Sequence[npt.NDArray[np.bool_]], shape: tuple[int, int]) -> npt.NDArray[np.uint16]:
    """Paint masks over each other, the largest first (NOTES on UCAD), so that a part shows on its whole.

    Args:
        masks: bool ``[H, W]`` each; masks of equal size are painted in the order given.
        shape: H and W.

    Returns:
        uint16 ``[H, W]``: ids 1..n in the order of painting, 0 where no mask is. The id of a mask that others
        cover wholly does not occur.

    Raises:
        DataError: There are more than 65535 masks.
    """
    labels = np.zeros(shape, np.int64)
    for number, mask in enumerate(sorted(masks, key=lambda mask: -int(mask.sum())), start=1):
        labels[mask] = number
    return as_labels(labels)


def merge_tiny(labels: npt.NDArray[np.uint16], least: int) -> npt.NDArray[np.uint16]:
    """Give specks to their surroundings, then make the ids consecutive.

    In each round every connected region (of pixels that share a side) smaller than `least` joins the neighbour
    with which it shares the longest border, of several the first in reading order. Regions that have joined take
    the label of the largest of them, again the first of several. Rounds are repeated until no region is too small.
    The background is a region like any other here: a small hole in it is filled, a speck on it vanishes.

    Args:
        labels: Label map ``[H, W]`` over background 0.
        least: Pixels that a region must have.

    Returns:
        uint16 ``[H, W]``: ids 1..n in the order of the ids given, background 0.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components
    from skimage.measure import label

    while True:
        regions = label(labels, background=-1, connectivity=1).astype(np.int64) - 1  # type: ignore[no-untyped-call]
        sizes = np.bincount(regions.ravel())
        count = len(sizes)
        if count == 1 or sizes.min() >= least:
            return _consecutive(labels)
        one, other, border = _borders(regions, sizes < least)
        best = _leaders(one, border, other)
        edges = coo_array((np.ones(len(best)), (one[best], other[best])), shape=(count, count))
        joined = connected_components(edges, directed=False)[1]
        heads = _leaders(joined, sizes, np.arange(count))
        names = np.zeros(count, np.uint16)
        names[regions] = labels
        labels = names[heads][joined][regions]


def as_labels(labels: npt.NDArray[np.int64]) -> npt.NDArray[np.uint16]:
    """Narrow a label map to 16 bits.

    Raises:
        DataError: There are more than 65535 labels.
    """
    if (most := int(labels.max())) > MOST:
        raise DataError(
            f"an image has {most} regions, at most {MOST} can be told apart; raise masks.min_region"
        )
    return labels.astype(np.uint16)


def least_pixels(share: float, shape: tuple[int, int]) -> int:
    """The pixels of the smallest region that is not below `share` of an image of H and W."""
    return math.ceil(share * shape[0] * shape[1])


def _borders(
    regions: npt.NDArray[np.int64], tiny: npt.NDArray[np.bool_]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Each tiny region, each of its neighbours, and the pixel sides they share; three arrays of equal length."""
    one = np.concatenate([regions[:, :-1].ravel(), regions[:-1].ravel()])
    other = np.concatenate([regions[:, 1:].ravel(), regions[1:].ravel()])
    one, other = np.concatenate([one, other]), np.concatenate([other, one])
    kept = (one != other) & tiny[one]
    pairs, border = np.unique(one[kept] * len(tiny) + other[kept], return_counts=True)
    return pairs // len(tiny), pairs % len(tiny), border


def _leaders(
    groups: npt.NDArray[Any], size: npt.NDArray[np.int64], number: npt.NDArray[np.int64]
) -> npt.NDArray[np.intp]:
    """The index of the largest member of each group, of several the one with the lowest number; by group."""
    order = np.lexsort((number, -size, groups))
    return order[np.unique(groups[order], return_index=True)[1]]


def _consecutive(labels: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    """Close the gaps between ids; 0 stays 0."""
    present = np.bincount(labels.ravel()) > 0
    present[0] = False
    return np.where(present, np.cumsum(present), 0).astype(np.uint16)[labels]

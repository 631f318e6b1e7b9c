"""What an alignment predicts from: what a frozen encoder sees of an image, averaged to few places."""

from functools import lru_cache

import numpy as np

from evernorm.types import Floats, Indices

SIDE = 7  # places a side, at most
SHOWN = 64  # images of a class that are kept


def encoding(maps: Floats) -> Floats:
    """Feature maps ``[n, C, H, W]`` as float32 ``[n, C, h, w]``, each cell the mean of what it covers."""
    rows, columns = (_mean_of(side, min(side, SIDE)) for side in maps.shape[2:])
    small: Floats = (rows @ maps @ columns.T).astype(np.float32, copy=False)
    return small


def of_patches(features: Floats, grid: tuple[int, int]) -> Floats:
    """The same of patches ``[n, P, d]``, row by row."""
    return encoding(features.transpose(0, 2, 1).reshape(len(features), -1, *grid))


def shown(count: int) -> Indices:
    """Numbers of the images that are kept, of so many: spread over them."""
    return np.unique(np.linspace(0, count - 1, min(count, SHOWN)).round().astype(np.int64))


@lru_cache(maxsize=16)
def _mean_of(source: int, target: int) -> Floats:
    """Matrix ``[target, source]`` of averaging along one axis; cells may overlap (torch's adaptive pooling)."""
    matrix = np.zeros((target, source), np.float32)
    for cell in range(target):
        start, end = cell * source // target, -(-(cell + 1) * source // target)
        matrix[cell, start:end] = 1 / (end - start)
    return matrix

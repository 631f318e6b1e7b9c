"""What an alignment predicts from: what a frozen encoder sees of an image, averaged to few places."""

from functools import lru_cache

import numpy as np

from evernorm.types import Floats, Indices

SIDE = 4  # places a side, at most: what keeps a head within 3 % of the backbone's pass
SHOWN = 64  # images of a class that are kept


def encoding(maps: Floats) -> Floats:
    """Feature maps ``[n, C, H, W]`` as float32 ``[n, C, h, w]``, each cell the mean of what it covers."""
    rows, columns = (_mean_of(side, min(side, SIDE)) for side in maps.shape[2:])
    small: Floats = np.matmul(np.matmul(rows, maps), columns.T)
    return small


def of_patches(features: Floats, grid: tuple[int, int]) -> Floats:
    """The same of patches ``[n, P, d]``, row by row."""
    count, _, dim = features.shape
    rows, columns = (_mean_of(side, min(side, SIDE)) for side in grid)
    # The columns of a row lie together, so that a row of patches is averaged as one long vector.
    high = rows @ features.reshape(count, grid[0], grid[1] * dim)
    small = columns @ high.reshape(count, len(rows), grid[1], dim)
    return np.ascontiguousarray(small.transpose(0, 3, 1, 2))


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

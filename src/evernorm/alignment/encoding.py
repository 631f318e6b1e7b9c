"""What an alignment predicts from: what a frozen encoder sees of an image, averaged to few places."""

from functools import lru_cache

import numpy as np

from evernorm.types import Floats, Indices

SIDE = 4  # places a side, at most: what keeps a head within 3 % of the backbone's pass
SHOWN = 128  # images of a class that are kept: enough for a rate of 1 % (`calibration.promise`)
_LARGEST = float(np.finfo(np.float16).max)


def encoding(maps: Floats) -> Floats:
    """Feature maps ``[n, C, H, W]`` as float32 ``[n, C, h, w]``, each cell the mean of what it covers."""
    rows, columns = (_mean_of(side, min(side, SIDE)) for side in maps.shape[2:])
    return _as_kept(np.matmul(np.matmul(rows, maps), columns.T))


def of_patches(features: Floats, grid: tuple[int, int]) -> Floats:
    """The same of patches ``[n, P, d]``, row by row."""
    count, _, dim = features.shape
    rows, columns = (_mean_of(side, min(side, SIDE)) for side in grid)
    # The columns of a row lie together, so that a row of patches is averaged as one long vector.
    high = rows @ features.reshape(count, grid[0], grid[1] * dim)
    small = columns @ high.reshape(count, len(rows), grid[1], dim)
    return _as_kept(small.transpose(0, 3, 1, 2))


def of_whole(rows: Floats) -> Floats:
    """The same of encoders that keep one row an image, ``[n, C]``: a single place."""
    return _as_kept(rows[:, :, None, None])


def _as_kept(small: Floats) -> Floats:
    """In half precision, as it is stored, so that an image is seen in use as those that a head was trained on."""
    rounded: Floats = np.clip(small, -_LARGEST, _LARGEST).astype(np.float16, order="C").astype(np.float32)
    return rounded


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

"""From patch scores to an anomaly map of the image's own size (PatchCore section 3.3)."""

from functools import lru_cache

import numpy as np

from evernorm.types import Doubles, Floats

SIGMA = 4.0  # pixels of the backbone's input


def anomaly_map(patches: Floats, grid: tuple[int, int], input_size: int, shape: tuple[int, int]) -> Floats:
    """Patch scores as a smooth map of the image's own size.

    Upsampled bilinearly to the backbone's input, smoothed there with a Gaussian (σ = 4), resized to the
    image. Each step is linear and separable, so the whole is one small matrix on each side.

    Args:
        patches: ``[P]``, row by row.
        grid: Rows and columns of patches.
        input_size: Side of the backbone's input, pixels.
        shape: Height and width of the image, pixels.

    Returns:
        float32 ``[H, W]``, in the unit of `patches`.
    """
    rows, columns = map_operators(grid, input_size, shape)
    smooth: Floats = (rows @ patches.reshape(grid) @ columns.T).astype(np.float32, copy=False)
    return smooth


def map_operators(grid: tuple[int, int], input_size: int, shape: tuple[int, int]) -> tuple[Floats, Floats]:
    """What `anomaly_map` multiplies patches ``[rows, columns]`` with, from the left ``[H, rows]`` and, turned, the right."""
    return _axis_operator(grid[0], input_size, shape[0]), _axis_operator(grid[1], input_size, shape[1])


def resized(places: Floats, shape: tuple[int, int]) -> Floats:
    """A map ``[h, w]`` at another size, bilinearly and not smoothed: float32 ``[H, W]``."""
    rows, columns = (_bilinear(old, new) for old, new in zip(places.shape, shape, strict=True))
    whole: Floats = (rows @ places @ columns.T).astype(np.float32)
    return whole


def highest(places: Floats, share: float) -> Floats:
    """The mean of the highest share of the places ``[n, P]``, of one at least: float32 ``[n]`` (CADA section 3.1)."""
    count = max(1, round(share * places.shape[1]))
    mean: Floats = np.partition(places, -count, axis=1)[:, -count:].mean(axis=1)
    return mean


def region_of(spots: Floats, threshold: float) -> tuple[int, int, int, int] | None:
    """Where the defect is: the box of the connected pixels above a threshold that hold the map's highest.

    Args:
        spots: A map ``[H, W]``.
        threshold: In its unit.

    Returns:
        Left, top, right and bottom in pixels, right and bottom exclusive; None where no pixel is above.
    """
    from scipy.ndimage import find_objects, label

    parts, _ = label(spots > threshold)
    highest = int(parts.flat[int(spots.argmax())])
    if not highest:
        return None
    rows, columns = find_objects(parts)[highest - 1]
    return columns.start, rows.start, columns.stop, rows.stop


@lru_cache(maxsize=64)
def _axis_operator(cells: int, input_size: int, length: int) -> Floats:
    from scipy.ndimage import gaussian_filter1d

    upsampled = _bilinear(cells, input_size)
    smoothed = gaussian_filter1d(upsampled, SIGMA, axis=0)
    operator: Floats = (_bilinear(input_size, length) @ smoothed).astype(np.float32)
    return operator


def _bilinear(source: int, target: int) -> Doubles:
    """Matrix ``[target, source]`` of bilinear resizing along one axis (pixel centres, as in torch)."""
    centre = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    low = np.floor(centre).astype(int)
    high = np.minimum(low + 1, source - 1)
    matrix = np.zeros((target, source))
    np.add.at(matrix, (np.arange(target), low), 1 - (centre - low))
    np.add.at(matrix, (np.arange(target), high), centre - low)
    return matrix

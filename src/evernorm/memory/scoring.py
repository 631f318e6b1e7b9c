"""From patch distances to an image score and an anomaly map (PatchCore section 3.3)."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from evernorm.memory.search import NearestRows
from evernorm.types import Floats, Indices

SIGMA = 4.0  # pixels of the backbone's input


def image_scores(
    features: Floats, distances: Floats, nearest: Indices, search: NearestRows, neighbours: int
) -> Floats:
    """Re-weighted image scores, PatchCore Eq. 7 (UCAD Eq. 6).

    p* is the patch farthest from the memory, m* its nearest row, N_b(m*) the b rows nearest to m*;
    the score is (1 − softmax(d(p*, N_b(m*)))[m*]) · d(p*, m*). With b = 1 there is nothing to compare
    and the weight is 1.

    Args:
        features: float32 ``[n, P, d]``.
        distances: Distance of each patch to its nearest row, ``[n, P]``.
        nearest: Index of that row, ``[n, P]``.
        search: The rows.
        neighbours: b.

    Returns:
        float32 ``[n]``, in units of feature distance.
    """
    images = np.arange(len(features))
    farthest = distances.argmax(axis=1)
    patch, row = features[images, farthest], nearest[images, farthest]
    own = distances[images, farthest]
    around = search.neighbourhood(row, neighbours)
    reach = np.linalg.norm(patch[:, None, :] - search.rows[around], axis=2)
    scores: Floats = own * reweighting(own, reach)
    return scores


def reweighting(own: Floats, reach: Floats) -> Floats:
    """1 − softmax(reach)[m*], shifted by the maximum so that no exponential overflows.

    Args:
        own: d(p*, m*), ``[n]``.
        reach: d(p*, N_b(m*)), m* among them, ``[n, b]``; infinite where fewer than b rows exist.

    Returns:
        float32 ``[n]`` in (0, 1].
    """
    exists = np.isfinite(reach)
    highest = np.where(exists, reach, 0).max(axis=1, keepdims=True)
    terms = np.exp(np.where(exists, reach - highest, -np.inf))
    weight = 1 - np.exp(own - highest[:, 0]) / terms.sum(axis=1)
    return np.where(exists.sum(axis=1) > 1, weight, 1).astype(np.float32)


def anomaly_map(distances: Floats, grid: tuple[int, int], input_size: int, shape: tuple[int, int]) -> Floats:
    """Patch distances as a smooth map of the image's own size.

    Upsampled bilinearly to the backbone's input, smoothed there with a Gaussian (σ = 4), resized to the
    image. Each step is linear and separable, so the whole is one small matrix on each side.

    Args:
        distances: ``[P]``, row by row.
        grid: Rows and columns of patches.
        input_size: Side of the backbone's input, pixels.
        shape: Height and width of the image, pixels.

    Returns:
        float32 ``[H, W]``, in the unit of `distances`.
    """
    rows = _axis_operator(grid[0], input_size, shape[0])
    columns = _axis_operator(grid[1], input_size, shape[1])
    smooth: Floats = (rows @ distances.reshape(grid) @ columns.T).astype(np.float32, copy=False)
    return smooth


@lru_cache(maxsize=64)
def _axis_operator(cells: int, input_size: int, length: int) -> Floats:
    from scipy.ndimage import gaussian_filter1d

    upsampled = _bilinear(cells, input_size)
    smoothed = gaussian_filter1d(upsampled, SIGMA, axis=0)
    operator: Floats = (_bilinear(input_size, length) @ smoothed).astype(np.float32)
    return operator


def _bilinear(source: int, target: int) -> npt.NDArray[np.float64]:
    """Matrix ``[target, source]`` of bilinear resizing along one axis (pixel centres, as in torch)."""
    centre = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
    low = np.floor(centre).astype(int)
    high = np.minimum(low + 1, source - 1)
    matrix = np.zeros((target, source))
    np.add.at(matrix, (np.arange(target), low), 1 - (centre - low))
    np.add.at(matrix, (np.arange(target), high), centre - low)
    return matrix

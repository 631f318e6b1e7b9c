"""From patch distances to an image score (PatchCore section 3.3)."""

import numpy as np

from evernorm.maps import highest
from evernorm.memory.search import NearestRows
from evernorm.types import Floats, Indices

TOP = 0.01  # share of an image's patches


def top_scores(distances: Floats) -> Floats:
    """The mean of the highest 1 % of an image's patch distances ``[n, P]``: float32 ``[n]`` (CADA section 3.1)."""
    return highest(distances, TOP)


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

"""Keys: how an image finds its class (UCAD Eq. 4), and how far a class's own images are from its keys.

Eq. 4 sums, over the keys x of a class, the distance from x to the nearest patch y of the image, and takes the
class with the lowest sum. Here it is the mean over the keys, so that a class too small to fill its keys is
not favoured; with equal numbers of keys the class is the same.
"""

from collections.abc import Sequence

import numpy as np

from evernorm.memory.search import NearestRows
from evernorm.types import Flags, Floats, Indices


def key_distances(features: Floats, keys: Sequence[Floats], asked: Flags | None = None) -> Floats:
    """Mean distance of the keys of each class to the nearest patch of each image (Eq. 4).

    The patches nearest to the keys of all classes asked for are searched for at once, an image at a time. Distances are
    then taken from the rows themselves, so the answer for an image does not depend on the other images, nor, but for
    patches equally near within rounding, on the other classes.

    Memory: what `NearestRows` holds of an image's patches, and the keys that are asked for.

    Args:
        features: Frozen patch features, float32 ``[n, P, d]``.
        keys: Keys of each of T classes, float32 ``[k, d]``, k at least 1.
        asked: bool ``[n, T]``, of which classes; of all if None.

    Returns:
        float32 ``[n, T]``, infinite where a class is not asked for.
    """
    means = np.full((len(features), len(keys)), np.inf, np.float32)
    if asked is None:
        asked = np.ones(means.shape, np.bool_)
    sizes = np.array([len(each) for each in keys])
    patterns, which = np.unique(asked, axis=0, return_inverse=True)
    for pattern, places in enumerate(np.flatnonzero(each) for each in patterns):
        if not places.size:
            continue
        rows = np.concatenate([keys[place] for place in places.tolist()])
        starts = np.cumsum([0, *sizes[places][:-1]])
        for number in np.flatnonzero(which == pattern):
            distances, _ = NearestRows(features[number]).nearest(rows)
            means[number, places] = np.add.reduceat(distances.astype(np.float64), starts) / sizes[places]
    return means


def leave_one_out_key_distances(features: Floats, keys: Floats, source: Indices) -> Floats:
    """How far each training image is from the keys of its class that come from the other images.

    Args:
        features: Frozen patch features of the training images, float32 ``[n, P, d]``.
        keys: float32 ``[k, d]``.
        source: int64 ``[k]``, the image each key was taken from.

    Returns:
        float32 ``[n]``, on the scale of `key_distances`; NaN where every key comes from the image itself.
    """
    means = np.full(len(features), np.nan, np.float32)
    for number in range(len(features)):
        others = source != number
        if others.any():
            distances, _ = NearestRows(features[number]).nearest(keys)
            means[number] = distances[others].mean(dtype=np.float64)
    return means

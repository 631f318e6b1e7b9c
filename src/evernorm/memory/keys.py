"""Keys: how an image finds its class (UCAD Eq. 4), and how far a class's own images are from its keys.

Eq. 4 sums, over the keys x of a class, the distance from x to the nearest patch y of the image, and takes the
class with the lowest sum. Here it is the mean over the keys, so that a class too small to fill its keys is
not favoured; with equal numbers of keys the class is the same.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from evernorm.memory.search import euclidean
from evernorm.types import Floats, Indices

if TYPE_CHECKING:
    import torch

_KEYS_AT_ONCE = 4096  # bounds the memory of a search: that many keys times the patches of one image


def key_distances(features: Floats, keys: Sequence[Floats], device: "torch.device") -> Floats:
    """Mean distance of the keys of each class to the nearest patch of each image (Eq. 4).

    The keys of all classes are searched in one product an image. Distances are then taken from the rows
    themselves, so the answer for an image does not depend on the other images, nor, but for patches equally
    near within rounding, on the other classes.

    Memory: 4096 · P · 4 bytes, and the keys of all classes.

    Args:
        features: Frozen patch features, float32 ``[n, P, d]``.
        keys: Keys of each of T classes, float32 ``[k, d]``, k at least 1.
        device: Where the products are computed.

    Returns:
        float32 ``[n, T]``.
    """
    import torch

    if not keys:
        return np.empty((len(features), 0), np.float32)
    rows = np.concatenate(keys)
    on_device = torch.from_numpy(rows).to(device)
    starts = np.cumsum([0, *(len(each) for each in keys[:-1])])
    sizes = np.array([len(each) for each in keys])
    means = np.empty((len(features), len(keys)), np.float32)
    for number in range(len(features)):
        image = np.array(features[number])  # a copy: a memory map may be read-only
        nearest = _nearest_patches(on_device, torch.from_numpy(image).to(device))
        distances = euclidean(rows, image, nearest)
        means[number] = np.add.reduceat(distances.astype(np.float64), starts) / sizes
    return means


def leave_one_out_key_distances(
    features: Floats, keys: Floats, source: Indices, device: "torch.device"
) -> Floats:
    """How far each training image is from the keys of its class that come from the other images.

    Args:
        features: Frozen patch features of the training images, float32 ``[n, P, d]``.
        keys: float32 ``[k, d]``.
        source: int64 ``[k]``, the image each key was taken from.
        device: Where the products are computed.

    Returns:
        float32 ``[n]``, on the scale of `key_distances`; NaN where every key comes from the image itself.
    """
    import torch

    on_device = torch.from_numpy(keys).to(device)
    means = np.full(len(features), np.nan, np.float32)
    for number in range(len(features)):
        others = source != number
        if others.any():
            image = np.array(features[number])  # a copy: a memory map may be read-only
            nearest = _nearest_patches(on_device, torch.from_numpy(image).to(device))
            means[number] = euclidean(keys, image, nearest)[others].mean(dtype=np.float64)
    return means


def _nearest_patches(keys: "torch.Tensor", patches: "torch.Tensor") -> Indices:
    """Number of the patch nearest to each key: int64 ``[k]``."""
    import torch

    centre = patches.mean(0)  # what all have in common would only cost digits
    patches = patches - centre
    norms = (patches * patches).sum(1)
    found = [
        torch.addmm(norms, block - centre, patches.T, alpha=-2).argmin(dim=1)
        for block in torch.split(keys, _KEYS_AT_ONCE)
    ]
    nearest: Indices = torch.cat(found).cpu().numpy()
    return nearest

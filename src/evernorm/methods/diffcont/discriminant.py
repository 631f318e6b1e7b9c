"""Which class an embedding belongs to: linear discriminants that grow with the classes (Hayes and Kanan, 2020).

One mean a class and one covariance for all: what is kept does not grow but for the means. Embeddings are averaged over
the quarters of their grid first, so that the covariance stays small.
"""

import numpy as np

from evernorm.types import Doubles, Floats, Indices

_SIDE = 2  # rows and columns that the grid of an embedding is averaged to
_SHRINKAGE = 0.1  # towards a multiple of the identity: a class has fewer images than an embedding has columns


def coarse(embeddings: Floats, channels: int) -> Doubles:
    """Embeddings ``[n, channels · side²]`` averaged over quarters of their grid: ``[n, channels · 4]``.

    A grid of one row stays as it is; of an odd number of rows, the middle ones count in both halves.
    """
    side = round((embeddings.shape[1] / channels) ** 0.5)
    grid = embeddings.reshape(len(embeddings), channels, side, side).astype(np.float64)
    kept = min(_SIDE, side)
    half = -(-side // kept)
    halves = [slice(0, half), slice(side - half, side)][:kept]
    parts = [grid[:, :, rows, columns].mean(axis=(2, 3)) for rows in halves for columns in halves]
    return np.stack(parts, axis=2).reshape(len(embeddings), -1)


def covariance(embeddings: Floats, channels: int) -> Floats:
    """Of the coarse embeddings of one class, float32 ``[c, c]``."""
    parts = coarse(embeddings, channels)
    centred = parts - parts.mean(axis=0)
    spread: Floats = (centred.T @ centred / len(parts)).astype(np.float32)
    return spread


def discriminate(embeddings: Floats, means: Floats, shared: Floats, channels: int) -> Indices:
    """The class of each embedding: that of the nearest mean, in Mahalanobis's distance.

    Args:
        embeddings: ``[n, d]``.
        means: Of the classes, ``[T, d]``.
        shared: `covariance`, the mean over the classes.
        channels: Of the projector.

    Returns:
        int64 ``[n]``.
    """
    spread = shared.astype(np.float64)
    level = np.trace(spread) / len(spread) + 1e-12
    inverse = np.linalg.inv(spread + _SHRINKAGE * level * np.eye(len(spread)))
    seen, centres = coarse(embeddings, channels), coarse(means, channels)
    # One image after another: a product over all of them would round by how many there are.
    differences = seen[:, None] - centres[None]
    distances = np.stack([np.einsum("tc,cd,td->t", each, inverse, each) for each in differences])
    nearest: Indices = distances.argmin(axis=1)
    return nearest

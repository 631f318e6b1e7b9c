"""Which class an embedding belongs to: linear discriminants that grow with the classes (Hayes and Kanan, 2020).

One mean a class and one covariance for all: what is kept does not grow but for the means. Embeddings are averaged over
their places first, so that a few images tell their covariance.
"""

import numpy as np

from evernorm.types import Doubles, Floats, Indices

_SHRINKAGE = (
    0.1  # towards a multiple of the identity: a class may have fewer images than the projector has channels
)


def pooled(embeddings: Floats, channels: int) -> Doubles:
    """Embeddings ``[n, channels · places]`` averaged over their places: ``[n, channels]``."""
    mean: Doubles = embeddings.reshape(len(embeddings), channels, -1).mean(axis=2, dtype=np.float64)
    return mean


def covariance(embeddings: Floats, channels: int) -> Floats:
    """Of the pooled embeddings of one class, float32 ``[channels, channels]``."""
    parts = pooled(embeddings, channels)
    centred = parts - parts.mean(axis=0)
    spread: Floats = (centred.T @ centred / len(parts)).astype(np.float32)
    return spread


def discriminate(embeddings: Floats, means: Floats, shared: Floats) -> Indices:
    """The class of each embedding: that of the nearest mean, in Mahalanobis's distance.

    Args:
        embeddings: ``[n, d]``.
        means: Of the classes, ``[T, d]``.
        shared: `covariance`, the mean over the classes.

    Returns:
        int64 ``[n]``.
    """
    spread, channels = shared.astype(np.float64), len(shared)
    level = np.trace(spread) / channels + 1e-12
    inverse = np.linalg.inv(spread + _SHRINKAGE * level * np.eye(channels))
    differences = pooled(embeddings, channels)[:, None] - pooled(means, channels)[None]
    # One image after another: a product over all of them would round by how many there are.
    distances = np.stack([np.einsum("tc,cd,td->t", each, inverse, each) for each in differences])
    nearest: Indices = distances.argmin(axis=1)
    return nearest

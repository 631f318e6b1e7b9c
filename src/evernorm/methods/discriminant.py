"""Which class a description belongs to: linear discriminants that grow with the classes (Hayes and Kanan, 2020).

One mean a class and one covariance for all: what is kept does not grow but for the means.
"""

import numpy as np

from evernorm.types import Doubles, Floats, Indices

_SHRINKAGE = (
    0.1  # towards a multiple of the identity: a class may have fewer images than a description has columns
)


def covariance(descriptions: Floats | Doubles) -> Floats:
    """Of the descriptions ``[n, d]`` of one class, float32 ``[d, d]``."""
    centred = descriptions.astype(np.float64) - descriptions.mean(axis=0, dtype=np.float64)
    spread: Floats = (centred.T @ centred / len(centred)).astype(np.float32)
    return spread


class Discriminants:
    """What tells classes apart; the covariance is inverted once, d² numbers in float64.

    Args:
        means: Of the classes, ``[T, d]``.
        shared: `covariance`, the mean over the classes.
    """

    def __init__(self, means: Floats | Doubles, shared: Floats) -> None:
        spread, columns = shared.astype(np.float64), len(shared)
        level = np.trace(spread) / columns + 1e-12
        self._means = means.astype(np.float64)
        self._inverse = np.linalg.inv(spread + _SHRINKAGE * level * np.eye(columns))

    def nearest(self, descriptions: Floats | Doubles) -> Indices:
        """The class of each description ``[n, d]``, int64 ``[n]``: that of the nearest mean, in Mahalanobis's distance."""
        differences = descriptions.astype(np.float64)[:, None] - self._means[None]
        # One image after another: a product over all of them would round by how many there are.
        distances = np.stack([np.einsum("td,td->t", each @ self._inverse, each) for each in differences])
        nearest: Indices = distances.argmin(axis=1)
        return nearest

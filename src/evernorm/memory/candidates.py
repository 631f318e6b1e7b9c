"""Which few classes an image can be of, at a cost that hardly grows with their number.

Each class keeps the means of the patches of a few of its normal images. One search over those of all classes finds
the classes that an image, as a whole, is nearest to; what tells classes apart exactly (`memory.routing`,
`memory.keys`) is then asked of these alone. Why this descriptor, and these bounds: docs/decisions/routing.md.
"""

from collections.abc import Sequence

import numpy as np

from evernorm.memory.entry import farthest_points
from evernorm.types import Flags, Floats, Indices

DESCRIPTORS = 8  # of a class
WITHIN = 1.5  # times the distance to the nearest class


def describe(features: Floats) -> Floats:
    """An image as a whole, the mean of its patches ``[n, P, d]``: float32 ``[n, d]``."""
    means: Floats = features.mean(axis=1, dtype=np.float64).astype(np.float32)
    return means


def descriptors_of(features: Floats) -> Floats:
    """What is kept of a class's images ``[n, P, d]``: those farthest from one another, float32 ``[k, d]``."""
    whole = describe(features)
    return np.ascontiguousarray(whole[farthest_points(whole, DESCRIPTORS)])


class Candidates:
    """The classes that images are nearest to as a whole.

    Memory: the descriptors of all classes once more.

    Attributes:
        descriptors: Of the classes, those that are kept.
        most: Classes asked for an image, at most; 0: all.

    Args:
        descriptors: Of each of T classes, float32 ``[k, d]``, k at least 1; None where an earlier version kept none.
        most: Classes to be asked for an image, at most; 0: all. All, too, where descriptors are missing.
    """

    def __init__(self, descriptors: Sequence[Floats | None], most: int) -> None:
        kept = [each for each in descriptors if each is not None]
        self._count = len(descriptors)
        self.most = most if len(kept) == self._count > 1 else 0
        self.descriptors = kept
        if self.exhaustive:
            return
        rows = np.concatenate(kept)
        self._centre = rows.mean(axis=0)  # what all have in common would only cost digits
        self._rows = rows - self._centre
        self._norms = np.einsum("kd,kd->k", self._rows, self._rows)
        self._sizes = [len(each) for each in kept]
        self._starts = np.cumsum([0, *self._sizes[:-1]])

    @property
    def exhaustive(self) -> bool:
        """Whether all classes are asked whatever the image."""
        return self.most == 0

    def of(self, features: Floats, without: Indices | None = None) -> Flags:
        """The classes to be asked for each image: bool ``[n, T]``.

        Args:
            features: Frozen patch features, float32 ``[n, P, d]``.
            without: int64 ``[n]``, a class that is not asked for, and does not count as the nearest.
        """
        asked = np.ones((len(features), self._count), np.bool_)
        if not self.exhaustive:
            for number, whole in enumerate(
                describe(features)
            ):  # alone, so that no image depends on the others
                distances = self._distances(whole)
                if without is not None:
                    distances[without[number]] = np.inf
                asked[number] = self._near(distances)
        if without is not None:
            asked[np.arange(len(features)), without] = False
        return asked

    def beside(self, place: int) -> Flags:
        """The classes nearest to class `place`, and to it without the nearest of them: bool ``[T]``."""
        asked = np.ones(self._count, np.bool_)
        if not self.exhaustive:
            own = self._rows[self._starts[place] :][: self._sizes[place]]
            distances = np.min([self._distances(each + self._centre) for each in own], axis=0)
            distances[place] = np.inf
            asked = self._near(distances)
            distances[distances.argmin()] = np.inf
            if np.isfinite(distances).any():
                asked |= self._near(distances)
        asked[place] = False
        return asked

    def _distances(self, whole: Floats) -> Floats:
        """To the nearest descriptor of each class, ``[T]``."""
        centred = whole - self._centre
        squared = self._norms - 2 * (self._rows @ centred) + centred @ centred
        nearest: Floats = np.minimum.reduceat(squared, self._starts)
        return np.sqrt(np.maximum(nearest, 0))

    def _near(self, distances: Floats) -> Flags:
        near: Flags = distances <= WITHIN * distances.min()
        if near.sum() > self.most:
            near[np.argsort(distances, kind="stable")[self.most :]] = False
        return near

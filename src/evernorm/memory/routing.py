"""Which memory explains an image best, without searching the memories that cannot win.

PatchCoreCL sends an image to the memory with the lowest score, the largest of its patch distances. The mean
of the patch distances separates related classes better, and both are offered.

A memory that shrinks to a prefix only moves away: no patch distance, and so neither statistic, ever
decreases. A statistic computed at an earlier, larger size is therefore a lower bound now, and a memory
whose bound exceeds the best exact value cannot win.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evernorm.memory.params import Routing
from evernorm.memory.search import NearestRows
from evernorm.types import Flags, Floats, Indices

_SLACK = 1e-5  # relative; sums in another order may differ by this much


@dataclass(frozen=True)
class Routed:
    """Where images were sent, and how far their patches are from that memory.

    Attributes:
        place: int64 ``[n]``, number of the memory.
        distances: float32 ``[n, P]``, patch distances to it.
        nearest: int64 ``[n, P]``, nearest rows in it.
        bounds: float32 ``[n, T]``, the statistic for each memory, exact or a lower bound.
    """

    place: Indices
    distances: Floats
    nearest: Indices
    bounds: Floats


def route(
    features: Floats,
    memories: Sequence[NearestRows],
    statistic: Routing,
    bounds: Floats | None = None,
    asked: Flags | None = None,
) -> Routed:
    """Send each image to the memory with the lowest statistic; the first of equals wins.

    Args:
        features: float32 ``[n, P, d]``.
        memories: T memories.
        statistic: Mean or maximum of the patch distances.
        bounds: float32 ``[n, T]``, lower bounds of the statistic; zeros where nothing is known.
        asked: bool ``[n, T]``, the memories that an image may go to, one at least (`memory.candidates`); all if None.

    Returns:
        Where the images go. The cost is one search of each memory that is asked for and could win, per image.
    """
    count, patches, _ = features.shape
    known = np.zeros((count, len(memories)), np.float32) if bounds is None else bounds.astype(np.float32)
    optimist = known * np.float32(1 - _SLACK)  # what is left to beat; infinite once exact, or not asked for
    if asked is not None:
        optimist[~asked] = np.inf
    best = np.full(count, np.inf, np.float32)
    place = np.zeros(count, np.int64)
    distances = np.empty((count, patches), np.float32)
    nearest = np.empty((count, patches), np.int64)
    while True:
        candidate = optimist.argmin(axis=1)
        # An equal bound is still searched, so that ties go to the first memory whatever the bounds were.
        open_images = np.flatnonzero(optimist[np.arange(count), candidate] <= best)
        open_images = open_images[np.isfinite(optimist[open_images, candidate[open_images]])]
        if not open_images.size:
            return Routed(place, distances, nearest, known)
        for memory in np.unique(candidate[open_images]):
            chosen = open_images[candidate[open_images] == memory]
            found, rows = (
                part.reshape(len(chosen), patches) for part in search(features[chosen], memories[memory])
            )
            value = found.mean(axis=1) if statistic is Routing.MEAN else found.max(axis=1)
            known[chosen, memory] = value
            optimist[chosen, memory] = np.inf
            better = (value < best[chosen]) | ((value == best[chosen]) & (memory < place[chosen]))
            winners = chosen[better]
            best[winners], place[winners] = value[better], memory
            distances[winners], nearest[winners] = found[better], rows[better]


def search(features: Floats, memory: NearestRows) -> tuple[Floats, Indices]:
    """Patch distances and nearest rows of images ``[n, P, d]`` in one memory: two ``[n · P]``."""
    return memory.nearest(features.reshape(-1, features.shape[2]))

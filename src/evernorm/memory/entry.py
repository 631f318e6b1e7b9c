"""From the features of normal images to a memory of them (PatchCore Algorithm 1), and how it scores them."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from evernorm.calibration.evidence import Evidence
from evernorm.memory.budget import prefixes
from evernorm.memory.compact import packed, unpacked
from evernorm.memory.coreset import greedy_k_centre
from evernorm.memory.leave_one_out import leave_one_out
from evernorm.memory.params import MemoryParams, Score
from evernorm.memory.projection import project
from evernorm.types import Arrays, Floats, Indices


class Memory(NamedTuple):
    """What is remembered of images.

    Attributes:
        entry: `compact.packed` rows ``[k, d]``, in the order of selection, and what is kept beside them.
        images: int64 ``[k]``, the number of the image that each row is a patch of.
        evidence: How the images score in the memory of the others, at each size it will be read at.
    """

    entry: Arrays
    images: Indices
    evidence: Evidence


def build_memory(
    features: Floats,
    rows: int,
    params: MemoryParams,
    seed: int,
    *,
    shrinks: bool,
    beside: Mapping[str, Floats] | None = None,
) -> Memory:
    """Select the coreset and score each training image in the memory of the others.

    The memory depends on nothing but these images: a smaller share of a budget is a shorter read.

    Memory: the features, their projection, the rows, and what `leave_one_out` holds.

    Args:
        features: float32 ``[n, P, d]``.
        rows: Rows to keep, at most.
        params: Projection, neighbours, and how values are stored.
        seed: Of the projection.
        shrinks: Whether fewer rows will be read as classes arrive, so that scores are needed for fewer, too.
        beside: By name, what is stored on the same grid.
    """
    patches, dim = features.shape[1:]
    flat = features.reshape(-1, dim)
    chosen = farthest_points(project(flat, params.projection, seed), rows)
    entry = packed({"rows": flat[chosen], **(beside or {})}, params.storage, flat)
    kept = unpacked(entry, "rows")  # scored by what will be read
    sizes = prefixes(rows, len(kept)) if shrinks else [len(kept)]
    images = chosen // patches
    top = params.score is Score.TOP
    evidence = leave_one_out(features, kept, images, sizes, params.neighbours, top=top)
    return Memory(entry, images, evidence)


def farthest_points(rows: Floats, count: int) -> Indices:
    """Greedy k-centre from the row farthest from the mean (Katsavounidis et al., 1994).

    PatchCore draws the first row; this one depends on the rows alone, not on their order or a seed.
    """
    outermost = (np.einsum("nd,nd->n", rows, rows) - 2 * (rows @ rows.mean(axis=0))).argmax()
    return greedy_k_centre(rows, count, start=int(outermost))

"""How a memory would score each of its training images had it been built without that image.

Hiding an image's rows is not enough. A coreset takes no second row near one that it has, so where an image's rows
stood in for what other images show as well, a gap is left that a memory built without it would have filled: rigid
products with few images score up to a quarter too high (docs/results.md, "Calibration"). Greedy k-centre would have
filled it from the farthest patch until none is farther than elsewhere. So is it done here, for each image and size.

The rows are in selection order, so the memory of size j is a prefix. One pass over all rows, with a running minimum
at each size, serves every size that a growing stream will ever use.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from evernorm.calibration.evidence import Evidence
from evernorm.memory.scoring import reweighting, top_scores
from evernorm.types import Flags, Floats, Indices

_AT_ONCE = 4096  # patches whose distances to each other are kept at once: 64 MiB


class Nearest(NamedTuple):
    """What is nearest to each patch of n images in the memory of each of L sizes, ``[L, n, P]`` each.

    Attributes:
        first: Squared distance to the nearest row.
        second: To the nearest row of any other image than that row's; infinite where there is none.
        owner: The image that row was taken from.
    """

    first: Floats
    second: Floats
    owner: npt.NDArray[np.int32]


def leave_one_out(
    features: Floats,
    rows: Floats,
    source: Indices,
    sizes: list[int],
    neighbours: int,
    *,
    top: bool = False,
) -> Evidence:
    """Score each training image in the memory of the other images, of the same size.

    Memory: 12 bytes a patch and size, and one image's distances to all rows, P · k · 4 bytes, besides the inputs.

    Args:
        features: float32 ``[n, P, d]`` of the training images.
        rows: float32 ``[k, d]`` in selection order.
        source: int64 ``[k]``, the image each row was taken from.
        sizes: Prefix sizes, descending, the first at most k.
        neighbours: b of the re-weighting.
        top: Whether the mean of the highest patches is the score (`scoring.top_scores`), and not the re-weighted
            farthest.

    Returns:
        Scores, and moments of each image's patch distances; NaN for the only image of a class.
    """
    norms = _norms(rows)
    nearest = nearest_rows(features, rows, source, sizes)
    own = np.full((len(sizes), len(features)), np.nan, np.float32)
    scores, means, stds, peaks = (np.full_like(own, np.nan) for _ in range(4))
    reach = np.full((*own.shape, neighbours), np.inf, np.float32)
    for level, size in enumerate(sizes):
        first, second, owner = (each[level] for each in nearest)
        radius = float(first.max())
        for image, gap in enumerate(_gaps(owner, second > radius)):
            patches = np.asarray(features[image])
            squared = np.where(owner[image] == image, second[image], first[image])
            fill = patches[:0]
            if len(gap):
                candidates = features[gap // len(patches), gap % len(patches)]
                fill = _farthest(candidates, second.ravel()[gap], radius)
                squared = np.minimum(squared, _squared(fill, patches).min(axis=0))
            if not np.isfinite(squared).all():
                continue
            distances = np.sqrt(np.maximum(squared, 0))
            if top:
                scores[level, image] = top_scores(distances[None])[0]
            else:
                hidden = np.where(source[:size] == image, np.float32(np.inf), norms[:size])
                memory = ((rows[:size], hidden), (fill, _norms(fill)))
                farthest = patches[distances.argmax()]
                row = _around(farthest, memory, 1)
                around = np.linalg.norm(_around(row[0], memory, neighbours) - farthest, axis=1)
                own[level, image] = np.linalg.norm(row[0] - farthest)
                reach[level, image, : len(around)] = around
            means[level, image] = distances.mean(dtype=np.float64)
            stds[level, image] = distances.std(dtype=np.float64)
            peaks[level, image] = distances.max()
    if not top:
        scored = np.isfinite(own)
        scores[scored] = own[scored] * reweighting(own[scored], reach[scored])
    return Evidence(scores, np.array(sizes, np.int64), means, stds, peaks)


def nearest_rows(features: Floats, rows: Floats, source: Indices, sizes: Sequence[int]) -> Nearest:
    """What is nearest to each patch at each size (`leave_one_out`)."""
    count, patches, _ = features.shape
    shape = (len(sizes), count, patches)
    found = Nearest(np.empty(shape, np.float32), np.empty(shape, np.float32), np.empty(shape, np.int32))
    starts = np.array([*sizes[1:], 0])  # each size adds rows to those of the next smaller one: a segment
    segments = np.searchsorted(-np.array(sizes), -np.arange(sizes[0]), side="left") - 1
    # The rows of each image in each segment, together.
    key = segments * count + source[: sizes[0]]
    order = np.argsort(key, kind="stable")
    bounds = np.searchsorted(key[order], np.arange(len(sizes) * count + 1))
    transposed, norms = np.ascontiguousarray(-2 * rows[: sizes[0]].T), _norms(rows[: sizes[0]])
    lines = np.arange(patches)
    squared = np.empty((patches, sizes[0]), np.float32)
    for image in range(count):
        queries = np.ascontiguousarray(features[image])
        np.matmul(queries, transposed, out=squared)
        squared += norms
        columns = np.stack(
            [start + squared[:, start:end].argmin(axis=1) for start, end in zip(starts, sizes, strict=True)]
        )
        values, owners = squared[lines, columns], source[columns]
        group = np.arange(len(sizes))[:, None] * count + owners
        lengths = bounds[group + 1] - bounds[group]
        line = np.repeat(np.broadcast_to(lines, group.shape).ravel(), lengths.ravel())
        offset = np.arange(len(line)) - np.repeat(np.cumsum(lengths) - lengths.ravel(), lengths.ravel())
        squared[line, order[np.repeat(bounds[group].ravel(), lengths.ravel()) + offset]] = np.inf
        others = np.minimum.reduceat(squared, starts[::-1], axis=1).T[::-1]
        _merge(found, image, values, others, owners, _norms(queries))
    return found


def _merge(
    found: Nearest, image: int, values: Floats, others: Floats, owners: Indices, norms: Floats
) -> None:
    """From what is nearest in each segment to what is nearest in all rows up to its end, for one image.

    Args:
        found: Where it is noted.
        image: Number of the image.
        values: ``[L, P]``, without the squared norm of the patch.
        others: The same of rows of other images than the nearest row's.
        owners: The image of the nearest row.
        norms: ``[P]``, squared norms of the patches.
    """
    least, runner_up = (np.full(values.shape[1], np.inf, np.float32) for _ in range(2))
    whose = np.full(values.shape[1], -1, np.int64)
    for level in reversed(range(len(values))):
        value, new = values[level], owners[level]
        # Of two first places the farther one is a second place, unless both rows come from one image.
        beaten = np.where(new == whose, np.float32(np.inf), np.maximum(least, value))
        runner_up = np.minimum(np.minimum(runner_up, others[level]), beaten)
        closer = value < least
        least, whose = np.where(closer, value, least), np.where(closer, new, whose)
        found.first[level, image], found.second[level, image] = least + norms, runner_up + norms
        found.owner[level, image] = whose


def _gaps(owner: npt.NDArray[np.int32], alone: Flags) -> list[Indices]:
    """For each image, the patches of other images (numbered through) that its rows alone were near to.

    Args:
        owner: ``[n, P]``, the image whose row is nearest to each patch.
        alone: ``[n, P]``, whether no other image has a row near enough.
    """
    images = len(owner)
    left = np.flatnonzero(alone & (owner != np.arange(images)[:, None]))
    whose = owner.ravel()[left]
    order = np.argsort(whose, kind="stable")
    return np.split(left[order], np.searchsorted(whose[order], np.arange(1, images)))


def _farthest(candidates: Floats, squared: Floats, radius: float) -> Floats:
    """Greedy k-centre: candidates ``[c, d]``, each the farthest from memory and picks, until none is beyond a radius.

    Args:
        candidates: Patches.
        squared: Their squared distances to the memory, ``[c]``.
        radius: Squared.
    """
    # All at once is faster, in a few megabytes; of many, one column a pick.
    whole = _squared(candidates, candidates) if len(candidates) <= _AT_ONCE else None
    picks: list[int] = []
    while squared[pick := int(squared.argmax())] > radius:
        picks.append(pick)
        column = whole[pick] if whole is not None else _squared(candidates[pick : pick + 1], candidates)[0]
        squared = np.minimum(squared, column)
        squared[pick] = -np.inf  # to itself it is 0, but for rounding
    return candidates[picks]


def _around(point: Floats, memory: Sequence[tuple[Floats, Floats]], count: int) -> Floats:
    """The rows nearest to a point ``[d]``, nearest first: ``[at most count, d]``.

    Args:
        point: The point.
        memory: Rows ``[k, d]`` and their squared norms, infinite for those that are hidden; one part or more.
        count: How many.
    """
    squared = np.concatenate([norms - 2 * (rows @ point) for rows, norms in memory])
    count = min(count, len(squared))
    nearest = np.argpartition(squared, count - 1)[:count]
    nearest = nearest[np.argsort(squared[nearest], kind="stable")]
    size = len(memory[0][0])
    kept = [int(i) for i in nearest if np.isfinite(squared[i])]
    return np.stack([memory[0][0][i] if i < size else memory[1][0][i - size] for i in kept])


def _norms(rows: Floats) -> Floats:
    """Squared, ``[k]``."""
    norms: Floats = np.einsum("kd,kd->k", rows, rows)
    return norms


def _squared(one: Floats, other: Floats) -> Floats:
    """Squared distances ``[a, b]`` of rows ``[a, d]`` and ``[b, d]``."""
    squared: Floats = one @ (-2 * other).T
    squared += _norms(one)[:, None]
    squared += _norms(other)
    return squared

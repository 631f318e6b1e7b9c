"""How a memory would score each of its training images had it been built without that image.

Hiding an image's rows is not enough. A coreset takes no second row near one that it has, so where an image's rows
stood in for what other images show as well, a gap is left that a memory built without it would have filled: rigid
products with few images score up to a quarter too high (docs/results.md, "Calibration"). Greedy k-centre would have
filled it from the farthest patch until none is farther than elsewhere. So is it done here, for each image and size.

The rows are in selection order, so the memory of size j is a prefix. One pass over all rows, with a running minimum
at each size, serves every size that a growing stream will ever use.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from evernorm.calibration.evidence import Evidence
from evernorm.memory.scoring import reweighting, top_scores
from evernorm.types import Flags, Floats, Indices

if TYPE_CHECKING:
    import torch

_AT_ONCE = 4096  # patches whose distances to each other are kept at once: 64 MiB


def leave_one_out(
    features: Floats,
    rows: Floats,
    source: npt.NDArray[np.int64],
    sizes: list[int],
    neighbours: int,
    device: "torch.device",
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
        device: Where the distances are computed.
        top: Whether the mean of the highest patches is the score (`scoring.top_scores`), and not the re-weighted
            farthest.

    Returns:
        Scores, and moments of each image's patch distances; NaN for the only image of a class.
    """
    import torch

    bank = torch.from_numpy(rows).to(device)
    norms = (bank * bank).sum(1)
    owners = torch.from_numpy(source).to(device)
    nearest = [each.cpu().numpy() for each in _nearest(features, bank, owners, sizes)]
    own = np.full((len(sizes), len(features)), np.nan, np.float32)
    scores, means, stds, peaks = (np.full_like(own, np.nan) for _ in range(4))
    reach = np.full((*own.shape, neighbours), np.inf, np.float32)
    for level, size in enumerate(sizes):
        first, second, owner = (each[level] for each in nearest)
        radius = float(first.max())
        gaps = _gaps(owner, second > radius)
        for image, gap in enumerate(gaps):
            patches = torch.from_numpy(np.array(features[image])).to(device)
            squared = torch.from_numpy(np.where(owner[image] == image, second[image], first[image])).to(
                device
            )
            fill = patches[:0]
            if len(gap):
                candidates = torch.from_numpy(features[gap // len(patches), gap % len(patches)]).to(device)
                fill = _farthest(candidates, second.ravel()[gap], radius)
                squared = torch.minimum(squared, torch.cdist(patches, fill).square_().min(1).values)
            if not torch.isfinite(squared).all():
                continue
            distances = squared.clamp_(min=0).sqrt_()
            patch_scores = distances.cpu().numpy()
            if top:
                scores[level, image] = top_scores(patch_scores[None])[0]
            else:
                hidden = norms[:size].masked_fill(owners[:size] == image, torch.inf)
                memory = [(bank[:size], hidden), (fill, (fill * fill).sum(1))]
                farthest = patches[distances.argmax()]
                row = _around(farthest, memory, 1)
                around = torch.linalg.vector_norm(_around(row[0], memory, neighbours) - farthest, dim=1)
                own[level, image] = torch.linalg.vector_norm(row[0] - farthest)
                reach[level, image, : len(around)] = around.cpu().numpy()
            means[level, image] = patch_scores.mean(dtype=np.float64)
            stds[level, image] = patch_scores.std(dtype=np.float64)
            peaks[level, image] = patch_scores.max()
    if not top:
        scored = np.isfinite(own)
        scores[scored] = own[scored] * reweighting(own[scored], reach[scored])
    return Evidence(scores, np.array(sizes, np.int64), means, stds, peaks)


def _nearest(
    features: Floats, bank: "torch.Tensor", owners: "torch.Tensor", sizes: list[int]
) -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor]":
    """What is nearest to each patch at each size, ``[L, n, P]`` each.

    Returns:
        Squared distance to the nearest row, that to the nearest row of any other image than this row's, and the
        image this row was taken from.
    """
    import torch

    shape = (len(sizes), *features.shape[:2])
    first, second = (torch.empty(shape, device=bank.device) for _ in range(2))
    owner = torch.empty(shape, dtype=torch.int32, device=bank.device)
    norms = (bank * bank).sum(1)
    for image in range(len(features)):
        patches = torch.from_numpy(np.array(features[image])).to(bank.device)
        squared = torch.addmm(norms, patches, bank.T, alpha=-2) + (patches * patches).sum(1, keepdim=True)
        least, runner_up = (torch.full((len(patches),), torch.inf, device=bank.device) for _ in range(2))
        whose = torch.full((len(patches),), -1, dtype=torch.int64, device=bank.device)
        start = 0
        for level, end in reversed(list(enumerate(sizes))):  # each size adds rows to those of a smaller one
            part, of = squared[:, start:end], owners[start:end]
            value, column = part.min(1)
            new = of[column]
            other = part.masked_fill_(of == new[:, None], torch.inf).min(1).values
            # Of two first places the farther one is a second place, unless both rows come from one image.
            beaten = torch.maximum(least, value).masked_fill_(new == whose, torch.inf)
            runner_up = torch.minimum(torch.minimum(runner_up, other), beaten)
            closer = value < least
            least, whose = torch.where(closer, value, least), torch.where(closer, new, whose)
            first[level, image], second[level, image], owner[level, image] = least, runner_up, whose
            start = end
    return first, second, owner


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


def _farthest(candidates: "torch.Tensor", squared: Floats, radius: float) -> "torch.Tensor":
    """Greedy k-centre: candidates ``[c, d]``, each the farthest from memory and picks, until none is beyond a radius.

    Args:
        candidates: Patches.
        squared: Their squared distances to the memory, ``[c]``.
        radius: Squared.
    """
    import torch

    # All at once is faster, in a few megabytes; of many, one column a pick.
    whole = torch.cdist(candidates, candidates) if len(candidates) <= _AT_ONCE else None
    picks: list[int] = []
    while squared[pick := int(squared.argmax())] > radius:
        picks.append(pick)
        column = (
            whole[pick] if whole is not None else torch.cdist(candidates, candidates[pick : pick + 1])[:, 0]
        )
        squared = np.minimum(squared, column.square().cpu().numpy())
        squared[pick] = -np.inf  # to itself it is 0, but for rounding
    return candidates[picks]


def _around(
    point: "torch.Tensor", memory: "list[tuple[torch.Tensor, torch.Tensor]]", count: int
) -> "torch.Tensor":
    """The rows nearest to a point ``[d]``, nearest first: ``[at most count, d]``.

    Args:
        point: The point.
        memory: Rows ``[k, d]`` and their squared norms, infinite for those that are hidden; one part or more.
        count: How many.
    """
    import torch

    squared = torch.cat([torch.addmv(norms, rows, point, alpha=-2) for rows, norms in memory])
    found, index = squared.topk(min(count, len(squared)), largest=False)
    size = len(memory[0][0])
    return torch.stack(
        [
            memory[0][0][i] if i < size else memory[1][0][i - size]
            for i in index[torch.isfinite(found)].tolist()
        ]
    )

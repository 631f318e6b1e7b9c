"""How the memory scores its own training images, each without its own rows, at every size it will be read at.

The rows are in selection order, so the memory of size j is a prefix. One pass over all rows, with a
running minimum at each size, gives the scores for every size that a growing stream will ever use.
"""

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from evernorm.calibration.evidence import Evidence
from evernorm.memory.scoring import reweighting
from evernorm.types import Floats, Progress

if TYPE_CHECKING:
    import torch


def leave_one_out(
    features: Floats,
    rows: Floats,
    source: npt.NDArray[np.int64],
    sizes: list[int],
    neighbours: int,
    device: "torch.device",
    progress: Progress | None = None,
) -> Evidence:
    """Score each training image against the rows that come from the other images.

    Memory: one image's distances to all rows, P · k · 4 bytes, besides the inputs.

    Args:
        features: float32 ``[n, P, d]`` of the training images.
        rows: float32 ``[k, d]`` in selection order.
        source: int64 ``[k]``, the image each row was taken from.
        sizes: Prefix sizes, descending, the first at most k.
        neighbours: b of the re-weighting.
        device: Where the distances are computed.
        progress: Called with (done, total).
    """
    import torch

    bank = torch.from_numpy(rows).to(device)
    norms = (bank * bank).sum(1)
    origin = torch.from_numpy(source).to(device)
    ends = torch.tensor(sizes[::-1], device=device)
    count = len(features)
    scores = np.full((len(sizes), count), np.nan, np.float32)
    moments = np.zeros((3, len(sizes)))
    for image in range(count):
        patches = torch.from_numpy(np.array(features[image])).to(device)
        squared = torch.addmm(norms, patches, bank.T, alpha=-2) + (patches * patches).sum(1, keepdim=True)
        own = origin == image
        squared[:, own] = torch.inf
        least, index = _running_minimum(squared, sizes[::-1])
        distances = least.clamp_(min=0).sqrt_()
        usable = torch.isfinite(distances[0])
        scores[::-1, image] = _scores(patches, bank, distances, index, own, ends, neighbours)
        kept = distances[:, usable].double()
        moments[:, usable.flip(0).cpu().numpy()] += (
            torch.stack([torch.full_like(kept[0], len(kept)), kept.sum(0), (kept * kept).sum(0)])
            .flip(1)
            .cpu()
            .numpy()
        )
        if progress:
            progress(image + 1, count)
    number = np.maximum(moments[0], 1)
    mean = moments[1] / number
    std = np.sqrt(np.maximum(moments[2] / number - mean**2, 0))
    return Evidence(scores, np.array(sizes, np.int64), mean.astype(np.float32), std.astype(np.float32))


def _running_minimum(squared: "torch.Tensor", ends: list[int]) -> "tuple[torch.Tensor, torch.Tensor]":
    """Minimum and its column over the first `end` columns, for each end, ascending: two ``[P, L]``."""
    import torch

    least: list[torch.Tensor] = []
    index: list[torch.Tensor] = []
    start = 0
    for end in ends:
        value, column = squared[:, start:end].min(dim=1)
        column = column + start
        if least:
            better = value < least[-1]
            value = torch.where(better, value, least[-1])
            column = torch.where(better, column, index[-1])
        least.append(value)
        index.append(column)
        start = end
    return torch.stack(least, 1), torch.stack(index, 1)


def _scores(
    patches: "torch.Tensor",
    bank: "torch.Tensor",
    distances: "torch.Tensor",
    index: "torch.Tensor",
    own: "torch.Tensor",
    ends: "torch.Tensor",
    neighbours: int,
) -> Floats:
    """Re-weighted image score at each size (`scoring.image_scores`, without the image's own rows): ``[L]``."""
    import torch

    steps = torch.arange(len(ends), device=bank.device)
    farthest = distances.argmax(0)
    patch, row = patches[farthest], index[farthest, steps]
    between = torch.cdist(bank[row], bank)
    hidden = own[None, :] | (torch.arange(len(bank), device=bank.device)[None, :] >= ends[:, None])
    between[hidden] = torch.inf
    spread, around = between.topk(min(neighbours, len(bank)), dim=1, largest=False)
    reach = torch.linalg.vector_norm(patch[:, None] - bank[around], dim=2)
    reach[torch.isinf(spread)] = torch.inf
    nearest = torch.linalg.vector_norm(patch - bank[row], dim=1)
    nearest[torch.isinf(distances[farthest, steps])] = torch.nan
    result = nearest.cpu().numpy()
    weighted: Floats = result * reweighting(result, reach.cpu().numpy())
    return weighted

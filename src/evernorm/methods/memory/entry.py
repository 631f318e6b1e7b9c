"""From the features of normal images to what a class leaves in the bank (PatchCoreCL Algorithm 1, UCAD Eq. 2)."""

from typing import TYPE_CHECKING

import numpy as np

from evernorm.memory.bank import Entry, prefixes
from evernorm.memory.coreset import greedy_k_centre
from evernorm.memory.leave_one_out import TrainingScores, leave_one_out
from evernorm.memory.projection import project
from evernorm.methods.memory.remembered import Settings
from evernorm.types import Floats, Indices

if TYPE_CHECKING:
    import torch


def build_entry(
    features: Floats, name: str, rows: int, settings: Settings, device: "torch.device", *, shrinks: bool
) -> tuple[Entry, TrainingScores]:
    """Select the coreset and score each training image against the rows of the others.

    The entry depends on nothing but its own class: a smaller share of a budget is a shorter read.

    Memory: the features, their projection, the rows.

    Args:
        features: float32 ``[n, P, d]``.
        name: The entry's name.
        rows: Rows to keep, at most.
        settings: Projection, neighbours, seed.
        device: Where distances are computed.
        shrinks: Whether fewer rows will be read as classes arrive, so that scores are needed for fewer, too.
    """
    patches, dim = features.shape[1:]
    flat = features.reshape(-1, dim)
    projected = project(flat, settings.knowledge.projection, settings.seed)
    chosen = farthest_points(projected, rows)
    kept = np.ascontiguousarray(flat[chosen])
    sizes = prefixes(rows, len(kept)) if shrinks else [len(kept)]
    neighbours = settings.knowledge.neighbours
    training = leave_one_out(features, kept, chosen // patches, sizes, neighbours, device)
    return Entry(name, kept), training


def farthest_points(rows: Floats, count: int) -> Indices:
    """Greedy k-centre from the row farthest from the mean (Katsavounidis et al., 1994).

    PatchCore draws the first row; this one depends on the rows alone, not on their order or a seed.
    """
    outermost = (np.einsum("nd,nd->n", rows, rows) - 2 * (rows @ rows.mean(axis=0))).argmax()
    return greedy_k_centre(rows, count, start=int(outermost))

"""Distances of cosine between the levels of an encoder and what a decoder makes of them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def whole(target: "Tensor", made: "Tensor") -> "Tensor":
    """1 − cos of whole levels ``[n, C, H, W]``, each image's flattened to one vector; the mean over the images."""
    from torch.nn.functional import cosine_similarity

    return (1 - cosine_similarity(target.flatten(1), made.flatten(1))).mean()


def by_place(target: "Tensor", made: "Tensor") -> "Tensor":
    """1 − cos of each place of levels ``[n, C, H, W]``: ``[n, H, W]``."""
    from torch.nn.functional import cosine_similarity

    return 1 - cosine_similarity(target, made, dim=1)


def hard(target: "Tensor", made: "Tensor", deviations: float) -> "Tensor":
    """`whole`, with a gradient at places alone that are reconstructed badly (ReContrast, hard mining).

    Args:
        target: A level ``[n, C, H, W]``; gets no gradient.
        made: What the decoder makes of it.
        deviations: Of the batch's distances above their mean, from where a place counts as bad.
    """
    import torch

    target = target.detach()
    far = by_place(target, made.detach())
    easy = far < far.mean() + deviations * far.std()
    return whole(target, torch.where(easy[:, None], made.detach(), made))


def summed(maps: "Sequence[Tensor]") -> "Tensor":
    """The sum of maps ``[n, H, W]``, each brought to the size of the first, bilinearly, as ``[n, P]``."""
    from torch.nn.functional import interpolate

    shape = maps[0].shape[1:]
    total = sum(
        (interpolate(each[:, None], shape, mode="bilinear", align_corners=False)[:, 0] for each in maps[1:]),
        maps[0],
    )
    return total.flatten(1)

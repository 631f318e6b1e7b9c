"""The terms of DiffCont's loss, one function an equation (section 4.8).

Embeddings are whitened (section 4.5). Where a class is asked for, rows are in the order of arrival.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def denoising(target: "Tensor", predicted: "Tensor") -> "Tensor":
    """Eq. 1: mean squared error between what is to be said (`diffusion.target`) and what is, ``[n, C, H, W]`` each."""
    return (target - predicted).square().mean()


def classifier(logits: "Tensor", labels: "Tensor") -> "Tensor":
    """Eq. 2: cross-entropy of the head, ``[n, T]`` against int64 ``[n]``; the mean over the images."""
    from torch.nn.functional import cross_entropy

    return cross_entropy(logits, labels)


def distil_noise(teacher: "Tensor", student: "Tensor") -> "Tensor":
    """Eq. 3: mean squared error between what two networks say of the same noisy images, ``[n, C, H, W]`` each."""
    return (student - teacher).square().mean()


def align(teacher: "Tensor", student: "Tensor") -> "Tensor":
    """Eq. 4: squared distance between two embeddings of the same image, ``[n, d]`` each; the mean over images and d."""
    return (student - teacher).square().mean()


def center(embeddings: "Tensor", labels: "Tensor") -> "Tensor":
    """Eq. 5: squared distance of embeddings ``[n, d]`` to the mean of their class in the batch.

    The mean over images and d: its size does not depend on that of the network. An image alone of its class has
    nothing to be near to.
    """
    import torch

    total = embeddings.new_zeros(())
    for label in torch.unique(labels):
        of = embeddings[labels == label]
        total = total + (of - of.mean(dim=0)).square().mean(dim=1).sum()
    return total / len(embeddings)


def distil_classifier(teacher: "Tensor", student: "Tensor") -> "Tensor":
    """Eq. 6: KL(teacher ‖ student) over the classes that the teacher knows, logits ``[n, k]`` and ``[n, T]``, k ≤ T."""
    from torch.nn.functional import kl_div, log_softmax

    known = log_softmax(student[:, : teacher.shape[1]], dim=1)
    return kl_div(known, log_softmax(teacher, dim=1), reduction="batchmean", log_target=True)


def total(terms: "Mapping[str, Tensor]", weights: Mapping[str, float]) -> "Tensor":
    """Eq. 7: the weighted sum; a term without a weight counts once."""
    first, *others = (weights.get(name, 1.0) * term for name, term in terms.items())
    return sum(others, first)

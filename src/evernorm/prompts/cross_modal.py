"""MTRMB's losses beside the structure-based one: the match of queries and keys (Eq. 2), patches against words (Eq. 7)."""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor


def query_match(queries: "Tensor", keys: "Tensor") -> "Tensor":
    """1 − γ(q(x), K), the mean over images, K being the key that matches best (Eq. 2).

    Printed as a minimum of cosines; the cosine is a similarity and is maximised (NOTES).

    Args:
        queries: float ``[n, d]``.
        keys: float ``[k, d]``.
    """
    from torch.nn.functional import normalize

    cosines = normalize(queries, dim=1) @ normalize(keys, dim=1).T
    return 1 - cosines.max(dim=1).values.mean()


def cross_modal_loss(queries: "Tensor", contexts: "Tensor", labels: "Tensor", temperature: float) -> "Tensor":
    """Every patch finds its part by the words: −log of the share that its own part has in Eq. 7's softmax.

    Eq. 7 as printed is a softmax over the M patches of an image whose text feature T is the same for all of them:
    it is lowest where all patches are equally near the text, whatever the text says. But it writes T with the index
    of the patch. So T_k is here the text as patch k reads it (Eq. 3), and what a patch has to find among all T_k are
    those of its own part: of patches alike none could be found alone. With one part in an image there is nothing to
    find, and the loss is 0.

    Args:
        queries: f, float ``[n, M, w]``.
        contexts: T, float ``[n, M, w]``.
        labels: int ``[n, M]``, the part that each patch belongs to.
        temperature: τ.
    """
    from torch.nn.functional import normalize

    scaled = normalize(queries, dim=2) @ normalize(contexts, dim=2).transpose(1, 2) / temperature
    same = labels[:, :, None] == labels[:, None, :]
    own = scaled.masked_fill(~same, -np.inf).logsumexp(dim=2)
    loss: Tensor = (scaled.logsumexp(dim=2) - own).mean()
    return loss

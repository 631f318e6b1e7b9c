"""Cross-modal attention between the patches of an image and the words on its class (MTRMB Eq. 3 and 4).

The paper writes both attentions down and leaves open how they are put together. Here the words are refined by the
image first (Eq. 4), then the image reads the refined words (Eq. 3), each added to what it refines: both take part in
what is remembered. The projections back are zero at first, so that a fusion that learned nothing changes nothing.
See docs/decisions/mtrmb-readings.md.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from evernorm.text.encoder import MOST_TOKENS, Tokens
from evernorm.types import Arrays, Floats

if TYPE_CHECKING:
    from torch import Tensor

_PREFIX = "fusion."
_OF_IMAGE, _OF_TEXT = ("image_query", "image_key", "image_value"), ("text_query", "text_key", "text_value")
_BACK = {"image_back", "text_back"}


class Text(NamedTuple):
    """The words of the classes of n images, or of one class for all of them, padded to the same length.

    Attributes:
        features: float ``[n or 1, L, D]``.
        there: bool ``[n or 1, 1, L]``, false where it is padding.
    """

    features: "Tensor"
    there: "Tensor"


class Fused(NamedTuple):
    """What a fusion makes of n images.

    Attributes:
        patches: float ``[n, P, d]``, with what the words add.
        queries: float ``[n, P, w]``, the patches in the common space.
        contexts: float ``[n, P, w]``, the words as each patch reads them.
    """

    patches: "Tensor"
    queries: "Tensor"
    contexts: "Tensor"


def first_fusion(dim: int, text_dim: int, width: int, seed: int) -> dict[str, Floats]:
    """Weights to begin with, by name: projections of unit gain, drawn; those back are zero.

    Args:
        dim: d, columns of a patch.
        text_dim: D, columns of a word.
        width: w, of the common space; 0: no fusion, and no weights.
        seed: Of the drawing.
    """
    if not width:
        return {}
    shapes = {
        **dict.fromkeys(_OF_IMAGE, (dim, width)),
        **dict.fromkeys(_OF_TEXT, (text_dim, width)),
        "image_back": (width, dim),
        "text_back": (width, text_dim),
    }
    rng = np.random.default_rng([seed, 1])
    drawn = {name: rng.normal(0, shape[0] ** -0.5, shape) for name, shape in sorted(shapes.items())}
    return {
        f"{_PREFIX}{name}": np.zeros_like(value, np.float32) if name in _BACK else value.astype(np.float32)
        for name, value in drawn.items()
    }


def fusion_of(arrays: Arrays) -> dict[str, Floats]:
    """Those arrays that are weights of a fusion; none where there was none."""
    return {name: np.asarray(arrays[name]) for name in sorted(arrays) if name.startswith(_PREFIX)}


def patch_dim(weights: Mapping[str, Floats]) -> int:
    """Columns of the patches that a fusion takes, by its weights."""
    columns: int = weights[f"{_PREFIX}image_back"].shape[1]
    return columns


def fuse(patches: "Tensor", text: Text, weights: "Mapping[str, Tensor]") -> Fused:
    """Fuse patches with words.

    Both are brought to zero mean and unit variance before they are projected, as the sizes of features differ from
    backbone to backbone.

    Args:
        patches: float ``[n, P, d]``.
        text: The words.
        weights: By the names of `first_fusion`, each ``[in, out]``, or ``[n, in, out]`` for a fusion an image.
    """
    from torch.nn.functional import layer_norm

    def of(name: str) -> "Tensor":
        return weights[f"{_PREFIX}{name}"]

    image = layer_norm(patches, patches.shape[-1:])
    words = layer_norm(text.features, text.features.shape[-1:])
    # Eq. 4: the words are queries, the patches are keys and values.
    read = attend(words @ of("text_query"), image @ of("image_key"), image @ of("image_value"))
    words = words + read @ of("text_back")
    # Eq. 3: the patches are queries, the words are keys and values.
    queries = image @ of("image_query")
    contexts = attend(queries, words @ of("text_key"), words @ of("text_value"), text.there)
    return Fused(patches + contexts @ of("image_back"), queries, contexts)


def attend(query: "Tensor", key: "Tensor", value: "Tensor", there: "Tensor | None" = None) -> "Tensor":
    """softmax(Q Kᵀ / √w) V, over the keys that are there.

    Args:
        query: float ``[n or 1, Q, w]``.
        key: float ``[n or 1, K, w]``.
        value: float ``[n or 1, K, w]``.
        there: bool ``[n or 1, 1, K]``; None: all are.
    """
    scores = query @ key.transpose(-1, -2) / key.shape[-1] ** 0.5
    if there is not None:
        scores = scores.masked_fill(~there, -np.inf)
    attended: Tensor = scores.softmax(dim=-1) @ value
    return attended


def stacked(tokens: Sequence[Tokens]) -> tuple[Floats, "np.ndarray[tuple[int, ...], np.dtype[np.bool_]]"]:
    """The words of several classes, padded alike: float32 ``[n, L, D]`` and bool ``[n, 1, L]``."""
    features = np.zeros((len(tokens), MOST_TOKENS, tokens[0].features.shape[1]), np.float32)
    there = np.zeros((len(tokens), 1, MOST_TOKENS), np.bool_)
    for number, each in enumerate(tokens):
        features[number, : len(each.features)] = each.features
        there[number, 0, : len(each.features)] = True
    return features, there

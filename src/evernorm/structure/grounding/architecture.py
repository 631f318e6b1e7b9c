"""The architecture of a Grounding DINO checkpoint, read from its tensors."""

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

_PATCHES = "backbone.0.patch_embed.proj.weight"
_WINDOWS = "backbone.0.layers.0.blocks.0.attn.relative_position_bias_table"
_HIDDEN = "transformer.encoder.layers.0.linear1.weight"
_QUERIES = "transformer.tgt_embed.weight"

_BACKBONES = {
    (96, 7): "swin_T_224_1k",
    (128, 7): "swin_B_224_22k",
    (128, 12): "swin_B_384_22k",
    (192, 7): "swin_L_224_22k",
    (192, 12): "swin_L_384_22k",
}
"""groundingdino's names by width and side of a window."""


def architecture_of(state: "Mapping[str, Tensor]") -> dict[str, Any]:
    """What the tensors tell of the configuration with which groundingdino builds their model.

    Raises:
        ValueError: They are of no Grounding DINO that the package can build; says what was found.
    """
    if lacking := [name for name in (_PATCHES, _WINDOWS, _HIDDEN, _QUERIES) if name not in state]:
        raise ValueError(f"no {lacking[0]}")
    width, window = state[_PATCHES].shape[0], (math.isqrt(state[_WINDOWS].shape[0]) + 1) // 2
    if (width, window) not in _BACKBONES:
        known = ", ".join(f"{width} and {window}" for width, window in _BACKBONES)
        raise ValueError(
            f"a Swin transformer of width {width} and windows of {window}; expected one of {known}"
        )
    return {
        "backbone": _BACKBONES[width, window],
        "return_interm_indices": sorted(_numbers(state, r"backbone\.0\.norm(\d+)\.weight")),
        "num_feature_levels": len(_numbers(state, r"input_proj\.(\d+)\.0\.weight")),
        "enc_layers": len(_numbers(state, r"transformer\.encoder\.layers\.(\d+)\..*")),
        "dec_layers": len(_numbers(state, r"transformer\.decoder\.layers\.(\d+)\..*")),
        "dim_feedforward": state[_HIDDEN].shape[0],
        "num_queries": state[_QUERIES].shape[0],
    }


def _numbers(state: "Mapping[str, Tensor]", pattern: str) -> set[int]:
    return {int(match[1]) for name in state if (match := re.fullmatch(pattern, name))}

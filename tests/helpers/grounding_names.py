"""groundingdino's names of Grounding DINO's tensors as those of transformers."""

import re

from torch import Tensor

_NAMES = {
    r"bert\.": "model.text_backbone.",
    r"feat_map\.": "model.text_projection.",
    r"input_proj\.": "model.input_proj_vision.",
    r"bbox_embed\.": "bbox_embed.",
    # the backbone
    r"backbone\.0\.patch_embed\.proj\.": "SWIN.swin.embeddings.patch_embeddings.projection.",
    r"backbone\.0\.patch_embed\.norm\.": "SWIN.swin.embeddings.norm.",
    r"backbone\.0\.layers\.(\d+)\.downsample\.": r"SWIN.swin.encoder.layers.\1.downsample.",
    r"backbone\.0\.layers\.(\d+\.blocks\.\d+)\.": r"SWIN.swin.encoder.layers.\1.",
    r"backbone\.0\.norm1\.": "SWIN.hidden_states_norms.stage2.",
    r"backbone\.0\.norm2\.": "SWIN.hidden_states_norms.stage3.",
    r"backbone\.0\.norm3\.": "SWIN.hidden_states_norms.stage4.",
    # the encoder
    r"transformer\.encoder\.fusion_layers\.(\d+)\.": r"model.encoder.layers.\1.fusion_layer.",
    r"transformer\.encoder\.text_layers\.(\d+)\.": r"model.encoder.layers.\1.text_enhancer_layer.",
    r"transformer\.encoder\.layers\.(\d+)\.": r"model.encoder.layers.\1.deformable_layer.",
    # the decoder
    r"transformer\.decoder\.norm\.": "model.decoder.layer_norm.",
    r"transformer\.decoder\.ref_point_head\.": "model.decoder.reference_points_head.",
    r"transformer\.decoder\.": "model.decoder.",
    # what is between them
    r"transformer\.tgt_embed\.": "model.query_position_embeddings.",
    r"transformer\.enc_out_bbox_embed\.": "model.encoder_output_bbox_embed.",
    r"transformer\.": "model.",
}
"""How names begin; the first that fits."""

_PARTS = {
    "SWIN": {
        r"^SWIN": "model.backbone.conv_encoder.model",
        r"\.norm1\.": ".layernorm_before.",
        r"\.norm2\.": ".layernorm_after.",
        r"\.attn\.relative": ".attention.relative_position_bias.relative",
        r"\.attn\.qkv\.": ".attention.{q_proj,k_proj,v_proj}.",
        r"\.attn\.proj\.": ".attention.o_proj.",
    },
    "fusion_layer": {
        r"gamma_v": "vision_param",
        r"gamma_l": "text_param",
        r"([._])v([._])": r"\1vision\2",
        r"([._])l([._])": r"\1text\2",
    },
    "text_enhancer_layer": {
        r"\.norm1\.": ".layer_norm_before.",
        r"\.norm2\.": ".layer_norm_after.",
        r"\.linear": ".fc",
        r"in_proj_": "{query,key,value}.",
    },
    "deformable_layer": {
        r"\.norm1\.": ".self_attn_layer_norm.",
        r"\.norm2\.": ".final_layer_norm.",
        r"\.linear": ".fc",
    },
    "model.decoder.layers": {
        r"\.norm1\.": ".encoder_attn_layer_norm.",
        r"\.norm2\.": ".self_attn_layer_norm.",
        r"\.norm3\.": ".final_layer_norm.",
        r"\.catext_norm\.": ".encoder_attn_text_layer_norm.",
        r"\.cross_attn\.": ".encoder_attn.",
        r"\.ca_text\.": ".encoder_attn_text.",
        r"\.linear": ".fc",
        r"in_proj_": "{query,key,value}.",
    },
}
"""What else is called otherwise, by what a name then holds; one tensor that becomes three has them in braces."""


def hub_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Every tensor of groundingdino's model under the name that transformers has for it."""
    converted = {}
    for name, tensor in state.items():
        if name.endswith("relative_position_index") or name.startswith("bert.pooler."):
            continue  # transformers has none
        target = next(re.sub(f"^{old}", new, name) for old, new in _NAMES.items() if re.match(old, name))
        for part, names in _PARTS.items():
            if part in target:
                for old, new in names.items():
                    target = re.sub(old, new, target)
        if found := re.search(r"\{(.*)\}", target):
            thirds = zip(found[1].split(","), tensor.chunk(3), strict=True)
            converted |= {target.replace(found[0], word): third.clone() for word, third in thirds}
        else:
            converted[target] = tensor
    return converted

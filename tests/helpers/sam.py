"""Segment Anything, tiny: the real architectures with random weights from a seed."""

from pathlib import Path

import torch


def tiny_sam():
    """segment-anything's own modules at 128 pixels."""
    from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer

    torch.manual_seed(5)
    encoder = ImageEncoderViT(
        img_size=128,
        embed_dim=32,
        depth=1,
        num_heads=2,
        out_chans=32,
        use_rel_pos=True,
        window_size=4,
        global_attn_indexes=(0,),
    )
    prompts = PromptEncoder(
        embed_dim=32, image_embedding_size=(8, 8), input_image_size=(128, 128), mask_in_chans=4
    )
    transformer = TwoWayTransformer(depth=1, embedding_dim=32, num_heads=2, mlp_dim=32)
    return scramble(Sam(encoder, prompts, MaskDecoder(transformer_dim=32, transformer=transformer)).eval())


def save_tiny_sam(folder: Path) -> Path:
    """A directory in which transformers saved its SAM with the image processor."""
    from transformers import SamConfig, SamImageProcessor, SamModel

    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "mlp_dim": 32}
    torch.manual_seed(5)
    config = SamConfig(
        vision_config={
            **small,
            "image_size": 128,
            "output_channels": 32,
            "window_size": 4,
            "global_attn_indexes": [0],
            "num_pos_feats": 16,
        },
        prompt_encoder_config={
            "hidden_size": 32,
            "image_size": 128,
            "patch_size": 16,
            "mask_input_channels": 4,
        },
        mask_decoder_config=small,
    )
    scramble(SamModel(config)).save_pretrained(folder)
    processor = SamImageProcessor(size={"longest_edge": 128}, pad_size={"height": 128, "width": 128})
    processor.save_pretrained(folder)
    return folder


def scramble(network):
    """Weights large enough that masks differ from point to point."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(0, 0.5)
    return network

"""Grounding DINO, tiny: the real architectures with random weights."""

import re
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor

from tests.helpers.grounding_names import hub_names

_WORDS = ["metal", "nut", "screw", "##s", "a", "part"]
_QUERIES, _HIDDEN, _LAYERS = 40, 64, 2


def tiny_bert():
    """A configuration of BERT with few words."""
    from transformers import BertConfig

    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    return BertConfig(vocab_size=1030 + len(_WORDS), **small)


def save_tiny_bert(folder: Path) -> Path:
    """A directory with that configuration and a WordPiece vocabulary, whose marks are where BERT has them."""
    from transformers import BertTokenizer

    marks = {0: "[PAD]", 100: "[UNK]", 101: "[CLS]", 102: "[SEP]", 103: "[MASK]", 1012: ".", 1029: "?"}
    words = [marks.get(n, f"[unused{n}]") for n in range(1030)] + _WORDS
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    tiny_bert().save_pretrained(folder)
    return folder


def package_state(bert: Path) -> dict[str, Tensor]:
    """The tensors of groundingdino's model on its smallest Swin transformer, with few layers and queries."""
    from evernorm.structure.grounding.bridge import bridged, import_package

    build, published = import_package()
    few = {"enc_layers": _LAYERS, "dec_layers": _LAYERS, "dim_feedforward": _HIDDEN, "num_queries": _QUERIES}
    torch.manual_seed(3)
    with bridged(str(bert)):
        return telling(build(SimpleNamespace(**{**published, **few}))).state_dict()


def hub_model(state: dict[str, Tensor]):
    """The model of transformers with the tensors of `package_state`."""
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection

    model = GroundingDinoForObjectDetection(
        GroundingDinoConfig(
            backbone_config={"model_type": "swin", "out_indices": [2, 3, 4]},
            text_config=tiny_bert().to_dict(),
            num_queries=_QUERIES,
            encoder_layers=_LAYERS,
            decoder_layers=_LAYERS,
            encoder_ffn_dim=_HIDDEN,
            decoder_ffn_dim=_HIDDEN,
        )
    )
    converted = hub_names(state)
    left = model.load_state_dict(converted, strict=False)
    assert not left.unexpected_keys
    assert all("swin.layernorm" in name for name in left.missing_keys), left.missing_keys  # never used
    return model


def small_hub_model():
    """A model of transformers that is smaller than the other implementation can be."""
    from transformers import GroundingDinoConfig, GroundingDinoForObjectDetection

    swin = {"embed_dim": 8, "depths": [1, 1, 1, 1], "num_heads": [1, 1, 1, 1], "out_indices": [2, 3, 4]}
    torch.manual_seed(4)
    return telling(
        GroundingDinoForObjectDetection(
            GroundingDinoConfig(
                backbone_config={"model_type": "swin", **swin},
                text_config=tiny_bert().to_dict(),
                d_model=64,
                num_queries=_QUERIES,
                encoder_layers=1,
                decoder_layers=2,
                encoder_ffn_dim=_HIDDEN,
                decoder_ffn_dim=_HIDDEN,
            )
        )
    )


def save_hub_model(model, bert: Path, folder: Path) -> Path:
    """A directory in which transformers saved a model with its tokenizer."""
    from transformers import AutoTokenizer

    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(bert).save_pretrained(folder)
    return folder


def telling(model):
    """Random weights with which every part of the network has a say, and no probability is all but 0 or 1."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if re.search(r"gamma_[vl]|vision_param|text_param", name):
                parameter.fill_(0.5)  # begins at 1e-4: image and text would not see each other
            elif re.search(r"decoder\.(layer_)?norm\.weight", name):
                parameter.fill_(0.1)
            elif re.search(
                r"bbox_embed.*layers\.2\.weight|(sampling_offsets|attention_weights)\.weight", name
            ):
                parameter.normal_(0, 0.05)  # begins at 0
    return model

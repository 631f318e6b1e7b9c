"""What Grounding DINO is given, the same for both implementations: an image and a caption."""

from typing import TYPE_CHECKING, Any

import numpy as np

from evernorm.errors import ParamsError, WeightsError
from evernorm.types import Image, Indices

if TYPE_CHECKING:
    from torch import Tensor

_LONGEST = 1333  # pixels, as in the published code of Grounding DINO and of its transformers
_NARROWEST = 64  # pixels; 900 queries are chosen from the patches, of which a sliver would have fewer
_MOST_TOKENS = 256
_ENDS = {"[CLS]": 101, "[SEP]": 102, ".": 1012, "?": 1029}  # what ends a phrase, as bert-base-uncased has it
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet's


def pixels(image: Image, size: int) -> "Tensor":
    """Resize and normalise an RGB image.

    The shorter side becomes `size` unless the longer one would exceed 1333. Boxes are shares of the image, so
    that rounding, and the widening of a sliver to 64 pixels, leave them where they are.

    Args:
        image: uint8 ``[H, W, 3]``.
        size: Pixels.

    Returns:
        float32 ``[1, 3, height, width]``.
    """
    import torch
    from PIL import Image as Pictures

    sides = image.shape[1], image.shape[0]
    scale = min(size / min(sides), _LONGEST / max(sides))
    width, height = (max(_NARROWEST, round(side * scale)) for side in sides)
    small = Pictures.fromarray(image).resize((width, height), Pictures.Resampling.BILINEAR)
    values = torch.from_numpy(np.asarray(small, np.float32) / 255)
    normal = (values - torch.tensor(_MEAN)) / torch.tensor(_STD)
    return normal.permute(2, 0, 1)[None].contiguous()


def caption_of(phrases: tuple[str, ...]) -> str:
    """The caption that Grounding DINO was trained to read: ``metal nut. thread.``."""
    return "".join(f"{phrase}. " for phrase in phrases).rstrip()


def owners_of(phrases: tuple[str, ...], tokenizer: Any) -> Indices:
    """The phrase of each token of the caption, −1 for what stands between phrases; int64 ``[tokens]``.

    Args:
        phrases: Without full stops and question marks, which end a phrase.
        tokenizer: BERT's, as transformers has it.

    Raises:
        ParamsError: A phrase has no token, or all have more than 256.
        WeightsError: The tokenizer is not that of bert-base-uncased, with which Grounding DINO was trained;
            transformers makes up an empty one where there is none.
    """
    if tokenizer.convert_tokens_to_ids(list(_ENDS)) != list(_ENDS.values()):
        raise WeightsError(
            f"{tokenizer.name_or_path} has no tokenizer, or not that of bert-base-uncased; put its tokenizer.json "
            "and tokenizer_config.json there"
        )
    tokens: list[int] = tokenizer(caption_of(phrases))["input_ids"]
    if len(tokens) > _MOST_TOKENS:
        raise ParamsError(
            f"masks.grounding.phrases are {len(tokens)} tokens, Grounding DINO reads at most {_MOST_TOKENS}; "
            "shorten them, or name fewer"
        )
    owners = np.full(len(tokens), -1, np.int64)
    number = 0
    for place, token in enumerate(tokens):
        if token not in _ENDS.values():
            owners[place] = number
        elif place:
            number += 1
    if bare := [phrase for number, phrase in enumerate(phrases) if number not in owners]:
        raise ParamsError(f"masks.grounding.phrases: the text encoder has no token for {bare[0]!r}")
    return owners

"""What both implementations of Grounding DINO answer, and what is made of it: thresholds mean the same for both."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from evernorm.params.groups import GroundingParams
from evernorm.types import Floats, Image, Indices

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Answer:
    """What Grounding DINO says of an image.

    Attributes:
        boxes: float32 ``[queries, 4]``: centre x, centre y, width and height, as shares of the image.
        tokens: float32 ``[queries, tokens]``: how probable it is that a box shows what a token names.
    """

    boxes: "Tensor"
    tokens: "Tensor"


class Detector(Protocol):
    """Grounding DINO with the phrases it looks for."""

    @property
    def owners(self) -> Indices:
        """The number of the phrase that each token is of, −1 for what stands between them; int64 ``[tokens]``."""
        ...

    def __call__(self, image: Image) -> Answer:
        """Look for the phrases in an RGB image uint8 ``[H, W, 3]``."""
        ...


@dataclass(frozen=True)
class Boxes:
    """The boxes that are kept.

    Attributes:
        corners: float32 ``[n, 4]``: left, top, right and bottom in pixels, within the image; most probable first.
        phrases: int64 ``[n]``: the number of the phrase that each box shows.
        found: The numbers of all phrases that a box was found for, also one that overlaps a better one.
    """

    corners: Floats
    phrases: Indices
    found: frozenset[int]


def choose_boxes(answer: Answer, owners: Indices, params: GroundingParams, shape: tuple[int, int]) -> Boxes:
    """Keep the boxes that are probable enough, each for its best phrase.

    As in Grounding DINO's published code a box is kept where its most probable token exceeds `box_threshold`, and
    a token counts where it exceeds `text_threshold`. There, what counts is strung together as the name of the
    box; here, where the phrases are known, the box shows the one with the highest mean over its tokens (as that
    code has it in its evaluation on COCO), those that do not count being 0; of several, the first; none where no
    token counts. Tokens between phrases are not looked at. Of boxes that overlap more than `nms`, whatever they
    show, the most probable one stays.

    Args:
        answer: Of Grounding DINO.
        owners: int64 ``[tokens]``, see `Detector`.
        params: The `masks.grounding` group.
        shape: H and W of the image.
    """
    import torch
    from torchvision.ops import box_convert, nms

    height, width = shape
    count = int(owners.max()) + 1
    members = torch.from_numpy(owners)[:, None] == torch.arange(count)  # [tokens, phrases]
    tokens = answer.tokens[:, torch.from_numpy(owners >= 0)]
    certain = tokens.amax(dim=1)
    counted = torch.where(answer.tokens > params.text_threshold, answer.tokens, 0.0)
    means = counted @ members.float() / members.sum(dim=0)  # [queries, phrases]
    best, phrases = means.max(dim=1)
    kept = (certain > params.box_threshold) & (best > 0)
    certain, phrases = certain[kept], phrases[kept]
    limits = torch.tensor([width, height, width, height], dtype=torch.float32)
    corners = box_convert(answer.boxes[kept], "cxcywh", "xyxy").clamp(0, 1) * limits
    stay = nms(corners, certain, params.nms)
    return Boxes(
        corners[stay].numpy(),
        phrases[stay].numpy().astype(np.int64),
        frozenset(phrases.tolist()),
    )

"""transformers' Grounding DINO."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from evernorm.params.groups import GroundingParams
from evernorm.pretrained import from_transformers
from evernorm.repeatable import fixed_kernels
from evernorm.structure.grounding.detector import Answer
from evernorm.structure.grounding.inputs import caption_of, owners_of, pixels
from evernorm.structure.grounding.sources import WAYS
from evernorm.types import Image, Indices

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class HubDetector:
    """`GroundingDinoForObjectDetection` and its tokenizer.

    The checkpoint's own image processor is not asked: images are prepared as for the other implementation.

    Attributes:
        model: The network.
        text: The tokens of the caption as the model takes them.
        owners: See `Detector`.
        size: Shorter side at which an image is searched, pixels.
    """

    model: Any
    text: Any
    owners: Indices
    size: int

    @classmethod
    def load(
        cls, name: str, params: GroundingParams, phrases: tuple[str, ...], device: "torch.device"
    ) -> Self:
        """Load a directory or a hub name; a directory is read without the network.

        Raises:
            ParamsError: The phrases are too long.
            WeightsError: There is no such model, or its weights are not all of Grounding DINO's.
        """
        model, tokenizer = from_transformers(
            "GroundingDinoForObjectDetection",
            "AutoTokenizer",
            name,
            called=f"masks.grounding.checkpoint {name!r}",
            lacking="tensors of Grounding DINO",
            ways=WAYS,
            dtype="float32",
        )
        owners = owners_of(phrases, tokenizer)
        text = tokenizer(caption_of(phrases), return_token_type_ids=True, return_tensors="pt").to(device)
        return cls(model.to(device), text, owners, params.size)

    def __call__(self, image: Image) -> Answer:
        """Look for the phrases in an RGB image uint8 ``[H, W, 3]``."""
        import torch

        with fixed_kernels(), torch.inference_mode():
            said = self.model(pixel_values=pixels(image, self.size).to(self.model.device), **self.text)
        tokens = said.logits[0, :, : len(self.owners)].sigmoid()
        return Answer(said.pred_boxes[0].float().cpu(), tokens.float().cpu())

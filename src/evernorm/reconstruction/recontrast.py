"""ReContrast: two encoders whose features are decoded crosswise (Guo et al., NeurIPS 2023).

One encoder is frozen, the other learns slowly with the decoder; each is reconstructed from the other. Imported where a
network is built, not before: it needs torch.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from evernorm.features.backbone import TimmBackbone, rebuild_backbone
from evernorm.params.groups import Device
from evernorm.reconstruction.blocks import Bottleneck, Decoder, Level
from evernorm.reconstruction.cosine import by_place, hard, summed
from evernorm.reconstruction.network import Reconstructor
from evernorm.types import Arrays

IMAGES = "images"
"""uint8 ``[n, size, size, 3]``, beside the levels that the frozen encoder gives of them."""

_FIRST, _LAST, _RISE = -3.0, 1.0, 0.1  # of the deviations of hard mining, over a tenth of the training


class ReContrastNetwork(Reconstructor):
    """The second encoder, bottleneck and decoder; what the frozen encoder gives is among the inputs.

    Args:
        levels: Of the encoder, shallowest first.
        backbone: The frozen encoder, which the second is at first.
        encoder_rate: Learning rate of the second.
        seed: First values.
    """

    def __init__(
        self, levels: Sequence[Level], backbone: TimmBackbone, encoder_rate: float, seed: int
    ) -> None:
        self.preprocess, self.device, self.encoder_rate = backbone.preprocess, backbone.device, encoder_rate
        self.second = rebuild_backbone(backbone.architecture, backbone.weights(), Device.CPU)
        self.second.network.requires_grad_(True)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.parts = nn.ModuleDict(
                {"encoder": self.second.network, "bottleneck": Bottleneck(levels), "decoder": Decoder(levels)}
            )
        self.parts.to(self.device)
        self.parts.to(memory_format=torch.channels_last)  # half the time of the second encoder on a CPU

    def rates(self, learning_rate: float) -> list[dict[str, Any]]:
        """The second encoder learns at a rate of its own."""
        slow = {id(each) for each in self.second.network.parameters()}
        values = list(self.values().values())
        return [
            {"params": [each for each in values if id(each) not in slow], "lr": learning_rate},
            {"params": [each for each in values if id(each) in slow], "lr": self.encoder_rate},
        ]

    def on_device(self, inputs: Arrays, chosen: Any) -> dict[str, Tensor]:
        """Some of the images as the second encoder takes them, and their levels."""
        levels = {name: array for name, array in inputs.items() if name != IMAGES}
        images = torch.from_numpy(self.preprocess.normalise(inputs[IMAGES][chosen]))
        return {
            **super().on_device(levels, chosen),
            IMAGES: images.to(self.device, memory_format=torch.channels_last),
        }

    def loss(self, inputs: Mapping[str, Tensor], done: float) -> Tensor:
        """The mean over the two directions of the sum over the levels."""
        self.second.network.eval()  # its normalisations keep the figures that they were trained with
        deviations = min(_LAST, _FIRST + (_LAST - _FIRST) * done / _RISE)
        terms = [hard(target, made, deviations) for target, made in self._pairs(inputs)]
        return torch.stack(terms).sum() / 2

    def distances(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The sum over the levels and directions."""
        return summed([by_place(target, made) for target, made in self._pairs(inputs)])

    def _pairs(self, inputs: Mapping[str, Tensor]) -> list[tuple[Tensor, Tensor]]:
        """What each encoder gives, beside what is decoded from the other."""
        frozen = [each for name, each in inputs.items() if name != IMAGES]
        second = self.second.levels(inputs[IMAGES])
        both = [torch.cat(each) for each in zip(second, frozen, strict=True)]
        made = self.parts["decoder"](self.parts["bottleneck"](both))  # type: ignore[index]
        of_second, of_frozen = zip(*(each.chunk(2) for each in made), strict=True)
        return [*zip(frozen, of_second, strict=True), *zip(second, of_frozen, strict=True)]

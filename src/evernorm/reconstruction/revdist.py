"""RevDist: a decoder that learns to give back the levels of a frozen encoder (Deng and Li, CVPR 2022).

Imported where a network is built, not before: it needs torch.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from evernorm.reconstruction.blocks import Bottleneck, Decoder, Level
from evernorm.reconstruction.cosine import by_place, summed, whole
from evernorm.reconstruction.network import Reconstructor


class RevDistNetwork(Reconstructor):
    """Bottleneck and decoder.

    Args:
        levels: Of the encoder, shallowest first.
        device: Where to put it.
        seed: First values.
    """

    def __init__(self, levels: Sequence[Level], device: torch.device, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.parts = nn.ModuleDict({"bottleneck": Bottleneck(levels), "decoder": Decoder(levels)})
        self.parts.to(device)
        self.device = device

    def loss(self, inputs: Mapping[str, Tensor], done: float) -> Tensor:
        """The sum over the levels."""
        levels = list(inputs.values())
        terms = [whole(level, made) for level, made in zip(levels, self._made(levels), strict=True)]
        return torch.stack(terms).sum()

    def distances(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The sum over the levels."""
        levels = list(inputs.values())
        return summed([by_place(level, made) for level, made in zip(levels, self._made(levels), strict=True)])

    def _made(self, levels: Sequence[Tensor]) -> list[Tensor]:
        made: list[Tensor] = self.parts["decoder"](self.parts["bottleneck"](levels))  # type: ignore[index]
        return made

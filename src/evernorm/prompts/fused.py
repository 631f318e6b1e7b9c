"""The prompted backbone whose features are fused with words, and the adapter of one class."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from evernorm.prompts.fusion import Text, fuse, fusion_of, stacked
from evernorm.prompts.params import PromptKind
from evernorm.prompts.prompt import Prompt
from evernorm.prompts.prompted import Begun, PromptedBackbone
from evernorm.text.encoder import Tokens
from evernorm.types import Arrays, Floats

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Adapter:
    """What the backbone is adapted to a class with.

    Attributes:
        prompt: Of its blocks.
        fusion: Weights by name (`fusion.first_fusion`); empty without fusion.
        tokens: The words on the class; None without fusion.
    """

    prompt: Prompt
    fusion: dict[str, Floats]
    tokens: Tokens | None

    @property
    def nbytes(self) -> int:
        """Bytes of all of it."""
        words = self.tokens.nbytes if self.tokens else 0
        return self.prompt.nbytes + sum(value.nbytes for value in self.fusion.values()) + words

    def arrays(self) -> Arrays:
        """By name."""
        return {**self.prompt.arrays(), **self.fusion, **(self.tokens.arrays() if self.tokens else {})}

    @classmethod
    def of(cls, kind: PromptKind, arrays: Arrays) -> "Adapter":
        """Undo `arrays`; what else there is, is left alone."""
        fusion = fusion_of(arrays)
        return cls(Prompt.of(kind, arrays), fusion, Tokens.of(arrays) if fusion else None)


class FusedBackbone:
    """Images in two steps: what a class is found by, and the features with the adapter of the class found.

    Attributes:
        network: The prompted backbone.
    """

    def __init__(self, network: PromptedBackbone) -> None:
        self.network = network

    def begin(self, images: Sequence[npt.NDArray[np.uint8]]) -> tuple[Begun, Floats]:
        """Images of any size (uint8 ``[H, W, 3]``) up to the first prompt, and their queries q(x) ``[n, d]``.

        A query is the mean of the frozen patch features.
        """
        begun, frozen = self.network.begin(images)
        return begun, frozen.mean(axis=1)

    def finish(self, begun: Begun, adapters: Sequence[Adapter]) -> Floats:
        """Fused features ``[n, P, d]`` of each image with its adapter."""
        import torch

        with torch.inference_mode(), self.network.backbone.half():
            prompts = self.network.stack([adapter.prompt for adapter in adapters])
            patches = self.network.resume(begun, prompts)
            if adapters[0].fusion:
                patches = fuse(patches, self._text(adapters), self._weights(adapters)).patches
            return patches.float().cpu().numpy()

    def _text(self, adapters: Sequence[Adapter]) -> Text:
        import torch

        features, there = stacked([adapter.tokens for adapter in adapters if adapter.tokens])
        device = self.network.backbone.device
        return Text(torch.from_numpy(features).to(device), torch.from_numpy(there).to(device))

    def _weights(self, adapters: Sequence[Adapter]) -> "dict[str, Tensor]":
        import torch

        device = self.network.backbone.device
        names = adapters[0].fusion
        each = {name: np.stack([adapter.fusion[name] for adapter in adapters]) for name in names}
        return {name: torch.from_numpy(value).to(device) for name, value in each.items()}

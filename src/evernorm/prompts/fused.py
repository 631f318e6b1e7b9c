"""The prompted backbone whose features are fused with words, and the adapter of one class."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from evernorm.features.engine import Graph
from evernorm.features.graph import Traced
from evernorm.features.kit import Kit, Made, kit_of
from evernorm.params.groups import PassEngine
from evernorm.prompts.fusion import Text, fuse, fusion_of, patch_dim, stacked
from evernorm.prompts.graphs import Prompted, PromptedGraphs
from evernorm.prompts.params import PromptKind
from evernorm.prompts.prompt import Prompt
from evernorm.prompts.prompted import Begun, PromptedBackbone
from evernorm.text.encoder import Tokens
from evernorm.types import Arrays, Floats

FUSE = "fusion"
_PATCHES, _WORDS, _THERE, _FUSED = "patches", "words", "there", "fused"


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

    def __init__(self, network: Prompted) -> None:
        self.network = network
        self._fuse: Graph | None = None

    def begin(self, images: Sequence[npt.NDArray[np.uint8]]) -> tuple[Begun, Floats]:
        """Images of any size (uint8 ``[H, W, 3]``) up to the first prompt, and their queries q(x) ``[n, d]``.

        A query is the mean of the frozen patch features.
        """
        begun, frozen = self.network.begin(images)
        return begun, frozen.mean(axis=1)

    def finish(self, begun: Begun, adapters: Sequence[Adapter]) -> Floats:
        """Fused features ``[n, P, d]`` of each image with its adapter."""
        if not adapters[0].fusion:
            return self.network.finish(begun, [adapter.prompt for adapter in adapters])
        if isinstance(self.network, PromptedGraphs):
            return self._through_graphs(self.network, begun, adapters)
        return _in_torch(self.network, begun, adapters)

    def fusion_kit(self, adapter: Adapter, engine: PassEngine, patches: int) -> Kit:
        """The fusion of that many patches as a graph, for adapters of the same sizes as this one."""
        recipe = {
            "patches": patches,
            "values": {name: list(value.shape) for name, value in adapter.fusion.items()},
        }
        beside = self.network.kit.folder if isinstance(self.network, PromptedGraphs) else None
        return kit_of(FUSE, recipe, engine, lambda: _made(adapter, patches), beside)

    def _through_graphs(self, network: PromptedGraphs, begun: Begun, adapters: Sequence[Adapter]) -> Floats:
        patches = network.finish(begun, [adapter.prompt for adapter in adapters])
        if self._fuse is None:
            kit = self.fusion_kit(adapters[0], network.engine, patches.shape[1])
            self._fuse = kit.graph(FUSE, network.engine)
        for number, adapter in enumerate(adapters):
            patches[number] = self._fuse({_PATCHES: patches[number][None], **_inputs(adapter)})[_FUSED][0]
        return patches


def _in_torch(network: PromptedBackbone, begun: Begun, adapters: Sequence[Adapter]) -> Floats:
    import torch

    device = network.backbone.device
    with torch.inference_mode(), network.backbone.half():
        patches = network.resume(begun, network.stack([adapter.prompt for adapter in adapters]))
        features, there = stacked([adapter.tokens for adapter in adapters if adapter.tokens])
        text = Text(torch.from_numpy(features).to(device), torch.from_numpy(there).to(device))
        names = adapters[0].fusion
        each = {name: np.stack([adapter.fusion[name] for adapter in adapters]) for name in names}
        weights = {name: torch.from_numpy(value).to(device) for name, value in each.items()}
        return fuse(patches, text, weights).patches.float().cpu().numpy()


def _inputs(adapter: Adapter) -> Arrays:
    """What the graph of a fusion takes of an adapter."""
    words, there = stacked([adapter.tokens] if adapter.tokens else [])
    return {_WORDS: words, _THERE: there, **{name: value[None] for name, value in adapter.fusion.items()}}


def _made(adapter: Adapter, patches: int) -> Made:
    import torch
    from torch import nn

    names = list(adapter.fusion)

    class Fuse(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = nn.Identity()

        def forward(
            self, seen: torch.Tensor, words: torch.Tensor, there: torch.Tensor, *weights: torch.Tensor
        ) -> torch.Tensor:
            return fuse(seen, Text(words, there), dict(zip(names, weights, strict=True))).patches

    given = {name: torch.from_numpy(value) for name, value in _inputs(adapter).items()}
    seen = torch.zeros(1, patches, patch_dim(adapter.fusion))
    return {}, {FUSE: Traced(Fuse(), {_PATCHES: seen, **given}, (_FUSED,))}, {}

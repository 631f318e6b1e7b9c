"""The frozen backbone with prompts: frozen features that route, and prompted ones of the class routed to.

A prompt changes nothing before the first block that has one, so both start there from the same state, and
no block runs twice on the same input: where the keys' features lie before the first prompt, an image passes
each block once.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from evernorm.errors import ParamsError
from evernorm.features.backbone import TimmBackbone
from evernorm.prompts.blocks import BlockChain
from evernorm.prompts.params import PromptKind, PromptParams
from evernorm.prompts.prompt import Prompt
from evernorm.types import Floats

if TYPE_CHECKING:
    from torch import Tensor


class Begun(NamedTuple):
    """Images on their way through the backbone, before the first prompted block.

    Attributes:
        state: Input of that block; a tensor of torch, or an array of another engine.
        levels: Feature levels that are complete, of the same kind.
    """

    state: Any
    levels: dict[int, Any]


class PromptedBackbone:
    """A frozen backbone that takes a prompt at each block from the first prompted one on.

    Attributes:
        backbone: What is frozen.
        params: Kind, length and first block of the prompts.
        kind: Of the prompts; never `auto`.
        key_layers: Feature levels of the frozen features that keys are made of and images are routed by.
        key_dim: Columns of those features.
        shapes: Block → shape of its prompt.

    Raises:
        ParamsError: The backbone takes no such prompts, or has no such levels or block; all faults at once.
    """

    def __init__(self, backbone: TimmBackbone, params: PromptParams, key_layers: Sequence[int] = ()) -> None:
        read = backbone.architecture.layers
        self.backbone = backbone
        self.params = params
        self.key_layers = tuple(sorted(key_layers)) or read
        faults = [
            f"knowledge.key_layers {layer} is not read; add it to features.layers {list(read)}"
            for layer in self.key_layers
            if layer not in read
        ]
        self.shapes: dict[int, tuple[int, ...]] = {}
        self._chain: BlockChain | None = None
        try:
            if params.kind is not PromptKind.NONE:
                self._chain = BlockChain(backbone, params.kind)
        except ParamsError as error:
            faults.append(error.message)
        self.kind = self._chain.kind if self._chain else PromptKind.NONE
        if self._chain:
            count = len(self._chain.blocks)
            self.shapes = {i: self._shape(self._chain.widths[i]) for i in range(params.first_block, count)}
            if not self.shapes:
                faults.append(
                    f"prompts.first_block is {params.first_block}; there are blocks 0 to {count - 1} up to the "
                    f"deepest level that is read"
                )
        if faults:
            raise ParamsError(f"{backbone.architecture.name} cannot be prompted like this", faults)
        info: Any = backbone.network.feature_info
        self.key_dim = sum(info[layer]["num_chs"] for layer in self.key_layers)

    @property
    def trainable(self) -> "PromptedBackbone":
        """Itself."""
        return self

    def enter(self, inputs: "Tensor") -> Begun:
        """Preprocessed images ``[n, 3, size, size]`` up to the first prompted block."""
        if self._chain is None:
            levels = self.backbone.levels(inputs)
            return Begun(inputs, dict(zip(self.backbone.architecture.layers, levels, strict=True)))
        first, ends = self.params.first_block, self._chain.ends
        levels_before, state = self._chain.run(self._chain.stem(inputs), 0, first, ends, {})
        return Begun(state, levels_before)

    def keys(self, begun: Begun) -> "Tensor":
        """Frozen features ``[n, P_k, d_k]`` that keys are made of, with no prompt anywhere."""
        levels = begun.levels
        if self._chain and not levels.keys() >= set(self.key_layers):
            ends, first = self._chain.ends, self.params.first_block
            deepest = max(ends[layer] for layer in self.key_layers)
            levels = levels | self._chain.run(begun.state, first, deepest + 1, ends, {})[0]
        return self._join(levels, self.key_layers)

    def resume(self, begun: Begun, prompts: "dict[int, Tensor]") -> "Tensor":
        """Prompted features, from the first prompted block on.

        Args:
            begun: What `enter` made of n images.
            prompts: Block → prompt of each image, ``[n, *shape]``.

        Returns:
            float ``[n, P, d]``.
        """
        levels = begun.levels
        if self._chain:
            blocks = (self.params.first_block, len(self._chain.blocks))
            levels = levels | self._chain.run(begun.state, *blocks, self._chain.ends, prompts)[0]
        return self._join(levels, self.backbone.architecture.layers)

    def begin(self, images: Sequence[npt.NDArray[np.uint8]]) -> tuple[Begun, Floats]:
        """Images of any size (uint8 ``[H, W, 3]``) up to the first prompt, and their frozen features ``[n, P_k, d_k]``."""
        import torch

        with torch.inference_mode(), self.backbone.half():
            begun = self.enter(self.backbone.inputs(images))
            return begun, self.keys(begun).float().cpu().numpy()

    def finish(self, begun: Begun, prompts: Sequence[Prompt]) -> Floats:
        """Features ``[n, P, d]`` of each image with its prompt."""
        import torch

        with torch.inference_mode(), self.backbone.half():
            return self.resume(begun, self.stack(prompts)).float().cpu().numpy()

    def stack(self, prompts: Sequence[Prompt]) -> "dict[int, Tensor]":
        """The prompts of n images as `resume` takes them."""
        import torch

        device = self.backbone.device
        return {
            block: torch.from_numpy(np.stack([prompt.values[block] for prompt in prompts])).to(device)
            for block in self.shapes
        }

    def _join(self, levels: "dict[int, Tensor]", wanted: Sequence[int]) -> "Tensor":
        return self.backbone.join([levels[layer] for layer in wanted])

    def _shape(self, width: int) -> tuple[int, ...]:
        return (2, self.params.length, width) if self.kind is PromptKind.PREFIX else (width,)

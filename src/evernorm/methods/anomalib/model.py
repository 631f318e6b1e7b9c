"""A model of anomalib with a frozen network that evernorm has loaded: built, stored as arrays, asked for scores.

All frozen networks that its models may have here are made by ``timm.create_model``, which is ours while one is built.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from inspect import signature
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from evernorm.errors import ParamsError, StateError, WeightsError
from evernorm.features.backbone import TimmBackbone
from evernorm.features.weights import RANDOM, load_weights
from evernorm.methods.anomalib.library import model_class, own_files, settings_of
from evernorm.methods.anomalib.params import AnomalibParams
from evernorm.params.groups import FeatureParams, Params
from evernorm.types import Arrays, Floats, Images

if TYPE_CHECKING:
    from torch import nn

STORED = "model."
"""Begins the names of the arrays of a model."""

_BUILDING = threading.RLock()  # timm.create_model is one for all threads
_AT_ONCE = 8  # images
_READING = {"prepare_pretrained_model": (), "prepare_imagenette_data": ((256, 256),)}
"""What a model reads when its training begins, by method and arguments: read at once, so that what is missing is told."""
_REFUSALS = (
    AssertionError,
    AttributeError,
    FileNotFoundError,
    IndexError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What constructors of anomalib raise for settings that do not go together."""


class Scored(NamedTuple):
    """What a model says of n images.

    Attributes:
        raw: float32 ``[n]``.
        places: float32 ``[n, side · side]``, its map at the size of the images that it sees.
    """

    raw: Floats
    places: Floats


class Model:
    """A model of anomalib, and which of its tensors are those of the backbone.

    Args:
        params: Which model, and where the weights of its frozen network come from.
        backbone: The frozen backbone.
        stored: Whether `load` follows: then no weights are read but those that `backbone` has.

    Raises:
        MachineError: anomalib is not installed.
        ParamsError: There is no such model, or it cannot be built so; all faults of its settings at once.
        WeightsError: It asks for weights or images that evernorm was not told of.
    """

    def __init__(self, params: Params, backbone: TimmBackbone, *, stored: bool = False) -> None:
        import torch

        prompts = params.own(AnomalibParams).prompts
        kind = model_class(prompts.model)
        settings = settings_of(kind, prompts.settings)
        self.name, self.backbone, self.own_weights = prompts.model, backbone, prompts.weights
        frozen: list[nn.Module] = []
        features = params.features
        with (
            torch.random.fork_rng(devices=[]),
            _our_networks(backbone, features, frozen, stored=stored),
            own_files(kind, prompts.weights, needed=not stored),
        ):
            torch.manual_seed(params.seed)
            try:
                self.module = kind(**{**_arguments(kind, backbone, features), **settings})
                for name, given in _READING.items() if not stored else ():
                    if hasattr(kind, name):
                        getattr(self.module, name)(*given)
            except _REFUSALS as error:
                raise ParamsError(
                    f"anomalib's {self.name} cannot be built with features.backbone {backbone.architecture.name!r}, "
                    f"images of {backbone.preprocess.size} pixels and anomalib.prompts.settings {prompts.settings}: {error}"
                ) from error
        self._shared = {
            f"{place}.{name}": name
            for network in frozen
            for place, module in self.module.named_modules()
            if module is network
            for name in backbone.weights()
        }
        self.module.to(backbone.device)

    def arrays(self) -> Arrays:
        """All it has learned, ``model.<name>``; what it has from the backbone is left out."""
        ours = self.backbone.weights()
        state, once = self.module.state_dict(), self._once()
        arrays = {name: state[name].cpu().numpy() for name in dict.fromkeys(once.values())}
        return {
            f"{STORED}{name}": array
            for name, array in arrays.items()
            if name not in self._shared or not _same(array, ours[self._shared[name]])
        }

    def load(self, arrays: Arrays) -> None:
        """Undo `arrays`, which may hold more.

        Raises:
            StateError: They are of another model.
        """
        import torch

        state = {
            name.removeprefix(STORED): torch.from_numpy(np.array(arrays[name]))
            for name in arrays
            if name.startswith(STORED)
        }
        state |= {name: state[first] for name, first in self._once().items() if first in state}
        try:
            left = self.module.load_state_dict(state, strict=False)
        except RuntimeError as error:
            raise StateError(f"what is stored is no {self.name}: {error}") from error
        if wrong := [*left.unexpected_keys, *({*left.missing_keys} - {*self._shared})]:
            raise StateError(
                f"what is stored is no {self.name} of these settings: {', '.join(sorted(wrong)[:3])} of it or "
                "of the model alone; learn the class again"
            )

    def scores(self, images: Images) -> Scored:
        """Scores of resized images, uint8 ``[n, side, side, 3]``; the model is not changed.

        Raises:
            ParamsError: It gives no map.
        """
        import torch

        self.module.eval()
        raw, places = [], []
        with torch.inference_mode():
            for start in range(0, len(images), _AT_ONCE):
                said = self.module(inputs(images[start : start + _AT_ONCE]).to(self.backbone.device))
                if said.anomaly_map is None or said.pred_score is None:
                    raise ParamsError(
                        f"anomalib's {self.name} gives no anomaly map; choose another anomalib.prompts.model"
                    )
                raw.append(said.pred_score.float().reshape(-1).cpu().numpy())
                places.append(self._at_size(said.anomaly_map.float()).cpu().numpy())
        return Scored(np.concatenate(raw), np.concatenate(places))

    def _once(self) -> dict[str, str]:
        """The names of its tensors, each with the first name that the same tensor has: some have several."""
        first: dict[int, str] = {}
        state = self.module.state_dict(keep_vars=True)
        return {name: first.setdefault(id(tensor), name) for name, tensor in state.items()}

    def _at_size(self, maps: Any) -> Any:
        from torch.nn.functional import interpolate

        side = self.backbone.preprocess.size
        maps = maps.reshape(len(maps), 1, *maps.shape[-2:])
        if maps.shape[-2:] != (side, side):
            maps = interpolate(maps, (side, side), mode="bilinear", align_corners=False)
        return maps.flatten(1)


def inputs(images: Images) -> Any:
    """Resized images as anomalib takes them: float32 ``[n, 3, side, side]`` in [0, 1], not yet normalised."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(images, -1, 1))).float() / 255


def _arguments(kind: Any, backbone: TimmBackbone, features: FeatureParams) -> dict[str, Any]:
    """What evernorm says of a model: its frozen network, and that images are prepared as for every method."""
    from anomalib.pre_processing import PreProcessor
    from torchvision.transforms.v2 import Compose, Normalize, Resize

    preprocess, known = backbone.preprocess, signature(kind).parameters
    steps: list[Any] = [Resize((preprocess.size, preprocess.size))]
    theirs = kind.configure_pre_processor().transform
    if any(
        isinstance(step, Normalize) for step in getattr(theirs, "transforms", [])
    ):  # others do it themselves
        steps.append(Normalize(preprocess.mean, preprocess.std))
    arguments = {
        "backbone": backbone.architecture.name,
        "encoder_name": backbone.architecture.name,
        "pre_trained": True,
        "pre_processor": PreProcessor(Compose(steps)),
        "post_processor": False,
        "evaluator": False,
        "visualizer": False,
    }
    network: Any = backbone.network
    names = [level["module"] for level in network.feature_info]
    ours = [names[level] for level in backbone.architecture.layers]
    for name, levels in (("layers", ours), ("layer", ours[-1])):
        default = known[name].default if name in known else None
        theirs = [default] if isinstance(default, str) else list(default or ())
        if theirs and isinstance(theirs[0], str) and (features.layers or not {*theirs} <= {*names}):
            arguments[name] = levels
    return {name: value for name, value in arguments.items() if name in known}


@contextmanager
def _our_networks(
    backbone: TimmBackbone, features: FeatureParams, frozen: "list[nn.Module]", *, stored: bool
) -> Iterator[None]:
    """What anomalib asks of timm with weights is made without, and given those of `features.weights`; never downloaded.

    torchvision's weights, which a few models ask for, are refused.

    Args:
        backbone: The frozen backbone.
        features: Its name, and where its weights come from.
        frozen: Takes the networks that were given weights.
        stored: Whether those of the backbone are all that is needed.
    """
    import timm
    import torch
    from torchvision.models import WeightsEnum

    library: Any = timm
    create, name = library.create_model, backbone.architecture.name

    def ours(asked: str, pretrained: bool = False, **options: Any) -> "nn.Module":
        network: nn.Module = create(asked, pretrained=False, **options)
        if not pretrained:
            return network
        if asked.partition(".")[0] != name.partition(".")[0]:
            raise WeightsError(
                f"a model of anomalib asks for the weights of {asked}, evernorm has those of {name}; set "
                f"features.backbone to {asked.partition('.')[0]}, and features.weights to where they are: nothing is downloaded for it"
            )
        known, wanted = backbone.weights(), network.state_dict()
        same = {
            key: torch.from_numpy(known[key])
            for key in wanted
            if key in known and known[key].shape == wanted[key].shape
        }
        network.load_state_dict(same, strict=False)
        if not stored and len(same) < len(wanted) and features.weights != RANDOM:
            load_weights(network, features.weights, name)
        frozen.append(network)
        return network

    def refused(weights: Any, *_arguments: Any, **_options: Any) -> Any:
        raise WeightsError(
            f"a model of anomalib asks for torchvision's {weights}, which would be downloaded, and nothing is downloaded "
            "here; choose a model whose frozen network is timm's, such as Patchcore, Stfpm or Dinomaly"
        )

    fetch = WeightsEnum.get_state_dict
    with _BUILDING:
        library.create_model, WeightsEnum.get_state_dict = ours, refused
        try:
            yield
        finally:
            library.create_model, WeightsEnum.get_state_dict = create, fetch


def _same(one: npt.NDArray[Any], other: npt.NDArray[Any]) -> bool:
    return one.shape == other.shape and one.tobytes() == other.tobytes()

"""The library itself: imported when it is needed, its models by their names, their settings by their signatures."""

import difflib
import inspect
import sys
import typing
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from evernorm.errors import MachineError, ParamsError, WeightsError
from evernorm.features.engine import silence_openvino

OURS = ("backbone", "encoder_name", "pre_trained")
"""Arguments of constructors that say which frozen network is loaded: `features.backbone`, `features.weights`."""
_PARTS = ("pre_processor", "post_processor", "evaluator", "visualizer")
_UNFIT = {
    **dict.fromkeys(("Dfkde", "Ganomaly"), "gives no anomaly map"),
    **dict.fromkeys(("AnomalyVFM", "VlmAd", "WinClip"), "does not learn from the images of a class"),
}
_PLACE = "anomalib.prompts"


@cache
def library() -> Any:
    """The package ``anomalib.models``.

    Raises:
        MachineError: It is not installed.
    """
    try:
        with warnings.catch_warnings():
            # What is imported on its way: FrEIA's escapes, timm's and its own old places. Nobody here can mend it.
            for category in (DeprecationWarning, FutureWarning, SyntaxWarning):
                warnings.simplefilter("ignore", category)
            silence_openvino()
            import anomalib.models
    except ImportError as error:
        raise MachineError(
            f"anomalib is not installed ({error}): pip install 'evernorm[anomalib]'"
        ) from error
    return anomalib.models


def model_class(name: str) -> Any:
    """A model that one class of images can be learned with.

    Raises:
        MachineError: The library is not installed.
        ParamsError: There is no such model, or none that fits here.
    """
    image = library().image
    if name not in image.__all__:
        near = difflib.get_close_matches(name, image.__all__, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ParamsError(
            f"{_PLACE}.model is {name!r}; {hint}anomalib has {', '.join(sorted(image.__all__))}"
        )
    kind = getattr(image, name)
    if name in _UNFIT:
        raise ParamsError(f"{_PLACE}.model is {name}, which {_UNFIT[name]}; choose another model")
    return kind


@contextmanager
def own_files(kind: Any, weights: str, *, needed: bool = True) -> Iterator[None]:
    """Let a model find what it would download beside its frozen network; nothing is downloaded.

    Args:
        kind: The model.
        weights: The folder in which it finds weights of its own; empty: there is none.
        needed: Whether to refuse what is not there; a model that has learned needs it no more.

    Raises:
        WeightsError: Within: something is not there; says where it can be had and where it belongs.
    """

    def extract(root: Path, info: Any) -> None:
        refuse(info.url, root)

    def retrieve(url: str, filename: Path, **_options: Any) -> None:
        refuse(url, filename)

    def refuse(url: str, place: Path) -> None:
        if needed:
            raise WeightsError(
                f"anomalib's {kind.__name__} needs {url}, which is not in {place}, and nothing is downloaded for it here: "
                f"unpack it there, and let {_PLACE}.weights or its settings name the folder"
            )

    folder = Path(weights) if weights else Path(f"the folder that {_PLACE}.weights names")
    ours = {
        "download_and_extract": extract,
        "urlretrieve": retrieve,
        "get_pretrained_weights_dir": lambda: folder,
    }
    package = kind.__module__.rpartition(".")[0]
    theirs = [
        (module, name, vars(module)[name])
        for each, module in [*sys.modules.items()]
        if each.startswith(package)
        for name in ours
        if name in vars(module)
    ]
    for module, name, _ in theirs:
        setattr(module, name, ours[name])
    try:
        with warnings.catch_warnings():
            for said in (r"The transform `ToTensor\(\)` is deprecated", "'pin_memory' argument is set"):
                warnings.filterwarnings("ignore", said)  # EfficientAd's
            yield
    finally:
        for module, name, function in theirs:
            setattr(module, name, function)


def settings_of(kind: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings as the constructor takes them: each of the type that it says.

    Raises:
        ParamsError: It has no such argument, or one of another type; all faults at once.
    """
    from pydantic import BaseModel, ConfigDict, ValidationError, create_model

    try:
        hints = typing.get_type_hints(kind.__init__)
    except NameError:  # of a type that is imported for type checkers alone
        hints = {}
    known = {
        name: (hints.get(name, Any), argument.default)
        for name, argument in inspect.signature(kind).parameters.items()
        if name not in (*OURS, *_PARTS)
    }
    config = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())
    try:
        read: BaseModel = create_model(kind.__name__, __config__=config, **known).model_validate(settings)  # type: ignore[call-overload]
    except ValidationError as error:
        faults = [_explained(kind.__name__, detail, [*known]) for detail in error.errors()]
        raise ParamsError(
            f"{_PLACE}.settings are no settings of {kind.__name__}; nothing was changed",
            list(dict.fromkeys(faults)),
        ) from error
    return {name: getattr(read, name) for name in settings}


def _explained(name: str, detail: Any, known: list[str]) -> str:
    key = str(detail["loc"][0])
    if detail["type"] != "extra_forbidden":
        return f"{_PLACE}.settings.{key} is {detail['input']!r:.60}: {detail['msg']}"
    if key in OURS:
        return f"{_PLACE}.settings.{key}: the frozen network is set by features.backbone and features.weights"
    if key in _PARTS:
        return f"{_PLACE}.settings.{key}: images are prepared and scores are read as for every method"
    return f"{_PLACE}.settings.{key}: unknown; {name} has {', '.join(known) or 'none'}"

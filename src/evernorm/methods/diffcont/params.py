"""What DiffCont has to set."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import AfterValidator, Field, model_validator

from evernorm.params.groups import Group, MethodParams


class Space(StrEnum):
    """What is diffused."""

    PIXELS = "pixels"  # the paper's
    FEATURES = "features"  # what a frozen backbone makes of the image


class Prediction(StrEnum):
    """What the network says of a noisy input."""

    NOISE = "noise"  # the paper's
    CLEAN = "clean"  # the input without noise, which fewer channels can say where it has many


class Shown(StrEnum):
    """What a training sees of the classes before."""

    SAMPLES = "samples"  # the paper's: what the teacher draws
    IMAGES = "images"  # their training images: joint training, which is not continual
    NONE = "none"  # nothing: fine-tuning


class Naming(StrEnum):
    """What names the class of an image."""

    HEAD = "head"  # the paper's: the classifier at the projector
    LDA = "lda"  # linear discriminant analysis of the embeddings, one covariance for all classes


class Score(StrEnum):
    """What an image is judged by."""

    EMBEDDING = "embedding"  # the paper's: squared distance to the mean of its class
    ERROR = "error"  # where the network is most wrong of it


def _several(channels: tuple[int, ...]) -> tuple[int, ...]:
    if channels and (len(channels) < 2 or any(each % 8 for each in channels)):
        raise ValueError("must be two levels or more, each of a multiple of 8")
    return channels


Channels = Annotated[
    tuple[Annotated[int, Field(ge=8, le=2048)], ...], Field(max_length=6), AfterValidator(_several)
]
Step = Annotated[int, Field(ge=0, lt=1000)]
Weight = Annotated[float, Field(ge=0, le=1000)]


class LossWeights(Group):
    """Of the terms of Eq. 7 beside the denoising; 0 leaves a term out. The paper does not give them."""

    classifier: Weight = 0.1  # Eq. 2
    noise: Weight = 1.0  # Eq. 3
    align: Weight = 30.0  # Eq. 4
    center: Weight = 0.01  # Eq. 5
    distill: Weight = 0.1  # Eq. 6


class ReplayParams(Group):
    """What is shown again of each class before."""

    kind: Shown = Shown.SAMPLES
    per_class: Annotated[int, Field(ge=1, le=100_000)] = 100  # K
    gate: Annotated[float, Field(gt=0, le=1)] = 0.5  # τ_gen, the largest outlier probability; 1: no gate
    attempts: Annotated[int, Field(ge=1, le=100)] = 3  # candidates at most, in units of K
    steps: Annotated[int, Field(ge=1, le=1000)] = 20  # of DDIM
    follow: bool = True  # whether the means of the classes before move as their samples do; the paper's stay


class LookParams(Group):
    """How an image is embedded: its mean over the same noise at the same steps for every image."""

    steps: Annotated[tuple[Step, ...], Field(min_length=1)] = (200, 400)
    draws: Annotated[int, Field(ge=1, le=64)] = 2  # of noise, at each of them


class DiffContPrompts(Group):
    """The network, and how it is trained on a class."""

    space: Space = Space.PIXELS
    size: Annotated[int, Field(ge=0, le=512)] = 0  # rows and columns; 0: 32 pixels, or 8 patches
    channels: Channels = ()  # of the U-Net's levels; empty: (32, 64, 64, 64), or (96, 128) of features
    embedding: Annotated[int, Field(ge=1, le=1024)] = 64  # channels of the projector
    prediction: Prediction = Prediction.CLEAN
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 5e-4
    batch_size: Annotated[int, Field(ge=4, le=1024)] = (
        16  # so that every half has an image that is told no class
    )
    epochs: Annotated[int, Field(ge=1, le=100_000)] = (
        30  # each over its images, or replay.per_class if that is more
    )
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.99  # decay of the weights' average that is kept; 0: none
    gradient_checkpointing: bool = False  # a slower pass in less memory
    weights: LossWeights = LossWeights()
    replay: ReplayParams = ReplayParams()
    look: LookParams = LookParams()

    @model_validator(mode="after")
    def _halved(self) -> Self:
        halves = 2 ** (len(self.widths) - 1)
        if self.side % halves:
            raise ValueError(
                f"size {self.side} must be a multiple of {halves}: each of the {len(self.widths)} channels but the first "
                "halves it"
            )
        return self

    @property
    def side(self) -> int:
        """Rows and columns of what is diffused."""
        return self.size or (32 if self.space is Space.PIXELS else 8)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each level of the U-Net."""
        return self.channels or ((32, 64, 64, 64) if self.space is Space.PIXELS else (96, 128))


class DiffContKnowledge(Group):
    """How an image is judged."""

    score: Score = Score.EMBEDDING
    map_steps: Annotated[tuple[Step, ...], Field(min_length=1)] = (100, 200)  # whose errors make the map
    map_draws: Annotated[int, Field(ge=1, le=64)] = 2


class DiffContEvaluate(Group):
    """How an image finds its class."""

    routing: Naming = Naming.LDA


class DiffContParams(MethodParams):
    """DiffCont's parameters."""

    prompts: DiffContPrompts = DiffContPrompts()
    knowledge: DiffContKnowledge = DiffContKnowledge()
    evaluate: DiffContEvaluate = DiffContEvaluate()

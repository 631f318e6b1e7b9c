"""What is trained to adapt a frozen backbone to a class, and how."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from evernorm.params.groups import Group


class PromptKind(StrEnum):
    """What is trained to adapt the frozen backbone to a class; `auto` is a prefix where every block has attention."""

    AUTO = "auto"
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


class PromptParams(Group):
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

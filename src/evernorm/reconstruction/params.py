"""How networks that reconstruct features are trained, class after class."""

from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, model_validator

from evernorm.params.groups import Group, MethodParams

Rate = Annotated[float, Field(gt=0, le=1)]
Decay = Annotated[float, Field(ge=0, le=1)]


class Continual(StrEnum):
    """What becomes of a network that knows classes when another arrives."""

    FINETUNE = "finetune"  # it goes on with the new images alone
    BUFFER = "buffer"  # and with some that were kept of the classes before (UCAD's starred rows)
    SEPARATE = "separate"  # it stays; each class has a network of its own
    JOINT = "joint"  # it begins anew with the images of all classes: the papers' "unified", not continual


class Precision(StrEnum):
    """Of the passes of a training step; what is trained and what is stored is float32."""

    FLOAT32 = "float32"
    BFLOAT16 = (
        "bfloat16"  # faster where there is arithmetic for it: a GPU, a processor with amx_bf16 or avx512_bf16
    )


class ReconstructionPrompts(Group):
    """The training. The values are CADA's (section 4.2), but for how long it takes and for UniAD's batches of 64."""

    continual: Continual = Continual.BUFFER
    buffer: Annotated[int, Field(ge=1, le=1_000_000)] = (
        100  # images kept in all (UCAD: 100), two a class at least
    )
    iterations: Annotated[int, Field(ge=1, le=1_000_000)] = (
        200  # a class; the paper: 5,000 for all of 15 or 12
    )
    batch_size: Annotated[int, Field(ge=4, le=1024, multiple_of=2)] = (
        16  # half of it kept images, where there are any
    )
    precision: Precision = Precision.FLOAT32
    learning_rate: Rate = 2e-3
    weight_decay: Decay = 1e-5
    held_out: Annotated[float, Field(gt=0, le=0.5)] = (
        0.2  # share of the images that only tell what scores mean
    )


class UniAdSizes(Group):
    """Of UniAD's transformer, and how its input is disturbed."""

    width: Annotated[int, Field(ge=8, le=4096, multiple_of=8)] = 256
    heads: Annotated[int, Field(ge=1, le=64)] = 8
    layers: Annotated[int, Field(ge=1, le=32)] = 4  # of the encoder, and as many of the decoder
    neighbourhood: Annotated[int, Field(ge=1, le=31)] = 7  # odd side of the square that no place may look at
    jitter: Annotated[float, Field(ge=0, le=1000)] = (
        20.0  # of the features, in units of their length a channel
    )
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1

    @model_validator(mode="after")
    def _divided(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        if self.neighbourhood % 2 == 0:
            raise ValueError(f"neighbourhood {self.neighbourhood} must be odd, so that it has a centre")
        return self


class ReconstructionKnowledge(Group):
    """How an image is judged."""

    top: Annotated[float, Field(gt=0, le=1)] = 0.01  # share of the places whose mean is an image's score


class ReconstructionParams(MethodParams):
    """The parameters of such a method."""

    prompts: ReconstructionPrompts = ReconstructionPrompts()
    knowledge: ReconstructionKnowledge = ReconstructionKnowledge()

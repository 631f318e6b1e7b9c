"""How networks that reconstruct features are trained, class after class."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from evernorm.params.groups import Group, MethodParams


class Continual(StrEnum):
    """What becomes of a network that knows classes when another arrives."""

    FINETUNE = "finetune"  # it goes on with the new images alone
    BUFFER = "buffer"  # and with some that were kept of the classes before (UCAD's starred rows)
    SEPARATE = "separate"  # it stays; each class has a network of its own
    JOINT = "joint"  # it begins anew with the images of all classes: the papers' "unified", not continual


class ReconstructionPrompts(Group):
    """The training. The values are CADA's (section 4.2), but for how long it takes."""

    continual: Continual = Continual.BUFFER
    buffer: Annotated[int, Field(ge=1, le=1_000_000)] = 100  # images that are kept in all (UCAD: 100)
    iterations: Annotated[int, Field(ge=1, le=1_000_000)] = (
        200  # a class; the paper: 5,000 for all of 15 or 12
    )
    batch_size: Annotated[int, Field(ge=2, le=1024)] = 16
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 2e-3
    weight_decay: Annotated[float, Field(ge=0, le=1)] = 1e-5
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.2  # share of the images that only tell what scores mean


class ReconstructionKnowledge(Group):
    """How an image is judged."""

    top: Annotated[float, Field(gt=0, le=1)] = 0.01  # share of the places whose mean is an image's score


class ReconstructionParams(MethodParams):
    """The parameters of such a method."""

    prompts: ReconstructionPrompts = ReconstructionPrompts()
    knowledge: ReconstructionKnowledge = ReconstructionKnowledge()

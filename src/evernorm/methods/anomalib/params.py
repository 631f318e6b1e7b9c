"""Which of anomalib's models, with which settings."""

from typing import Annotated, Any

from pydantic import Field

from evernorm.params.groups import Group, MethodParams


class AnomalibPrompts(Group):
    """A model a class, and how it is learned. Stage `prompts`, whether it has gradients or not."""

    model: Annotated[str, Field(min_length=1)] = "Patchcore"  # a class of anomalib.models.image
    settings: dict[str, Any] = {}  # noqa: RUF012 (pydantic copies it) of its constructor; what is not named is at anomalib's default
    epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 10  # of a model that does not say how many
    batch_size: Annotated[int, Field(ge=1, le=1024)] = 32  # images a step, anomalib's default
    held_out: Annotated[float, Field(gt=0, le=0.5)] = (
        0.2  # share of the images that only tell what scores mean
    )
    refit: bool = False  # whether, once they have, the model is learned again, from all images


class AnomalibParams(MethodParams):
    """The parameters of the adapter."""

    prompts: AnomalibPrompts = AnomalibPrompts()

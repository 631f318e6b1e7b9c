"""Which of anomalib's models, with which settings."""

from typing import Annotated, Any

from pydantic import Field

from evernorm.params.groups import Group, MethodParams


class AnomalibPrompts(Group):
    """A model a class, and how it is learned. Stage `prompts`, whether it has gradients or not."""

    model: Annotated[str, Field(min_length=1)] = "Patchcore"  # a class of anomalib.models.image
    settings: dict[str, Any] = {}  # noqa: RUF012 (pydantic copies it) of its constructor; what is not named is at anomalib's default
    weights: str = ""  # a folder of what the model would download for itself, as EfficientAd its teacher
    epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 10  # of a model that does not say how many
    batch_size: Annotated[int, Field(ge=1, le=1024)] = 32  # images a step, anomalib's default
    folds: Annotated[int, Field(ge=2, le=1000)] = (
        3  # parts of the images, each judged by a model that learned from the others
    )


class AnomalibParams(MethodParams):
    """The parameters of the adapter."""

    prompts: AnomalibPrompts = AnomalibPrompts()

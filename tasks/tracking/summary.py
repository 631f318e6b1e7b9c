"""The summary of a stream: one model for the JSON file and for what a person reads."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from evernorm.files import read_json
from tasks.tracking.figures import unmeasured, weak
from tasks.tracking.gate import Decision
from tasks.tracking.matrix import matrix_of
from tasks.tracking.normal import NormalImages, normal_images
from tasks.tracking.runs import Recorded
from tasks.workspace.workspace import Workspace

Figure = float | None


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Figures(_Part):
    """Of one class, or the mean over classes; None where undefined (no masks, one kind of image).

    Images are ranked as they are answered, an unknown product above every score; `image_auroc_scored` ranks it by
    the score it would have had.
    """

    image_auroc: Figure
    image_ap: Figure
    image_f1max: Figure
    image_auroc_scored: Figure
    pixel_auroc: Figure
    pixel_ap: Figure
    pixel_f1max: Figure
    pixel_aupro: Figure
    bytes: Figure
    false_alarm_rate: Figure
    detection_rate: Figure
    trivial_f1: Figure
    prevalence: Figure


class Matrix(_Part):
    """Row i: after experience i; None above the diagonal."""

    image_auroc: list[list[Figure]]


class Oracle(_Part):
    """Means over classes with the true class given."""

    image_auroc: Figure
    image_ap: Figure
    image_f1max: Figure
    pixel_auroc: Figure
    pixel_ap: Figure
    pixel_f1max: Figure
    pixel_aupro: Figure


class Pooled(Oracle):
    """All classes as one test set, with one threshold."""


class Forgetting(_Part):
    """By the definitions in `evernorm.metrics.continual`."""

    chaudhry: Figure
    relative_percent: Figure
    mtrmb: Figure


class UnknownClass(_Part):
    """Of one class."""

    recognised: Figure
    good_rate: Figure
    defective_rate: Figure


class Unknown(_Part):
    """Products the bank never learned: each class in turn left out (`evernorm.memory.unknown`)."""

    recognised: Figure
    good_rate: Figure
    defective_rate: Figure
    per_class: dict[str, UnknownClass]


class LeftOut(_Part):
    """An image that was left out with --drop-faulty."""

    path: str
    fault: str


class StageTime(_Part):
    """Over all experiences, as it took when it ran."""

    seconds: float


class Version(_Part):
    """The last registered version."""

    name: str
    version: str
    alias: str


class Summary(_Part):
    """Everything a stream's user asks first.

    Attributes:
        registered: None for an experiment.
        alignment: What brought the scores of the classes to one scale.
        set_aside: Classes for which the gate refused a version, and why; the bank is without them.
        not_measured: The classes that some bound of the gate says nothing about, and what they lack.
        finds_little: The share of its defects that is found, of each class of which that is little.
        normal_images: What is known of each class without a test image; None where the bank does not hold it.
    """

    method: str
    classes: list[str]
    display: dict[str, str]
    matrix: Matrix
    per_class: dict[str, Figures]
    mean: Figures
    oracle: Oracle
    pooled: Pooled
    forgetting: Forgetting
    routing_accuracy: Figure
    unknown: Unknown | None
    alignment: str
    bank_bytes: int
    dropped: dict[str, list[LeftOut]]
    stages: dict[str, StageTime]
    registered: Version | None
    set_aside: dict[str, str]
    not_measured: dict[str, str]
    finds_little: dict[str, float]
    normal_images: dict[str, NormalImages | None]


def summarise(workspace: Workspace, recorded: list[Recorded], decision: Decision | None) -> Summary:
    """Put together the summary after the last experience.

    Args:
        workspace: The workspace.
        recorded: The MLflow run of every experience, in order.
        decision: What the gate made of the last version; None for an experiment.
    """
    params = workspace.params
    last = [*params.stream][-1] if not params.order else params.order[-1]  # all may be set aside
    metrics: dict[str, Any] = read_json(workspace.paths.metrics(last))
    classes = metrics["classes"]
    rows = matrix_of(workspace.paths, last)
    seconds: dict[str, float] = {}
    for each in recorded:
        for stage, took in each.seconds.items():
            seconds[stage] = seconds.get(stage, 0.0) + took
    fields = set(Figures.model_fields)
    return Summary(
        method=params.method,
        classes=classes,
        display=workspace.displays(classes),
        matrix=Matrix(image_auroc=[[*row, *[None] * (len(classes) - len(row))] for row in rows]),
        per_class={name: Figures(**metrics["per_class"][name]) for name in classes},
        mean=Figures(**{key: value for key, value in metrics["mean"].items() if key in fields}),
        oracle=Oracle(
            **{key: value for key, value in metrics["oracle"].items() if key in Oracle.model_fields}
        ),
        pooled=Pooled(**metrics["pooled"]),
        forgetting=Forgetting(**metrics["forgetting"]),
        routing_accuracy=metrics["routing_accuracy"],
        unknown=Unknown(**metrics["unknown"]) if metrics["unknown"] else None,
        alignment=metrics["alignment"],
        bank_bytes=metrics["bank_bytes"],
        dropped=_dropped(workspace, classes),
        stages={stage: StageTime(seconds=round(took, 3)) for stage, took in seconds.items()},
        registered=Version(name=decision.model, version=decision.version, alias=decision.alias)
        if decision
        else None,
        set_aside=params.set_aside,
        not_measured=unmeasured(metrics),
        finds_little=weak(metrics),
        normal_images={name: normal_images(workspace, name, classes[-1]) for name in classes},
    )


def _dropped(workspace: Workspace, classes: list[str]) -> dict[str, list[LeftOut]]:
    """The images that were left out, of the classes of which there are any."""
    left = {name: read_json(workspace.paths.manifest(name)).get("dropped", []) for name in classes}
    return {name: [LeftOut(**each) for each in images] for name, images in left.items() if images}

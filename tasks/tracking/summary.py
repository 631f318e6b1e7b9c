"""The summary of a stream: one model for the JSON file and for what a person reads."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from evernorm.files import read_json
from tasks.tracking.gate import Decision
from tasks.tracking.registry import MODEL
from tasks.tracking.runs import Recorded, client_of, stage_seconds
from tasks.workspace.workspace import Workspace

Figure = float | None


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Figures(_Part):
    """Of one class, or the mean over classes; None where undefined (no masks, one kind of image)."""

    image_auroc: Figure
    image_ap: Figure
    image_f1max: Figure
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


class Stage(_Part):
    """Over all experiences, as it took when it ran."""

    seconds: float


class Version(_Part):
    """The last registered version."""

    name: str
    version: str
    alias: str


class Summary(_Part):
    """Everything a stream's user asks first."""

    method: str
    classes: list[str]
    matrix: Matrix
    per_class: dict[str, Figures]
    mean: Figures
    oracle: Oracle
    pooled: Pooled
    forgetting: Forgetting
    routing_accuracy: Figure
    unknown: Unknown | None
    bank_bytes: int
    stages: dict[str, Stage]
    registered: Version


def summarise(root: Path, recorded: list[Recorded], decision: Decision) -> Summary:
    """Put together the summary after the last experience.

    Args:
        root: The workspace.
        recorded: The MLflow run of every experience, in order.
        decision: What the gate made of the last version.
    """
    workspace = Workspace.open(root)
    params = workspace.params
    metrics: dict[str, Any] = read_json(workspace.paths.metrics(params.order[-1]))
    classes = metrics["classes"]
    rows = metrics["matrix"]["image_auroc"]
    client = client_of(workspace)
    seconds: dict[str, float] = {}
    for each in recorded:
        for stage, took in stage_seconds(client, each.run).items():
            seconds[stage] = seconds.get(stage, 0.0) + took
    fields = set(Figures.model_fields)
    return Summary(
        method=params.method.value,
        classes=classes,
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
        bank_bytes=metrics["bank_bytes"],
        stages={stage: Stage(seconds=round(took, 3)) for stage, took in seconds.items()},
        registered=Version(name=MODEL, version=decision.version, alias=decision.alias),
    )

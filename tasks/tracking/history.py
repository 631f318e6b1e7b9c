"""When a class was learned, from which data, and which versions of the bank served it."""

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from evernorm.errors import ParamsError
from evernorm.files import is_plain_name
from tasks.tracking.ownership import registry_of
from tasks.tracking.promotions import Change, standing
from tasks.tracking.registry import classes_of
from tasks.tracking.runs import experiences_of
from tasks.workspace.workspace import Workspace

if TYPE_CHECKING:
    from mlflow.entities import Run


@dataclass(frozen=True)
class Lesson:
    """One record of a class: it was learned, or measured again as classes before it changed.

    Attributes:
        at: When, ISO 8601, UTC.
        data: DVC's hash of the images.
        images: Training images.
        commit: The Git commit that describes it; empty for a run that was cut short.
        run: Its MLflow run.
    """

    at: str
    data: str
    images: int
    commit: str
    run: str


@dataclass(frozen=True)
class Service:
    """A time in which a version that knows the class was champion.

    Attributes:
        change: What made it champion.
        until: When another became it; empty for the present champion.
    """

    change: Change
    until: str


def changes_of(workspace: Workspace) -> list[Change]:
    """Every change of the champion that took effect, in order.

    Raises:
        PassingError: MLflow is out of reach.
    """
    with registry_of(workspace) as registry:
        return standing(registry)


def history_of(workspace: Workspace, name: str) -> tuple[list[Lesson], list[Service]]:
    """What the records say of a class, which may be forgotten by now; in order of time.

    Raises:
        ParamsError: No record names the class.
        PassingError: MLflow is out of reach.
    """
    if not is_plain_name(name):
        raise ParamsError(f"{name!r} is no class name; `evernorm status` lists what is known")
    with registry_of(workspace) as registry:
        runs = experiences_of(registry.client, workspace, name)
        knowing = {str(each.version) for each in registry.versions() if name in classes_of(each)}
        changes = standing(registry)
    if not runs:
        raise ParamsError(f"no record names {name!r}; `evernorm status` lists what is known")
    ends = [*(change.at for change in changes[1:]), ""]
    served = [
        Service(change, until)
        for change, until in zip(changes, ends, strict=bool(changes))
        if change.after in knowing
    ]
    return [_lesson(run) for run in runs], served


def _lesson(run: "Run") -> Lesson:
    dataset = run.inputs.dataset_inputs[0].dataset  # type: ignore[union-attr]  # a complete run names its data
    return Lesson(
        at=datetime.fromtimestamp(run.info.start_time / 1000, UTC).isoformat(timespec="seconds"),
        data=json.loads(dataset.source)["dvc"],
        images=json.loads(dataset.profile or "{}")["train"],
        commit=run.data.tags.get("evernorm.git_commit", ""),
        run=run.info.run_id,
    )

"""The audit: from a registered version to every byte."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from evernorm.errors import PipelineError
from evernorm.files import is_plain_name
from tasks.audit.about import about, promotions_of
from tasks.audit.artifact import check_artifact
from tasks.audit.commit import Commit
from tasks.audit.images import check_images
from tasks.audit.lineage import check_lineage
from tasks.audit.lock import Described, check_lock, describe
from tasks.audit.objects import check_objects
from tasks.audit.registry import (
    check_described,
    check_promotions,
    check_run,
    check_version,
    find_run,
    find_version,
    model_name,
    subject_of,
)
from tasks.audit.report import Notes, Promotion, Report
from tasks.audit.working_tree import check_history, check_working_tree
from tasks.faults import mlflow_faults
from tasks.tracking.ownership import registry_of
from tasks.tracking.registry import CHAMPION
from tasks.tracking.server import client_of, tracking_uri
from tasks.workspace.workspace import Workspace

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

_SQLITE = "sqlite:///"


def audit(root: Path, asked: str = CHAMPION, exported: Path | None = None) -> Report:
    """Follow a version to everything it came from, compare it with what is really there; change nothing.

    Args:
        root: The workspace.
        asked: The number or alias of a version.
        exported: What it was exported as (`evernorm.export`), to be compared with what is registered.

    Returns:
        What was checked and found; a place that is out of reach is in `Report.unchecked`.

    Raises:
        PipelineError: `root` is no workspace.
    """
    workspace, started = Workspace.open(root), time.perf_counter()
    at = datetime.now(UTC).isoformat(timespec="seconds")
    notes = Notes()
    version, promotions = _version(workspace, asked, notes)
    described = _described(workspace, version, notes) if version is not None else None
    if version is not None and described is not None:
        _follow(workspace, version, described, notes, exported)
    return Report(
        asked=asked,
        subject=subject_of(version) if version is not None else None,
        about=about(described, promotions) if described is not None else None,
        lineage=described.lineage if described is not None else (),
        checked=notes.checked,
        findings=tuple(notes.findings),
        unchecked=tuple(notes.unchecked),
        verdict=notes.verdict,
        at=at,
        seconds=round(time.perf_counter() - started, 2),
    )


def _version(
    workspace: Workspace, asked: str, notes: Notes
) -> "tuple[ModelVersion | None, tuple[Promotion, ...]]":
    """The version, looked at by itself, and its promotions; None where it is not to be had."""
    name = model_name(workspace.root)
    with notes.reaching("MLflow"), _mlflow(workspace), registry_of(workspace, name) as registry:
        version = find_version(registry, asked)
        check_version(version, notes)
        check_promotions(registry, notes)
        return version, promotions_of(registry, str(version.version))
    return None, ()


def _described(workspace: Workspace, version: "ModelVersion", notes: Notes) -> Described | None:
    """What the version's commit says of its classes; None where either is not to be had."""
    subject = subject_of(version)
    if not subject.commit or not all(map(is_plain_name, subject.classes or [""])):
        notes.skip("git", f"version {version.version} does not say which classes of which commit it knows")
        return None
    with notes.reaching("git"):
        return describe(Commit.find(workspace.root, subject.commit), subject.classes, notes)
    return None


def _follow(
    workspace: Workspace, version: "ModelVersion", described: Described, notes: Notes, exported: Path | None
) -> None:
    root = workspace.root
    with notes.reaching("git"):
        check_history(described, notes)
    with notes.reaching("MLflow"), _mlflow(workspace):
        check_described(version, described, notes)
        check_run(find_run(client_of(workspace), version), version, described, notes)
    held = check_objects(root, described, notes)
    check_lock(described, held.lists, notes)
    with notes.reaching("manifest"):
        check_images(described, held, notes)
    with notes.reaching("lineage"):
        check_lineage(described, held, notes)
    with notes.reaching("workspace"):
        check_working_tree(root, described, held, notes)
    with notes.reaching("artifact"), _mlflow(workspace):
        check_artifact(tracking_uri(workspace), version, described, held, notes, exported)


@contextmanager
def _mlflow(workspace: Workspace) -> Iterator[None]:
    """Tell MLflow's faults; a database that is not there is not made.

    Raises:
        PipelineError: It is out of reach.
        RegistryError: It refuses.
    """
    uri = tracking_uri(workspace)
    if uri.startswith(_SQLITE) and not Path(uri.removeprefix(_SQLITE)).is_file():
        raise PipelineError(f"{uri.removeprefix(_SQLITE)} does not exist")
    with mlflow_faults(uri):
        yield

"""The MLflow that keeps a workspace's history: which one it is, and a connection to it.

A workspace notes the one it was first recorded on. Its runs, versions and champion are there and nowhere else, so
another one is refused: there the numbers would begin again at 1, and nobody would be champion.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from urllib.request import url2pathname

from evernorm.errors import PipelineError
from evernorm.files import read_json, write_json
from tasks.faults import mlflow_faults, without_secrets
from tasks.workspace.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "evernorm"
_NOTE = ".evernorm/tracking.json"
_OWN = "the workspace's own database"  # wherever the workspace is moved to


def tracking_uri(workspace: Workspace) -> str:
    """MLFLOW_TRACKING_URI, or the workspace's own SQLite file."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{_own_database(workspace)}"


def is_own(workspace: Workspace) -> bool:
    """Whether MLflow is the workspace's own database, and no server is named."""
    return tracking_uri(workspace) == f"sqlite:///{_own_database(workspace)}"


def named_server(workspace: Workspace) -> str:
    """The MLflow that is named now, as a person calls it: no password, and no path that a move would change."""
    return _OWN if is_own(workspace) else without_secrets(tracking_uri(workspace)).rstrip("/")


def noted_server(workspace: Workspace) -> str | None:
    """The MLflow that the workspace has noted; None where nothing was recorded yet."""
    path = workspace.root / _NOTE
    return str(read_json(path)["server"]) if path.is_file() else None


def remember(workspace: Workspace) -> None:
    """Note which MLflow keeps the history, where none is noted."""
    if noted_server(workspace) is None:
        note(workspace, named_server(workspace))


def note(workspace: Workspace, server: str) -> None:
    """Note which MLflow keeps the history from now on."""
    write_json(workspace.root / _NOTE, {"schema": 1, "server": server})


def client_of(workspace: Workspace, *, moving: bool = False) -> "MlflowClient":
    """A client of this workspace's tracking server; of its own database, which is made where it is missing.

    Args:
        workspace: The workspace.
        moving: Whether it may be another server than the one that is noted.

    Raises:
        PipelineError: The history is on another server, or the workspace was moved.
    """
    from mlflow import MlflowClient

    if not moving:
        _refuse_another(workspace)
    if is_own(workspace) and not _own_database(workspace).exists():
        _make_database(workspace)
    client = MlflowClient(tracking_uri(workspace))
    _refuse_moved(client, workspace)
    return client


@contextmanager
def connected(workspace: Workspace, *, moving: bool = False) -> "Iterator[MlflowClient]":
    """A client of this workspace's tracking server, whose faults are told as evernorm's.

    Args:
        workspace: The workspace.
        moving: See `client_of`.

    Raises:
        PassingError: MLflow is out of reach.
        PipelineError: The history is on another server, or the workspace was moved.
        RegistryError: MLflow refuses.
    """
    with mlflow_faults(tracking_uri(workspace)):
        yield client_of(workspace, moving=moving)


def _refuse_another(workspace: Workspace) -> None:
    noted, named = noted_server(workspace), named_server(workspace)
    if noted in {None, named}:
        return
    says = "MLFLOW_TRACKING_URI is not set" if named == _OWN else f"MLFLOW_TRACKING_URI names {named}"
    cure = "unset MLFLOW_TRACKING_URI" if noted == _OWN else f"set MLFLOW_TRACKING_URI={noted}"
    raise PipelineError(
        f"runs, versions and champion of {workspace.root} are in {noted}, but {says}: {cure}. To begin a new history "
        f"instead, with versions from 1 on: evernorm move-tracking --workspace {workspace.root}"
    )


def _refuse_moved(client: "MlflowClient", workspace: Workspace) -> None:
    """MLflow keeps absolute addresses: in a workspace that was moved it would find nothing, and write to the old place."""
    found = client.get_experiment_by_name(EXPERIMENT)
    place = found.artifact_location if found is not None else ""
    if not place.startswith("file:"):
        return
    before = Path(url2pathname(urlsplit(place).path)).parent
    if before != workspace.root and not before.is_dir():
        raise PipelineError(
            f"the workspace was moved from {before} to {workspace.root}, and MLflow keeps addresses in full; move it "
            f"back, or make a link from the old place to the new one"
        )


def _own_database(workspace: Workspace) -> Path:
    return workspace.root / "mlflow.db"


def _make_database(workspace: Workspace) -> None:
    """Make it whole or not at all: MLflow makes table after table, and cannot go on from half of them."""
    from mlflow import MlflowClient

    made = workspace.root / ".evernorm" / "mlflow.db"
    with made.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _own_database(workspace).exists():
            for left in (made, made.with_name(f"{made.name}-journal")):
                left.unlink(missing_ok=True)
            MlflowClient(f"sqlite:///{made}").search_experiments()
            made.replace(_own_database(workspace))

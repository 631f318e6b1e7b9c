"""Classes with which a run was done to the end: learned, recorded, committed, stamped. They cost the next run nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from prefect import task

from evernorm.files import read_json, sha256_json, write_json
from tasks.retries import RETRIED
from tasks.tracking.keyed import is_complete
from tasks.tracking.runs import Recorded
from tasks.tracking.server import connected, tracking_uri
from tasks.workspace.pipeline import up_to_date
from tasks.workspace.traces import traces
from tasks.workspace.workspace import Workspace

_NOTES = ".evernorm/settled.json"  # of this disk alone, and what it notes can always be found out again


@task(task_run_name="what is settled", **RETRIED)
def settled(workspace: Workspace, names: Sequence[str]) -> dict[str, Recorded]:
    """The first of these classes, up to one that was touched since it was noted; what follows may depend on that one.

    Raises:
        PassingError: MLflow is out of reach.
        RegistryError: MLflow refuses.
    """
    notes = _read(workspace)
    if not names or names[0] not in notes:
        return {}
    present, found = traces(workspace), {}
    for name in names:
        if name not in notes or notes[name]["trace"] != present.get(name):
            break
        found[name] = Recorded(**notes[name]["recorded"])
    if not found:
        return {}
    with connected(workspace) as client:
        # One for all of them: a database that was lost or put back has not the last one.
        return found if is_complete(client, list(found.values())[-1].run) else {}


@task(task_run_name="note what is settled", **RETRIED)
def settle(workspace: Workspace, recorded: Mapping[str, Recorded]) -> None:
    """Note classes as settled, but for those that something has touched while this run was at work.

    Raises:
        PassingError: DVC's repository is locked.
        PipelineError: DVC cannot say what is up to date.
    """
    taken = traces(workspace)  # before DVC is asked: what is touched later differs from it
    notes = {name: note for name, note in _read(workspace).items() if name in workspace.params.stream}
    for name in up_to_date(workspace, [name for name in recorded if name in taken]):
        notes[name] = {"trace": taken[name], "recorded": asdict(recorded[name])}
    write_json(workspace.root / _NOTES, {**_head(workspace), "classes": notes})


def _read(workspace: Workspace) -> dict[str, Any]:
    path = workspace.root / _NOTES
    known = read_json(path) if path.is_file() else {}
    return known["classes"] if _head(workspace).items() <= known.items() else {}


def _head(workspace: Workspace) -> dict[str, Any]:
    """Notes of another form, or of what another MLflow server was told, are none."""
    return {"schema": 1, "mlflow": sha256_json(tracking_uri(workspace))}

"""Comparisons in MLflow: a run for the whole, with its table and pictures, and below it a run a line of the table.

They are in an experiment of their own, where every line has the same parameters and figures, so that the page's table,
charts and comparison have no empty columns.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import task

from evernorm.files import read_json, sha256_json
from evernorm.params.dotted import flat
from tasks.retries import RETRIED
from tasks.stages.stage import result_params
from tasks.tracking.comparison_tables import Table
from tasks.tracking.figures import MILLISECONDS, SECONDS, compared
from tasks.tracking.keyed import (
    COMPLETE,
    describe,
    experiment_of,
    find_or_create,
    log_metrics,
    log_params,
    origin,
)
from tasks.tracking.latency import milliseconds_of
from tasks.tracking.runs import Recorded
from tasks.tracking.server import connected, remember
from tasks.tracking.view import COMPARISONS, save_view
from tasks.workspace.pipeline import data_hash
from tasks.workspace.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

    from tasks.tracking.summary import Summary

EXPERIMENT = "evernorm comparisons"
_SETTINGS = 250  # letters of a line's settings in a column of the page


@dataclass(frozen=True)
class Line:
    """A line of a comparison.

    Attributes:
        name: What people call it.
        settings: All parameters that it is learned with, ``key=value``.
        told: Those in which it differs from the others, in a line.
        file: Name of its summary.
        seed: Where there are several.
    """

    name: str
    settings: tuple[str, ...]
    told: str
    file: str
    seed: int | None = None


@dataclass(frozen=True)
class Comparison:
    """What is compared; of the same lines and classes there is one run.

    Attributes:
        kind: ``comparison`` or ``ablation``.
        title: What people call it.
        lines: All of them.
    """

    kind: str
    title: str
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Measured:
    """What a line cost.

    Attributes:
        run: In MLflow.
        seconds: Learning took, by class, as it was when it was done.
        milliseconds: An image takes, one at a time.
    """

    run: str
    seconds: tuple[float, ...]
    milliseconds: float


@dataclass(frozen=True)
class Learned:
    """What came of a line."""

    line: Line
    summary: "Summary"
    measured: Measured


@task(task_run_name="record {line.name}", **RETRIED)
def record_line(
    workspace: Workspace,
    comparison: Comparison,
    line: Line,
    recorded: Sequence[Recorded],
    summary_file: Path,
) -> Measured:
    """Record what a line has learned, which is what the workspace holds now; found again, not repeated.

    Args:
        workspace: Held by the caller.
        comparison: To which it belongs.
        line: Which.
        recorded: Its experiences, in order.
        summary_file: Its summary as JSON.

    Raises:
        PassingError: MLflow is out of reach.
        RegistryError: MLflow refuses.
    """
    params, seconds = workspace.params, tuple(sum(each.seconds.values()) for each in recorded)
    with connected(workspace) as client:
        remember(workspace)
        parent = _parent(client, workspace, comparison)
        metrics = [read_json(workspace.paths.metrics(name)) for name in params.order]
        run = find_or_create(
            client,
            parent.info.experiment_id,
            key=f"line:{parent.info.run_id}:{sha256_json([line.name, result_params(params), metrics[-1]])}",
            name=line.name if line.seed is None else f"{line.name}, seed {line.seed}",
            tags={
                "evernorm.kind": "line",
                "evernorm.line": line.name,
                "mlflow.parentRunId": parent.info.run_id,
                **origin(),
            },
        )
        run_id = str(run.info.run_id)
        if run.data.tags.get(COMPLETE) == "true":
            return Measured(run_id, seconds, run.data.metrics[MILLISECONDS])
        values = result_params(params)
        client.log_dict(run_id, values, "params.json")
        values.pop(params.method, None)  # other methods have other ones, which would be columns of their own
        log_params(client, run_id, {**flat(values), "settings": line.told[:_SETTINGS] or "as they are"})
        for step, figures in enumerate(metrics, 1):
            log_metrics(client, run_id, {**compared(figures), SECONDS: sum(seconds[:step])}, step)
        milliseconds = milliseconds_of(workspace)
        log_metrics(client, run_id, {MILLISECONDS: milliseconds}, len(metrics))
        describe(client, (run_id,), metrics[-1], workspace.displays(metrics[-1]["classes"]))
        client.log_artifact(run_id, str(summary_file))
        client.set_tag(run_id, COMPLETE, "true")
        client.set_terminated(run_id, "FINISHED")
        return Measured(run_id, seconds, milliseconds)


@task(task_run_name="record the tables", **RETRIED)
def record_tables(
    workspace: Workspace, comparison: Comparison, tables: Sequence[Table], learned: Sequence[Learned]
) -> str:
    """Show the tables on the page of the comparison, and a picture.

    Returns:
        The run.

    Raises:
        PassingError: MLflow is out of reach.
        RegistryError: MLflow refuses.
    """
    from tasks.tracking.comparison_pictures import compared_lines
    from tasks.tracking.pictures import save

    with connected(workspace) as client, tempfile.TemporaryDirectory() as folder:
        run_id = str(_parent(client, workspace, comparison).info.run_id)
        client.set_tag(run_id, "mlflow.note.content", "\n\n".join(each.markdown() for each in tables))
        picture = Path(folder) / "comparison.png"
        save(compared_lines(learned, comparison.title), picture)
        client.log_artifact(run_id, str(picture), "pictures")
        client.set_terminated(run_id, "FINISHED")
        return run_id


def _parent(client: "MlflowClient", workspace: Workspace, comparison: Comparison) -> "Run":
    experiment = experiment_of(client, workspace, EXPERIMENT)
    order = workspace.params.order
    digest = sha256_json(
        [
            comparison.kind,
            [[line.name, line.settings] for line in comparison.lines],
            [[name, data_hash(workspace.root, name)] for name in order],
        ]
    )
    run = find_or_create(
        client,
        experiment,
        key=f"{comparison.kind}:{workspace.identity}:{digest}",
        name=comparison.title,
        tags={"evernorm.kind": comparison.kind, **origin()},
    )
    save_view(client, experiment, COMPARISONS, parent=run.info.run_id)
    return run

"""MLflow: one parent run a stream, one child run an experience; found again by tag, never duplicated."""

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import task

from evernorm.data.manifest import Manifest
from evernorm.files import read_json, sha256_file, sha256_json
from evernorm.params.dotted import flat
from evernorm.structure.report import REPORT
from tasks.retries import RETRIED
from tasks.stages.stage import result_params
from tasks.tracking.drawing import draw, draw_bank, trained_arrays, training_history
from tasks.tracking.figures import SECONDS, class_table, compared
from tasks.tracking.keyed import (
    COMPLETE,
    KEY,
    describe,
    experiment_of,
    find_or_create,
    log_metrics,
    log_params,
    origin,
)
from tasks.tracking.server import connected, remember
from tasks.tracking.view import STREAMS, save_view
from tasks.workspace.pipeline import StageRun, data_hash
from tasks.workspace.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_TOOK = "evernorm.seconds"  # tag: what each stage took, as JSON


@dataclass(frozen=True)
class Recorded:
    """The runs of an experience.

    Attributes:
        parent: Run of the stream.
        run: Run of the experience.
        seconds: What each stage took when it ran.
    """

    parent: str
    run: str
    seconds: dict[str, float]


@task(task_run_name="record {name}", **RETRIED)
def record(workspace: Workspace, name: str, stage_runs: Sequence[StageRun]) -> Recorded:
    """Log one experience: parameters, figures, pictures, data, versions. Resumes the run of an earlier try.

    Raises:
        PassingError: MLflow is out of reach.
        RegistryError: MLflow refuses.
    """
    with connected(workspace) as client:
        remember(workspace)
        return _record(client, workspace, name, stage_runs)


def _record(
    client: "MlflowClient", workspace: Workspace, name: str, stage_runs: Sequence[StageRun]
) -> Recorded:
    root = workspace.root
    experiment = experiment_of(client, workspace)
    save_view(client, experiment, STREAMS)
    params, metrics = workspace.params, read_json(workspace.paths.metrics(name))
    step = len(metrics["classes"])
    parent = _stream(client, experiment, workspace)
    # What was learned, from what: another parameter or another result is another run, a retry is not.
    digest = sha256_json(
        [
            result_params(params),
            data_hash(root, name),
            sha256_file(workspace.paths.metrics(name)),
            sha256_file(workspace.paths.bank(name, "evaluation") / "links.json"),  # pins the classes before
        ]
    )
    run = find_or_create(
        client,
        experiment,
        key=f"experience:{workspace.identity}:{name}:{digest}",
        name=f"{step:02d} {workspace.display(name)} · {params.method}",
        tags={
            "evernorm.kind": "experience",
            "evernorm.class": name,
            "mlflow.parentRunId": parent.info.run_id,
            **origin(),
        },
    )
    run_id, parent_id = run.info.run_id, parent.info.run_id
    if run.data.tags.get(COMPLETE) == "true":  # a finished record is never written again
        return Recorded(parent_id, run_id, _seconds(run))
    log_params(client, run_id, flat(result_params(params)))
    log_params(client, parent_id, flat({"method": params.method}))
    seconds = {each.stage: each.seconds for each in stage_runs if each.seconds is not None}
    figures = {**compared(metrics), SECONDS: sum(seconds.values())}
    log_metrics(client, run_id, figures, step)
    log_metrics(client, parent_id, figures, step)
    display = workspace.displays(metrics["classes"])
    describe(client, (run_id, parent_id), metrics, display)
    client.log_dict(run_id, class_table(metrics, display), "classes.json")
    client.set_tag(run_id, _TOOK, json.dumps(seconds))
    if (report := workspace.paths.masks(name) / REPORT).is_file():
        client.log_artifact(run_id, str(report), "masks")
    _log_training(client, run_id, workspace, name, metrics["classes"])
    _log_data(client, run_id, workspace, name)
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), workspace, name, metrics)
        client.log_artifacts(run_id, folder, "pictures")
        client.log_artifact(parent_id, str(Path(folder) / "accuracy_matrix.png"), "pictures")
    client.log_dict(run_id, metrics, "metrics.json")
    client.set_tag(run_id, COMPLETE, "true")
    client.set_terminated(run_id, "FINISHED")
    client.set_terminated(parent_id, "FINISHED")
    return Recorded(parent_id, run_id, {**_seconds(run), **seconds})


@task(task_run_name="draw the bank", **RETRIED)
def record_bank(workspace: Workspace) -> None:
    """Show on the page of the stream which rows its bank reads now; it costs seconds, so once a run.

    Raises:
        PassingError: MLflow is out of reach.
        RegistryError: MLflow refuses.
    """
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / "bank.png"
        if draw_bank(picture, workspace):
            with connected(workspace) as client:
                stream = _stream(client, experiment_of(client, workspace), workspace)
                client.log_artifact(stream.info.run_id, str(picture), "pictures")


@task(task_run_name="record {kind}", **RETRIED)
def record_report(workspace: Workspace, kind: str, text: str) -> None:
    """Keep a report where the MLflow UI shows it; the same one is kept once.

    Raises:
        PassingError: MLflow is out of reach.
        RegistryError: MLflow refuses.
    """
    with connected(workspace) as client:
        key = f"{kind}:{workspace.identity}:{sha256_json(text)}"
        tags = {"evernorm.kind": kind}
        run = find_or_create(client, experiment_of(client, workspace), key=key, name=kind, tags=tags)
        if run.info.status != "FINISHED":
            client.log_text(run.info.run_id, text, f"{kind}.md")
            client.set_terminated(run.info.run_id, "FINISHED")


def experiences_of(client: "MlflowClient", workspace: Workspace, name: str) -> "list[Run]":
    """The complete records of a class in a workspace, in order of time; a server may hold other workspaces' too."""
    wanted = {"kind": "experience", "complete": "true", "class": name}
    asked = [f"tags.`evernorm.{tag}` = '{value}'" for tag, value in wanted.items()]
    asked.append(f"tags.`{KEY}` LIKE 'experience:{workspace.identity}:%'")
    experiment = experiment_of(client, workspace)
    return list(client.search_runs([experiment], " and ".join(asked), order_by=["attributes.start_time ASC"]))


def workspace_of(client: "MlflowClient", run_id: str | None) -> str | None:
    """The id of the workspace that a run comes from; None where there is no such run, or it is not evernorm's."""
    from mlflow.exceptions import MlflowException

    try:
        key = client.get_run(run_id).data.tags.get(KEY, "") if run_id else ""
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        key = ""
    return key.split(":")[1] if ":" in key else None


def _seconds(run: "Run") -> dict[str, float]:
    """What the stages took, by a record that is there."""
    took: dict[str, float] = json.loads(run.data.tags.get(_TOOK, "{}"))
    return took


def _stream(client: "MlflowClient", experiment: str, workspace: Workspace) -> "Run":
    """The run of the stream, whose children are those of its experiences."""
    method = workspace.params.method
    return find_or_create(
        client,
        experiment,
        key=f"stream:{workspace.identity}:{method}",
        name=f"{method} stream",
        tags={"evernorm.kind": "stream", **origin()},
    )


def _log_training(
    client: "MlflowClient", run_id: str, workspace: Workspace, name: str, classes: list[str]
) -> None:
    """Loss and its terms, and the criterion on held-out images, of each epoch; nothing where nothing was trained.

    Of what was replayed of each class before, the share of the samples that passed the gate.
    """
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    # A loss belongs to the epoch that it ends; what is measured on held-out images is so before the first, too.
    points = [
        Metric(f"prompt/{key}", float(value), now, epoch + key.startswith("loss"))
        for key, curve in training_history(workspace, name).items()
        for epoch, value in enumerate(curve)
    ]
    trained = trained_arrays(workspace, name)
    if "replay.accepted" in trained:
        shares = trained["replay.accepted"] / trained["replay.tried"]
        points += [
            Metric(f"replay/{earlier}", float(share), now, 0)
            for earlier, share in zip(classes[: classes.index(name)], shares, strict=True)
        ]
    if points:
        client.log_batch(run_id, metrics=points)


def _log_data(client: "MlflowClient", run_id: str, workspace: Workspace, name: str) -> None:
    from mlflow.entities import Dataset, DatasetInput, InputTag

    manifest = Manifest.load(workspace.paths.manifest(name))
    dataset = Dataset(
        name=name,
        digest=data_hash(workspace.root, name)[:36],
        source_type="dvc",
        source=f'{{"path": "data/{name}", "dvc": "{data_hash(workspace.root, name)}"}}',
        profile=f'{{"train": {len(manifest.train)}, "test": {len(manifest.test)}}}',
    )
    client.log_inputs(run_id, [DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])])

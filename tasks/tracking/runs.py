"""MLflow: one parent run a stream, one child run an experience; found again by tag, never duplicated."""

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from prefect import task

from evernorm.data.manifest import Manifest
from evernorm.errors import PipelineError, RegistryError
from evernorm.files import read_json, sha256_file, sha256_json
from evernorm.structure.report import REPORT, flagged
from tasks.faults import mlflow_faults
from tasks.retries import RETRIED
from tasks.stages.stage import result_params
from tasks.tracking.drawing import draw, training_history
from tasks.workspace.pipeline import StageRun, data_hash
from tasks.workspace.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

EXPERIMENT = "evernorm"
_KEY = "evernorm.key"
_COMPLETE = "evernorm.complete"
_SECONDS = "seconds/"


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


def tracking_uri(workspace: Workspace) -> str:
    """MLFLOW_TRACKING_URI, or the workspace's own SQLite file."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{_own_database(workspace)}"


def client_of(workspace: Workspace) -> "MlflowClient":
    """A client of this workspace's tracking server; of its own database, which is made where it is missing."""
    from mlflow import MlflowClient

    if not os.environ.get("MLFLOW_TRACKING_URI") and not _own_database(workspace).exists():
        _make_database(workspace)
    client = MlflowClient(tracking_uri(workspace))
    _refuse_moved(client, workspace)
    return client


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


@contextmanager
def connected(workspace: Workspace) -> "Iterator[MlflowClient]":
    """A client of this workspace's tracking server, whose faults are told as evernorm's.

    Raises:
        PassingError: MLflow is out of reach.
        PipelineError: The workspace was moved.
        RegistryError: MLflow refuses.
    """
    with mlflow_faults(tracking_uri(workspace)):
        yield client_of(workspace)


def experiment_of(client: "MlflowClient", workspace: Workspace) -> str:
    """The experiment's id; made where it is missing, with artifacts beside a local database."""
    from mlflow.exceptions import MlflowException

    if (found := client.get_experiment_by_name(EXPERIMENT)) is not None:
        return str(found.experiment_id)
    local = tracking_uri(workspace).startswith("sqlite:")
    try:
        place = (workspace.root / "mlartifacts").as_uri() if local else None
        return str(client.create_experiment(EXPERIMENT, artifact_location=place))
    except MlflowException:
        if (found := client.get_experiment_by_name(EXPERIMENT)) is not None:  # another process was faster
            return str(found.experiment_id)
        raise


@task(task_run_name="record {name}", **RETRIED)
def record(workspace: Workspace, name: str, stage_runs: Sequence[StageRun]) -> Recorded:
    """Log one experience: parameters, figures, pictures, data, versions. Resumes the run of an earlier try.

    Raises:
        PassingError: MLflow is out of reach.
        RegistryError: MLflow refuses.
    """
    with connected(workspace) as client:
        return _record(client, workspace, name, stage_runs)


def _record(
    client: "MlflowClient", workspace: Workspace, name: str, stage_runs: Sequence[StageRun]
) -> Recorded:
    root = workspace.root
    experiment = experiment_of(client, workspace)
    params, metrics = workspace.params, read_json(workspace.paths.metrics(name))
    step = len(metrics["classes"])
    parent = _find_or_create(
        client,
        experiment,
        key=f"stream:{workspace.identity}:{params.method}",
        name=f"{params.method} stream",
        tags={"evernorm.kind": "stream"},
    )
    # What was learned, from what: another parameter or another result is another run, a retry is not.
    digest = sha256_json(
        [
            result_params(params),
            data_hash(root, name),
            sha256_file(workspace.paths.metrics(name)),
            sha256_file(workspace.paths.bank(name, "evaluation") / "links.json"),  # pins the classes before
        ]
    )
    run = _find_or_create(
        client,
        experiment,
        key=f"experience:{workspace.identity}:{name}:{digest}",
        name=f"{step:02d} {workspace.display(name)}",
        tags={
            "evernorm.kind": "experience",
            "evernorm.class": name,
            "mlflow.parentRunId": parent.info.run_id,
        },
    )
    run_id, parent_id = run.info.run_id, parent.info.run_id
    if run.data.tags.get(_COMPLETE) == "true":  # a finished record is never written again
        return Recorded(parent_id, run_id, _seconds(run))
    _log_params(client, run_id, _flat(result_params(params)))
    _log_params(client, parent_id, _flat({"method": params.method}))
    seconds = {each.stage: each.seconds for each in stage_runs if each.seconds is not None}
    timed = {f"{_SECONDS}{stage}": took for stage, took in seconds.items()}
    _log_metrics(client, run_id, {**_figures(metrics), **timed}, step)
    _log_metrics(client, parent_id, _figures(metrics), step)
    _log_structure(client, run_id, workspace, name, step)
    _log_training(client, run_id, workspace, name)
    _log_data(client, run_id, workspace, name)
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), workspace, name, metrics)
        client.log_artifacts(run_id, folder, "pictures")
        client.log_artifact(parent_id, str(Path(folder) / "accuracy_matrix.png"), "pictures")
    client.log_dict(run_id, metrics, "metrics.json")
    client.set_tag(run_id, _COMPLETE, "true")
    client.set_terminated(run_id, "FINISHED")
    client.set_terminated(parent_id, "FINISHED")
    return Recorded(parent_id, run_id, {**_seconds(run), **seconds})


@task(task_run_name="record variant {variant}", **RETRIED)
def record_variant(workspace: Workspace, variant: str, summary_file: Path) -> str:
    """Make a run of a variant of an ablation: its parameters, its last figures, its summary; found again, not repeated.

    Returns:
        The run.

    Raises:
        PassingError: MLflow is out of reach.
        RegistryError: MLflow refuses.
    """
    with connected(workspace) as client:
        params, metrics = workspace.params, read_json(workspace.paths.metrics(workspace.params.order[-1]))
        digest = sha256_json([variant, result_params(params), metrics])
        run = _find_or_create(
            client,
            experiment_of(client, workspace),
            key=f"variant:{workspace.identity}:{digest}",
            name=f"{variant}, seed {params.seed}",
            tags={"evernorm.kind": "variant", "evernorm.variant": variant},
        )
        run_id = str(run.info.run_id)
        if run.data.tags.get(_COMPLETE) != "true":
            _log_params(client, run_id, _flat(result_params(params)))
            _log_metrics(client, run_id, _figures(metrics), 0)
            client.log_artifact(run_id, str(summary_file))
            client.set_tag(run_id, _COMPLETE, "true")
            client.set_terminated(run_id, "FINISHED")
    return run_id


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
        run = _find_or_create(client, experiment_of(client, workspace), key=key, name=kind, tags=tags)
        if run.info.status != "FINISHED":
            client.log_text(run.info.run_id, text, f"{kind}.md")
            client.set_terminated(run.info.run_id, "FINISHED")


def experiences_of(client: "MlflowClient", workspace: Workspace, name: str) -> "list[Run]":
    """The complete records of a class in a workspace, in order of time; a server may hold other workspaces' too."""
    wanted = {"kind": "experience", "complete": "true", "class": name}
    asked = [f"tags.`evernorm.{tag}` = '{value}'" for tag, value in wanted.items()]
    asked.append(f"tags.`{_KEY}` LIKE 'experience:{workspace.identity}:%'")
    experiment = experiment_of(client, workspace)
    return list(client.search_runs([experiment], " and ".join(asked), order_by=["attributes.start_time ASC"]))


def workspace_of(client: "MlflowClient", run_id: str | None) -> str | None:
    """The id of the workspace that a run comes from; None where there is no such run, or it is not evernorm's."""
    from mlflow.exceptions import MlflowException

    try:
        key = client.get_run(run_id).data.tags.get(_KEY, "") if run_id else ""
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        key = ""
    return key.split(":")[1] if ":" in key else None


def is_complete(client: "MlflowClient", run_id: str) -> bool:
    """Whether the record of an experience is there, and whole."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    return run.info.lifecycle_stage == "active" and run.data.tags.get(_COMPLETE) == "true"


def _seconds(run: "Run") -> dict[str, float]:
    """What the stages took, by a record that is there."""
    figures = run.data.metrics
    return {
        name.removeprefix(_SECONDS): value for name, value in figures.items() if name.startswith(_SECONDS)
    }


def _find_or_create(
    client: "MlflowClient", experiment: str, *, key: str, name: str, tags: Mapping[str, str]
) -> "Run":
    found = client.search_runs(
        [experiment], f"tags.`{_KEY}` = '{key}'", order_by=["attributes.start_time ASC"]
    )
    if found:
        return found[0]
    return client.create_run(experiment, run_name=name, tags={_KEY: key, **tags})


def _log_params(client: "MlflowClient", run_id: str, params: Mapping[str, str]) -> None:
    from mlflow.entities import Param

    known = client.get_run(run_id).data.params
    clash = {key for key, value in params.items() if key in known and known[key] != value}
    if clash:
        raise RegistryError(f"run {run_id} was logged with other parameters: {', '.join(sorted(clash))}")
    client.log_batch(run_id, params=[Param(key, value) for key, value in params.items() if key not in known])


def _log_metrics(client: "MlflowClient", run_id: str, values: Mapping[str, float | None], step: int) -> None:
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    client.log_batch(
        run_id, metrics=[Metric(k, float(v), now, step) for k, v in values.items() if v is not None]
    )


def _log_structure(client: "MlflowClient", run_id: str, workspace: Workspace, name: str, step: int) -> None:
    """Regions an image, and how many images are reported; nothing where no structure was asked for."""
    path = workspace.paths.masks(name) / REPORT
    if path.is_file():
        found = read_json(path)
        figures = {f"masks/regions_{which}": value for which, value in found["regions"].items()}
        _log_metrics(client, run_id, {**figures, "masks/reported": len(flagged(found))}, step)
        client.log_artifact(run_id, str(path), "masks")


def _log_training(client: "MlflowClient", run_id: str, workspace: Workspace, name: str) -> None:
    """Loss, and the criterion on held-out images, of each epoch; nothing where nothing was trained."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    # A loss belongs to the epoch that it ends; what is measured on held-out images is so before the first, too.
    points = [
        Metric(f"prompt/{key}", float(value), now, epoch + (key == "loss"))
        for key, curve in training_history(workspace, name).items()
        for epoch, value in enumerate(curve)
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


def _figures(metrics: Mapping[str, Any]) -> dict[str, float | None]:
    """The figures of an experience under the names they have in the MLflow UI."""
    flat: dict[str, float | None] = {
        "routing_accuracy": metrics["routing_accuracy"],
        "bank_bytes": metrics["bank_bytes"],
    }
    if metrics["unknown"]:
        flat |= {
            f"unknown/{key}": metrics["unknown"][key] for key in ("recognised", "good_rate", "defective_rate")
        }
    for group in ("mean", "pooled", "forgetting"):
        flat |= {f"{group}/{key}": value for key, value in metrics[group].items()}
    flat |= {f"oracle/{key}": value for key, value in metrics["oracle"].items() if key != "per_class"}
    for name, values in metrics["per_class"].items():
        flat |= {f"{name}/{key}": value for key, value in values.items()}
    return flat


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = str(value)
    return flat

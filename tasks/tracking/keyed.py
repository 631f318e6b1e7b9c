"""A run of MLflow: found again by its key, never duplicated, written again only until it is complete."""

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from evernorm import __version__
from evernorm.errors import RegistryError
from tasks.tracking.figures import in_words, weak
from tasks.tracking.people import user
from tasks.tracking.server import EXPERIMENT, tracking_uri
from tasks.workspace.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

KEY = "evernorm.key"
COMPLETE = "evernorm.complete"


def experiment_of(client: "MlflowClient", workspace: Workspace, name: str = EXPERIMENT) -> str:
    """The experiment's id; made where it is missing, with artifacts beside a local database."""
    from mlflow.exceptions import MlflowException

    if (found := client.get_experiment_by_name(name)) is not None:
        return str(found.experiment_id)
    try:
        local = tracking_uri(workspace).startswith("sqlite:")
        place = (workspace.root / "mlartifacts").as_uri() if local else None
        return str(client.create_experiment(name, artifact_location=place))
    except MlflowException:
        if (found := client.get_experiment_by_name(name)) is not None:  # another process was faster
            return str(found.experiment_id)
        raise


def is_complete(client: "MlflowClient", run_id: str) -> bool:
    """Whether the record of an experience is there, and whole."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id)
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise
    return run.info.lifecycle_stage == "active" and run.data.tags.get(COMPLETE) == "true"


def origin() -> dict[str, str]:
    """Whose run it is, and what made it, as MLflow's columns Created by and Source show them."""
    return {
        "mlflow.user": user(),
        "mlflow.source.name": f"evernorm {__version__}",
        "mlflow.source.type": "LOCAL",
    }


def find_or_create(
    client: "MlflowClient", experiment: str, *, key: str, name: str, tags: Mapping[str, str]
) -> "Run":
    """The run of this key; made where there is none."""
    found = client.search_runs(
        [experiment], f"tags.`{KEY}` = '{key}'", order_by=["attributes.start_time ASC"]
    )
    if found:
        return found[0]
    return client.create_run(experiment, run_name=name, tags={KEY: key, **tags})


def log_params(client: "MlflowClient", run_id: str, params: Mapping[str, str]) -> None:
    """Log parameters that are not there yet.

    Raises:
        RegistryError: The run has others.
    """
    from mlflow.entities import Param

    known = client.get_run(run_id).data.params
    clash = {key for key, value in params.items() if key in known and known[key] != value}
    if clash:
        raise RegistryError(f"run {run_id} was logged with other parameters: {', '.join(sorted(clash))}")
    client.log_batch(run_id, params=[Param(key, value) for key, value in params.items() if key not in known])


def log_metrics(client: "MlflowClient", run_id: str, values: Mapping[str, float], step: int) -> None:
    """Log figures at a step."""
    from mlflow.entities import Metric

    now = int(time.time() * 1000)
    client.log_batch(run_id, metrics=[Metric(name, value, now, step) for name, value in values.items()])


def describe(
    client: "MlflowClient", runs: Sequence[str], metrics: Mapping[str, Any], display: Mapping[str, str]
) -> None:
    """Say on the pages of runs how good each class is, and of which class little is found."""
    text = in_words(metrics, display)
    little = {display[name]: share for name, share in weak(metrics).items()}
    told = [f"Only {share:.0%} of the defects of {name} are found." for name, share in little.items()]
    for run in runs:
        client.set_tag(run, "mlflow.note.content", "\n\n".join([*told, text]))
        client.set_tag(run, "evernorm.finds_little", ", ".join(little))

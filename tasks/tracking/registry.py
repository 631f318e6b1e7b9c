"""MLflow's model registry: the bank, one version each time it grows or changes."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import task

from evernorm import __version__
from evernorm.files import read_json, sha256_file
from tasks.retries import RETRIED
from tasks.tracking.runs import Recorded, connected
from tasks.workspace.forget import Forgotten
from tasks.workspace.pipeline import data_hash
from tasks.workspace.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

MODEL = "continual-bank"
CANDIDATE = "candidate"
CHAMPION = "champion"


@task(task_run_name="register {name}", **RETRIED)
def register(root: Path, name: str, recorded: Recorded, forgot: Forgotten | None = None) -> str:
    """Register the bank of an experience as a version; it is nobody's champion yet.

    A version that an earlier try registered is found by its run and not registered again.

    Args:
        root: The workspace.
        name: The class of the experience.
        recorded: Its runs.
        forgot: What has just been forgotten: the bank that remains is a version of its own, tagged with it, also
            where an earlier version holds the same bank.

    Returns:
        The version's number.

    Raises:
        PassingError: MLflow is out of reach.
        RegistryError: MLflow refuses.
    """
    workspace = Workspace.open(root)
    with connected(workspace) as client:
        version = _version_of(client, recorded.run, forgot)
        return str((version or _create(client, workspace, name, recorded, forgot)).version)


@task(task_run_name="stamp version {version}", **RETRIED)
def stamp(root: Path, runs: Sequence[str], version: str) -> None:
    """Tie runs and their version to the commit that describes them; a stamp is never changed.

    Raises:
        PassingError: MLflow is out of reach.
        RegistryError: MLflow refuses.
    """
    workspace = Workspace.open(root)
    tags = {
        "evernorm.git_commit": workspace.head,
        "evernorm.git_dirty": str(workspace.dirty).lower(),
        "evernorm.dvc_lock": sha256_file(root / "dvc.lock"),
    }
    with connected(workspace) as client:
        for run in runs:
            known = client.get_run(run).data.tags
            for tag in tags.keys() - known.keys():
                client.set_tag(run, tag, tags[tag])
        known = client.get_model_version(MODEL, version).tags
        for tag in tags.keys() - known.keys():
            client.set_model_version_tag(MODEL, version, tag, tags[tag])


def champion_of(client: "MlflowClient") -> "ModelVersion | None":
    """The version that the alias names, if any."""
    from mlflow.exceptions import MlflowException

    try:
        return client.get_model_version_by_alias(MODEL, CHAMPION)
    except MlflowException as error:
        if error.error_code in {
            "RESOURCE_DOES_NOT_EXIST",
            "INVALID_PARAMETER_VALUE",
        }:  # no model, or no champion
            return None
        raise


def classes_of(version: "ModelVersion") -> list[str]:
    """The classes that a version knows."""
    return [each for each in version.tags.get("evernorm.classes", "").split(",") if each]


def data_of(version: "ModelVersion") -> dict[str, str]:
    """DVC's hash of the images of each class that a version knows."""
    hashes: dict[str, str] = json.loads(version.tags.get("evernorm.data", "{}"))
    return hashes


def ensure_model(client: "MlflowClient", name: str, description: str) -> None:
    """Make a registered model where it is missing."""
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(name, description=description)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def versions_that_know(workspace: Workspace, name: str) -> list[str]:
    """The registered versions whose bank holds a class, in order.

    Raises:
        PassingError: MLflow is out of reach.
        RegistryError: MLflow refuses.
    """
    with connected(workspace) as client:
        found = client.search_model_versions(f"name = '{MODEL}'")
    return [str(number) for number in sorted(int(each.version) for each in found if name in classes_of(each))]


def _version_of(
    client: "MlflowClient", run_id: str, forgot: Forgotten | None = None
) -> "ModelVersion | None":
    """The newest version of a run; where something was forgotten, the one that was made for it."""
    found = client.search_model_versions(f"name = '{MODEL}' and run_id = '{run_id}'")
    wanted = _tags(forgot).items()
    return max(
        (version for version in found if wanted <= version.tags.items()),
        key=lambda version: int(version.version),
        default=None,
    )


def _tags(forgot: Forgotten | None) -> dict[str, str]:
    if forgot is None:
        return {}
    return {
        "evernorm.forgot": forgot.name,
        "evernorm.reason": forgot.reason,
        "evernorm.forgot_at": forgot.at,
    }


def _create(
    client: "MlflowClient", workspace: Workspace, name: str, recorded: Recorded, forgot: Forgotten | None
) -> "ModelVersion":
    ensure_model(client, MODEL, "Detects defects in every class learned so far.")
    if _version_of(client, recorded.run) is None:  # otherwise the run holds this bank already
        with tempfile.TemporaryDirectory() as folder:
            _save_model(Path(folder) / "bank", workspace, name)
            client.log_artifacts(recorded.run, str(Path(folder) / "bank"), "bank")
    classes = read_json(workspace.paths.metrics(name))["classes"]
    artifacts = client.get_run(recorded.run).info.artifact_uri
    return client.create_model_version(
        MODEL,
        source=f"{artifacts}/bank",
        run_id=recorded.run,
        tags={
            "evernorm.class": name,
            "evernorm.classes": ",".join(classes),
            "evernorm.data": json.dumps({each: data_hash(workspace.root, each) for each in classes}),
            **_tags(forgot),
        },
        description=f"after forgetting {forgot.name}" if forgot else f"after learning {name}",
    )


def _save_model(folder: Path, workspace: Workspace, name: str) -> None:
    """Write the bank as a pyfunc model: a loader module and data, no pickle."""
    import pandas as pd
    from mlflow import pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema
    from mlflow.types.schema import AnyType, Array, DataType

    # Any: a column of encoded bytes or of arrays.
    inputs = Schema([ColSpec(AnyType(), "image")])  # type: ignore[no-untyped-call]
    outputs = Schema(
        [
            ColSpec(DataType.string, "class"),
            ColSpec(DataType.double, "score"),
            ColSpec(DataType.double, "probability"),
            ColSpec(DataType.double, "p_value"),
            ColSpec(DataType.boolean, "anomalous"),
            ColSpec(Array(Array(DataType.double)), "map"),
        ]
    )
    pyfunc.save_model(
        folder,
        loader_module="evernorm.serve",
        data_path=str(workspace.paths.model(name)),
        signature=ModelSignature(inputs, outputs),
        input_example=pd.DataFrame({"image": [_example_image()]}),
        pip_requirements=[f"evernorm=={__version__}"],
    )


def _example_image() -> str:
    """A plain grey image as base64: an example must not carry a product's (or a patient's) picture along."""
    import base64
    import io

    from PIL import Image

    encoded = io.BytesIO()
    Image.new("RGB", (64, 64), "grey").save(encoded, "PNG")
    return base64.b64encode(encoded.getvalue()).decode()

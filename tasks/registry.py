"""MLflow's model registry: one version an experience, a gate, and who is champion."""

import tempfile
from collections.abc import Mapping, Set
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from evernorm import __version__
from evernorm.errors import RegistryError
from evernorm.files import read_json
from evernorm.params import GateParams
from tasks.faults import is_passing, mlflow_faults
from tasks.forget import Forgotten, forgotten
from tasks.tracking import Recorded, client_of, tracking_uri
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

MODEL = "continual-bank"
CANDIDATE = "candidate"
CHAMPION = "champion"
SUPERSEDED = "superseded"
PASSED, REFUSED = "passed", "refused"


@dataclass(frozen=True)
class Registered:
    """A version of the bank.

    Attributes:
        name: The model's name.
        version: Its number.
        alias: ``champion``, ``candidate`` where the gate refused it, ``superseded`` where the champion knows more.
        reasons: Why it was refused.
    """

    name: str
    version: str
    alias: str
    reasons: tuple[str, ...]


@task(
    task_run_name="register {name}",
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=[1, 3, 10],
    retry_condition_fn=is_passing,
)
def register(root: Path, name: str, recorded: Recorded, forgot: Forgotten | None = None) -> Registered:
    """Register the bank of an experience as a version, make it candidate, and let the gate decide.

    A version that an earlier try registered is found by its run and not registered again.

    Args:
        root: The workspace.
        name: The class of the experience.
        recorded: Its runs.
        forgot: What has just been forgotten: the bank that remains is a version of its own, tagged with it, also
            where an earlier version holds the same bank.

    Raises:
        PassingError: MLflow is out of reach.
        RegistryError: MLflow refuses, or another champion was made meanwhile.
    """
    workspace = Workspace.open(root)
    with mlflow_faults(tracking_uri(workspace)):
        return _register(workspace, name, recorded, forgot)


def _register(workspace: Workspace, name: str, recorded: Recorded, forgot: Forgotten | None) -> Registered:
    client = client_of(workspace)
    champion = champion_of(client)
    version = _version_of(client, recorded.run, forgot) or _create(client, workspace, name, recorded, forgot)
    metrics = read_json(workspace.paths.metrics(name))
    stands = champion is not None and champion.version == version.version
    lost = _lost(metrics, champion, {each.name for each in forgotten(workspace)})
    # Decided afresh each time: bounds may have changed, and a parameter changed back brings its bank back.
    reasons = refusals(metrics, workspace.params.gate)
    if (
        lost and not stands
    ):  # an early experience of a stream that is learned again must not replace a full bank
        reasons = [
            *reasons,
            f"the champion, version {champion.version if champion else ''}, also knows {', '.join(lost)}",
        ]
        return Registered(MODEL, str(version.version), SUPERSEDED, tuple(reasons))
    if not stands:
        client.set_registered_model_alias(MODEL, CANDIDATE, version.version)
        if not reasons:
            promote(client, version.version, seen=str(champion.version) if champion else None)
    decision = {"gate": REFUSED if reasons else PASSED, "gate.reason": "; ".join(reasons)}
    for tag, value in decision.items():
        if version.tags.get(tag, "") != value:
            client.set_model_version_tag(MODEL, version.version, tag, value)
    return Registered(
        MODEL, str(version.version), CANDIDATE if reasons and not stands else CHAMPION, tuple(reasons)
    )


def _lost(metrics: Mapping[str, Any], champion: "ModelVersion | None", on_purpose: Set[str]) -> list[str]:
    """Classes that the champion knows and the candidate does not, but for those forgotten on purpose."""
    known = _classes(champion) if champion is not None else []
    return [each for each in known if each not in on_purpose and each not in metrics["classes"]]


def _classes(version: "ModelVersion") -> list[str]:
    return [each for each in version.tags.get("evernorm.classes", "").split(",") if each]


def versions_that_know(workspace: Workspace, name: str) -> list[str]:
    """The registered versions whose bank holds a class, in order.

    Raises:
        PassingError: MLflow is out of reach.
        RegistryError: MLflow refuses.
    """
    with mlflow_faults(tracking_uri(workspace)):
        found = client_of(workspace).search_model_versions(f"name = '{MODEL}'")
    return [str(number) for number in sorted(int(each.version) for each in found if name in _classes(each))]


def refusals(metrics: Mapping[str, Any], gate: GateParams) -> list[str]:
    """Why the gate refuses a candidate; empty where it passes. A figure that is undefined refuses nothing."""
    newest = metrics["per_class"][metrics["class"]]["image_auroc"]
    checks = (
        ("forgetting", metrics["forgetting"]["chaudhry"], gate.max_forgetting, False),
        (f"image AUROC of {metrics['class']}", newest, gate.min_image_auroc, True),
        ("routing accuracy", metrics["routing_accuracy"], gate.min_routing_accuracy, True),
    )
    return [
        f"{what} {value:.3f} is {'below' if at_least else 'above'} {bound}"
        for what, value, bound, at_least in checks
        if value is not None and (value < bound if at_least else value > bound)
    ]


def champion_of(client: "MlflowClient") -> "ModelVersion | None":
    """The champion that stands, if any."""
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


def promote(client: "MlflowClient", version: str, *, seen: str | None) -> None:
    """Make a version champion, if the champion is still the one the decision was made against.

    Aliases keep no history, so the version records when it was promoted and from which champion.

    Raises:
        RegistryError: Another champion stands.
    """
    stands = champion_of(client)
    if (str(stands.version) if stands else None) != seen:
        raise RegistryError(
            f"version {version} was judged against champion {seen or 'none'}, but {stands.version if stands else 'none'} "
            f"stands now; run the gate again"
        )
    client.set_registered_model_alias(MODEL, CHAMPION, version)
    client.set_model_version_tag(MODEL, version, "promoted.from", seen or "none")
    client.set_model_version_tag(
        MODEL, version, "promoted.at", datetime.now(UTC).isoformat(timespec="seconds")
    )


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
    from mlflow.exceptions import MlflowException

    try:
        client.create_registered_model(MODEL, description="Detects defects in every class learned so far.")
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    if _version_of(client, recorded.run) is None:  # otherwise the run holds this bank already
        with tempfile.TemporaryDirectory() as folder:
            _save_model(Path(folder) / "bank", workspace, name)
            client.log_artifacts(recorded.run, str(Path(folder) / "bank"), "bank")
    artifacts = client.get_run(recorded.run).info.artifact_uri
    return client.create_model_version(
        MODEL,
        source=f"{artifacts}/bank",
        run_id=recorded.run,
        tags={
            "evernorm.class": name,
            "evernorm.classes": ",".join(read_json(workspace.paths.metrics(name))["classes"]),
            "evernorm.git_commit": workspace.head,
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

"""MLflow's model registry: the bank, one version each time it grows or changes."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task

from evernorm import __version__
from evernorm.features.frozen import BACKBONE
from evernorm.features.kit import Kit
from evernorm.files import read_json, sha256_file
from evernorm.methods.bank import bank_digest
from evernorm.methods.registry import learners
from evernorm.serve import ANSWER, COLUMN, MAPS
from tasks.retries import RETRIED
from tasks.tracking.figures import in_words
from tasks.tracking.occasion import Occasion
from tasks.tracking.ownership import Registry, registry_of
from tasks.tracking.runs import Recorded
from tasks.tracking.server import connected
from tasks.workspace.pipeline import data_hash
from tasks.workspace.workspace import Workspace

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

_LONGEST = 4900  # characters; MLflow keeps 5000
CANDIDATE = "candidate"
CHAMPION = "champion"


@task(task_run_name="register {name}", **RETRIED)
def register(workspace: Workspace, name: str, recorded: Recorded, occasion: Occasion | None = None) -> str:
    """Register the bank of an experience as a version; it is nobody's champion yet.

    A version that an earlier try registered is found by its run and not registered again.

    Args:
        workspace: The workspace.
        name: The class of the experience.
        recorded: Its runs.
        occasion: What a person has just done to the bank: it is a version of its own, tagged with it, also where an
            earlier version holds the same bank.

    Returns:
        The version's number.

    Raises:
        PassingError: MLflow is out of reach.
        RegistryError: MLflow refuses.
    """
    with registry_of(workspace) as registry:
        version = _version_of(registry, recorded.run, occasion)
        return str((version or _create(registry, workspace, name, recorded, occasion)).version)


@task(task_run_name="stamp", **RETRIED)
def stamp(workspace: Workspace, runs: Sequence[str], version: str | None = None) -> None:
    """Tie runs, and their version if they have one, to the commit that describes them; a stamp is never changed.

    Raises:
        PassingError: MLflow is out of reach.
        RegistryError: MLflow refuses.
    """
    tags = {
        "evernorm.git_commit": workspace.head,
        "evernorm.git_dirty": str(workspace.dirty).lower(),
        "evernorm.dvc_lock": sha256_file(workspace.root / "dvc.lock"),
    }
    with connected(workspace) as client:
        for run in runs:
            known = client.get_run(run).data.tags
            for tag in tags.keys() - known.keys():
                client.set_tag(run, tag, tags[tag])
    if version is not None:
        with registry_of(workspace) as registry:
            made = registry.version(version)
            registry.set_tags(made, {tag: value for tag, value in tags.items() if tag not in made.tags})


def champion_of(registry: Registry) -> "ModelVersion | None":
    """The version that the alias names, if any."""
    from mlflow.exceptions import MlflowException

    try:
        return registry.named(CHAMPION)
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


def versions_that_know(workspace: Workspace, name: str) -> list[str]:
    """The registered versions whose bank holds a class, in order.

    Raises:
        PassingError: MLflow is out of reach.
        RegistryError: MLflow refuses.
    """
    with registry_of(workspace) as registry:
        return [str(each.version) for each in registry.versions() if name in classes_of(each)]


def _version_of(registry: Registry, run: str, occasion: Occasion | None = None) -> "ModelVersion | None":
    """The newest version of a run; of an occasion, the one that was made for it."""
    wanted = occasion.tags.items() if occasion else set()
    found = [version for version in registry.versions(run) if wanted <= version.tags.items()]
    return found[-1] if found else None


def _create(
    registry: Registry, workspace: Workspace, name: str, recorded: Recorded, occasion: Occasion | None
) -> "ModelVersion":
    client = registry.client
    if _version_of(registry, recorded.run) is None:  # otherwise the run holds this bank already
        with tempfile.TemporaryDirectory() as folder:
            _save_model(Path(folder) / "bank", workspace, name)
            client.log_artifacts(recorded.run, str(Path(folder) / "bank"), "bank")
    metrics = read_json(workspace.paths.metrics(name))
    classes = metrics["classes"]
    artifacts = client.get_run(recorded.run).info.artifact_uri
    return client.create_model_version(
        registry.name,
        source=f"{artifacts}/bank",
        run_id=recorded.run,
        tags={
            "evernorm.class": name,
            "evernorm.classes": ",".join(classes),
            "evernorm.data": json.dumps({each: data_hash(workspace.root, each) for each in classes}),
            "evernorm.bank": bank_digest(workspace.paths.model(name)),
            "evernorm.set_aside": json.dumps(workspace.params.set_aside),
            **(occasion.tags if occasion else {}),
        },
        description=described(
            workspace,
            metrics,
            f"After {occasion.told}: {occasion.reason}"
            if occasion
            else f"After learning {workspace.display(name)}",
        ),
    )


def described(
    workspace: Workspace, metrics: Mapping[str, Any], why: str, verdict: str = "not decided yet"
) -> str:
    """What MLflow's page says of a version, as Markdown.

    Args:
        workspace: The workspace.
        metrics: Of the bank.
        why: Why there is this version, in a line; the first of the text.
        verdict: What the gate said.
    """
    figures = in_words(metrics, workspace.displays(metrics["classes"]))
    text = "\n\n".join([why, f"Gate: {verdict}", figures])
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 2]} …"


def _save_model(folder: Path, workspace: Workspace, name: str) -> None:
    """Write the bank as a pyfunc model: a loader module and data, no pickle."""
    import pandas as pd
    from mlflow import pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import AnyType, Array, DataType

    text = DataType.string
    kinds: dict[str, DataType | Array | AnyType] = {
        "string": text,
        "boolean": DataType.boolean,
        "double": DataType.double,
        "longs": Array(DataType.long),
        "any": AnyType(),  # type: ignore[no-untyped-call]
    }
    answer = {"bank": "string", "error": "string", **ANSWER}
    # Text: with any other type MLflow's server takes only some of its own payload forms.
    inputs = Schema([ColSpec(text, COLUMN)])
    outputs = Schema([ColSpec(kinds[kind], name, required=name == "bank") for name, kind in answer.items()])
    params = ParamSchema([ParamSpec("map", text, MAPS[0])])
    pyfunc.save_model(
        folder,
        loader_module="evernorm.serve",
        data_path=str(workspace.paths.model(name)),
        signature=ModelSignature(inputs, outputs, params),
        input_example=pd.DataFrame({COLUMN: [_example_image()]}),
        pip_requirements=[requirement(workspace.params.method, workspace.paths.model(name))],
    )


def requirement(method: str, bank: Path) -> str:
    """What a machine that serves a bank of a method installs; torch where it was stored without graphs."""
    extra = learners()[method].extra or ("" if Kit.is_stored(bank, BACKBONE) else "torch")
    return f"evernorm[{extra}]=={__version__}" if extra else f"evernorm=={__version__}"


def _example_image() -> str:
    """A plain grey image as base64: an example must not carry a product's (or a patient's) picture along."""
    import base64
    import io

    from PIL import Image

    encoded = io.BytesIO()
    Image.new("RGB", (64, 64), "grey").save(encoded, "PNG")
    return base64.b64encode(encoded.getvalue()).decode()

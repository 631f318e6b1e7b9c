"""What MLflow says of a version, of its run, and of who was champion."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from evernorm.errors import PipelineError, RegistryError, StateError
from evernorm.files import is_plain_name
from evernorm.params.dotted import looked_up
from evernorm.params.groups import RegistryParams
from tasks.audit.commit import Commit
from tasks.audit.lock import Described
from tasks.audit.records import read_yaml, sha256
from tasks.audit.report import Notes, Subject
from tasks.tracking.ownership import Registry
from tasks.tracking.promotions import read_log
from tasks.tracking.registry import CHAMPION, champion_of, classes_of

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run
    from mlflow.entities.model_registry import ModelVersion

_ABSENT = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}
_TAGS = tuple(
    f"evernorm.{tag}" for tag in ("class", "classes", "data", "git_commit", "git_dirty", "dvc_lock")
)


def model_name(root: Path) -> str:
    """The registered model that params.yaml names, as far as that can be read; what is wrong with it is found later."""
    try:
        named = looked_up(read_yaml((root / "params.yaml").read_bytes()), "registry.name")
        return RegistryParams.model_validate({} if named is None else {"name": named}).name
    except (OSError, StateError, ValidationError):
        return RegistryParams().name


def find_version(registry: Registry, asked: str) -> "ModelVersion":
    """The version of a number or an alias.

    Raises:
        RegistryError: There is none.
    """
    from mlflow.exceptions import MlflowException

    try:
        return registry.version(asked) if asked.isdecimal() else registry.named(asked)
    except MlflowException as error:
        if error.error_code not in _ABSENT:
            raise
        found = [str(each.version) for each in registry.versions()]
        known = f"versions {', '.join(found)}" if found else "no versions"
        raise RegistryError(f"{registry.name} has no version or alias {asked!r}; it has {known}") from error


def find_run(client: "MlflowClient", version: "ModelVersion") -> "Run":
    """The run that a version points to.

    Raises:
        RegistryError: There is none.
    """
    from mlflow.exceptions import MlflowException

    try:
        return client.get_run(version.run_id or "")
    except MlflowException as error:
        if error.error_code not in _ABSENT:
            raise
        raise RegistryError(
            f"version {version.version} names run {version.run_id!r}, which does not exist"
        ) from error


def subject_of(version: "ModelVersion") -> Subject:
    """A version as the report names it."""
    return Subject(
        name=version.name,
        version=str(version.version),
        aliases=tuple(sorted(version.aliases)),
        classes=tuple(classes_of(version)),
        run=version.run_id or "",
        commit=version.tags.get("evernorm.git_commit", ""),
        dvc_lock=version.tags.get("evernorm.dvc_lock", ""),
    )


def check_version(version: "ModelVersion", notes: Notes) -> None:
    """Look whether the tags of a version are all there and agree with each other."""
    tags, classes, place = version.tags, classes_of(version), f"version {version.version} tag"
    for tag in _TAGS:
        notes.count("registry", "tags")
        if tag not in tags:
            notes.find("registry", f"{place} {tag}", "missing", "a value", "version")
    if "evernorm.git_dirty" in tags:
        notes.compare(
            "registry", f"{place} evernorm.git_dirty", tags["evernorm.git_dirty"], "false", "version"
        )
    if "evernorm.classes" in tags and not all(map(is_plain_name, classes or [""])):
        found = repr(tags["evernorm.classes"])
        notes.find("registry", f"{place} evernorm.classes", found, "names of classes", "version")
    elif classes and "evernorm.class" in tags:
        notes.compare("registry", f"{place} evernorm.class", tags["evernorm.class"], classes[-1], "version")


def check_described(version: "ModelVersion", described: Described, notes: Notes) -> None:
    """Compare the tags of a version with the commit that they name."""
    tags, place = version.tags, f"version {version.version} tag"
    if "evernorm.dvc_lock" in tags:
        notes.compare(
            "registry",
            f"{place} evernorm.dvc_lock",
            tags["evernorm.dvc_lock"],
            described.lock_sha256,
            "version",
        )
    if (content := described.metrics.get(described.classes[-1])) is not None:
        learned = _mapping(content).get("classes")
        known = ",".join(map(str, learned)) if isinstance(learned, list) else None
        notes.compare("registry", f"{place} evernorm.classes", tags["evernorm.classes"], known, "version")
    if "evernorm.data" in tags:
        found = _mapping(tags["evernorm.data"])
        for name in dict.fromkeys([*described.classes, *found]):
            notes.count("registry", "datasets")
            record = described.data.get(name)
            expected = record.md5 if record is not None else None
            notes.compare("registry", f"{place} evernorm.data {name}", found.get(name), expected, "version")


def check_run(run: "Run", version: "ModelVersion", described: Described, notes: Notes) -> None:
    """Compare the tags of a version's run with the version and the commit."""
    tags, name = run.data.tags, described.classes[-1]
    tagged = tags.get("evernorm.git_commit")
    lock = _lock_of_run(tagged, described)
    expected = {"evernorm.complete": "true", "evernorm.class": name, "evernorm.git_dirty": "false"}
    if lock is None:
        expected["evernorm.git_commit"] = described.commit.sha
    else:
        expected["evernorm.dvc_lock"] = lock
    for tag, value in expected.items():
        notes.count("run", "tags")
        notes.compare("run", f"{run.info.run_id} tag {tag}", tags.get(tag), value, "run")
    notes.compare("run", run.info.run_id, run.info.lifecycle_stage, "active", "run")
    notes.compare(
        "registry",
        f"version {version.version} source",
        version.source,
        f"{run.info.artifact_uri}/bank",
        "version",
    )
    if (record := described.data.get(name)) is not None:
        inputs = run.inputs.dataset_inputs if run.inputs else []
        found = next((each.dataset.source for each in inputs if each.dataset.name == name), "")
        notes.count("run", "datasets")
        notes.compare("run", f"{run.info.run_id} data {name}", _mapping(found).get("dvc"), record.md5, "run")


def check_promotions(registry: Registry, notes: Notes) -> None:
    """Look whether the log of promotions is whole and the alias says what its last change says."""
    entries, faults = read_log(registry)
    notes.count("promotions", "changes", len(entries))
    for fault in faults:
        what, _, said = fault.partition(": ")
        notes.find("promotions", what, said, "the record of a change as it was written", "version")
    for entry in entries:
        if entry.stands and not entry.applied:
            what = f"change {entry.number} to version {entry.change.after}"
            notes.find("promotions", what, "not applied", "the alias set for it", "version")
    champion = champion_of(registry)
    last = next((entry.change.after for entry in reversed(entries) if entry.stands), None)
    named = str(champion.version) if champion is not None else None
    notes.compare("promotions", f"alias {CHAMPION} of {registry.name}", named, last, "version")


def _lock_of_run(tagged: str | None, described: Described) -> str | None:
    """SHA-256 of dvc.lock at the commit that a run names, if that describes the version's experience.

    A run is stamped once. A version that was made of it later, as when classes after it were forgotten, has a
    later commit, at which data and metrics of the class are those of the run.
    """
    commit, name = described.commit, described.classes[-1]
    if tagged == commit.sha:
        return described.lock_sha256
    try:
        earlier = Commit.find(commit.root, tagged or "")
        paths = (f"data/{name}.dvc", f"metrics/{name}.json")
        if earlier.precedes(commit) and all(earlier.read(path) == commit.read(path) for path in paths):
            return sha256(earlier.read("dvc.lock"))
    except (PipelineError, StateError):
        pass
    return None


def _mapping(content: str | bytes) -> Mapping[str, Any]:
    """A JSON object; empty where it is none."""
    try:
        value = json.loads(content)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}

"""What MLflow really serves: the registered bank and the figures of the run."""

import json
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from evernorm.errors import StateError
from evernorm.params.dotted import looked_up
from tasks.audit.lock import Described
from tasks.audit.objects import Content, Held, storage_told
from tasks.audit.records import read_yaml
from tasks.audit.report import Notes

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

_LOADER = "evernorm.serve"


def check_artifact(
    uri: str,
    version: "ModelVersion",
    described: Described,
    held: Held,
    notes: Notes,
    exported: Path | None = None,
) -> None:
    """Compare the registered bank, byte by byte, and the run's metrics.json with the commit's; and an exported bank."""
    name, run = described.classes[-1], version.run_id
    with TemporaryDirectory() as folder:
        fetched = _fetched(uri, str(version.source), f"version {version.version}", "version", folder, notes)
        if fetched is not None:
            _check_files(fetched / "data", described, held, notes)
            _check_loader(fetched / "MLmodel", f"data/{name}", notes)
            if exported is not None:
                with notes.reaching("exported"):
                    _check_exported(exported, fetched / "data" / name, version, notes)
        what = f"run {run} metrics.json"
        figures = _fetched(uri, f"runs:/{run}/metrics.json", what, "run", folder, notes)
        if figures is not None and name in described.metrics:
            notes.count("artifact", "metrics")
            if _json(figures.read_bytes()) != _json(described.metrics[name]):
                expected = f"metrics/{name}.json of commit {described.commit}"
                notes.find("artifact", what, "other figures", expected, "run")


def _check_files(data: Path, described: Described, held: Held, notes: Notes) -> None:
    """None changed, none missing, none added."""
    listed = held.lists.get(described.model)
    if listed is None:
        return
    bank = described.model.removeprefix("models/")
    expected = {f"{bank}{path.removeprefix(described.model)}": md5 for path, md5 in listed.items()}
    there = {str(path.relative_to(data)) for path in data.rglob("*") if not path.is_dir()}
    for path in sorted(expected.keys() | there):
        found = None
        if path in there:
            with (data / path).open("rb") as stream:
                found = f"md5 {Content.of(stream).md5}"
        if path in expected:
            notes.count("artifact", "files")
        wanted = f"md5 {expected[path]}" if path in expected else "no such file"
        if found != wanted:
            notes.find("artifact", f"data/{path}", found or "missing", wanted, "version")


def _check_exported(exported: Path, bank: Path, version: "ModelVersion", notes: Notes) -> None:
    """It is what the registered bank is exported as; another version of what exports may give other bytes."""
    from evernorm.export.file import is_export_of

    with TemporaryDirectory() as folder:
        same = is_export_of(exported, bank, (str(version.name), str(version.version)), Path(folder))
    notes.count("exported", "files")
    if not same:
        wanted = f"what version {version.version} is exported as by what is installed here"
        notes.find("exported", exported.name, "other bytes", wanted, "version")


def _check_loader(model: Path, data: str, notes: Notes) -> None:
    """MLmodel says which code reads the bank."""
    try:
        flavour = looked_up(read_yaml(model.read_bytes()), "flavors.python_function")
    except (OSError, StateError):
        flavour = None
    for key, value in {"loader_module": _LOADER, "data": data, "code": None}.items():
        notes.compare("artifact", f"MLmodel {key}", looked_up(flavour, key), value, "version")


def _fetched(uri: str, source: str, what: str, node: str, folder: str, notes: Notes) -> Path | None:
    """Download an artifact; it is missing only if its store answers and does not list it."""
    from mlflow.artifacts import download_artifacts, list_artifacts

    parent, _, leaf = source.rpartition("/")
    try:
        return Path(download_artifacts(artifact_uri=source, dst_path=folder, tracking_uri=uri))
    except Exception:  # each of the stores that MLflow knows has faults of its own
        with notes.reaching("artifact"), storage_told():
            listed = list_artifacts(artifact_uri=f"{parent}/", tracking_uri=uri)
            if any(PurePosixPath(each.path).name == leaf for each in listed):
                notes.skip("artifact", f"{what}: its store lists it but does not give it")
            else:
                notes.find("artifact", what, "missing", "what was registered", node)
        return None


def _json(content: bytes) -> object:
    try:
        return json.loads(content)
    except ValueError:
        return None

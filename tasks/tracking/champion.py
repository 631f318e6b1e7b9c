"""The champion's files for whoever judges images here: fetched once, kept as a checked copy, used where MLflow is away."""

import fcntl
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evernorm.errors import StateError
from evernorm.files import read_json, sha256_files, write_json
from tasks.faults import PassingError
from tasks.tracking.ownership import registry_of
from tasks.tracking.registry import champion_of
from tasks.tracking.server import named_server, tracking_uri
from tasks.workspace.workspace import Workspace

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

_COPIES = ".evernorm/champion"
_RECORD, _MODEL = "copy.json", "model"


@dataclass(frozen=True)
class ChampionFiles:
    """A champion on this disk.

    Attributes:
        bank: The folder of its bank.
        model: Name of the registered model.
        version: Its number.
        fetched: When it was fetched from the server, ISO 8601, UTC, where MLflow could not be asked whether it is
            champion still; None where it was.
    """

    bank: Path
    model: str
    version: str
    fetched: str | None = None


def champion_files(workspace: Workspace) -> ChampionFiles:
    """The files of the champion, from MLflow or, where that is out of reach, the copy that was kept.

    Raises:
        PassingError: MLflow is out of reach and there is no copy.
        StateError: There is no champion, or the copy is damaged.
        RegistryError: MLflow refuses.
    """
    try:
        with registry_of(workspace) as registry:
            version = champion_of(registry)
            if version is None:
                raise StateError(
                    f"{registry.name} has no champion yet; learn a class, or name a stored bank with --bank (an "
                    f"experiment's are in {workspace.root / 'models'})"
                )
            return _fetched(workspace, version)
    except PassingError:
        kept = _kept(workspace)
        if kept is None:
            raise
        return kept


def drop_copy(workspace: Workspace) -> None:
    """Keep no copy any more, as it is of another server's champion."""
    shutil.rmtree(workspace.root / _COPIES, ignore_errors=True)


def _fetched(workspace: Workspace, version: "ModelVersion") -> ChampionFiles:
    """From the copy where it is of this version, else from MLflow; what lies on this disk is not copied."""
    from mlflow.artifacts import download_artifacts

    uri, place = tracking_uri(workspace), workspace.root / _COPIES
    if uri.startswith("sqlite:"):
        source = Path(download_artifacts(version.source, tracking_uri=uri))
        return ChampionFiles(_bank_in(source), version.name, str(version.version))
    wanted = {"server": named_server(workspace), "run": str(version.run_id), "version": str(version.version)}
    record = _record_in(place)
    if record is None or not wanted.items() <= record.items() or not _is_whole(place, record):
        record = _renew(place, version, uri, wanted)
    return _files(place, record)


def _renew(place: Path, version: "ModelVersion", uri: str, wanted: Mapping[str, str]) -> dict[str, Any]:
    """Fetch a version and let it take the place of the copy, which stays until the new one is whole; its record."""
    from mlflow.artifacts import download_artifacts

    new = Path(tempfile.mkdtemp(prefix="champion-", dir=place.parent))
    try:
        download_artifacts(version.source, tracking_uri=uri, dst_path=str(new / _MODEL))
        fetched = datetime.now(UTC).isoformat(timespec="seconds")
        record = {**wanted, "model": version.name, "fetched": fetched, "files": sha256_files(new / _MODEL)}
        write_json(new / _RECORD, record)
        with (place.parent / "champion.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            shutil.rmtree(place, ignore_errors=True)
            new.rename(place)
    finally:
        shutil.rmtree(new, ignore_errors=True)
    return record


def _kept(workspace: Workspace) -> ChampionFiles | None:
    """The copy, every byte as it was fetched; None where there is none.

    Raises:
        StateError: It is damaged.
    """
    place = workspace.root / _COPIES
    if (record := _record_in(place)) is None:
        return None
    if not _is_whole(place, record):
        raise StateError(
            f"the copy of the champion in {place} is damaged; delete it, and it is fetched again"
        )
    return replace(_files(place, record), fetched=record["fetched"])


def _record_in(place: Path) -> dict[str, Any] | None:
    return read_json(place / _RECORD) if (place / _RECORD).is_file() else None


def _is_whole(place: Path, record: Mapping[str, Any]) -> bool:
    return bool(sha256_files(place / _MODEL) == record["files"])


def _files(place: Path, record: Mapping[str, Any]) -> ChampionFiles:
    return ChampionFiles(_bank_in(place / _MODEL), record["model"], record["version"])


def _bank_in(folder: Path) -> Path:
    """The bank's folder inside a pyfunc model."""
    return next(path.parent for path in sorted(folder.rglob("bank.json")))

"""The champion's files for whoever judges images here: fetched once, kept as a checked copy, used where MLflow is away."""

import fcntl
import shutil
import tempfile
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evernorm.errors import StateError
from evernorm.files import read_json, sha256_file, write_json
from tasks.faults import PassingError
from tasks.tracking.ownership import registry_of
from tasks.tracking.registry import champion_of
from tasks.tracking.server import named_server, tracking_uri
from tasks.workspace.workspace import Workspace

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

_COPIES = ".evernorm/champion"
_RECORD = "copy.json"


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
    if not _is_copy_of(place, wanted):
        new = Path(tempfile.mkdtemp(prefix="champion-", dir=place.parent))
        try:
            download_artifacts(version.source, tracking_uri=uri, dst_path=str(new))
            fetched = datetime.now(UTC).isoformat(timespec="seconds")
            record = {**wanted, "model": version.name, "fetched": fetched, "files": _hashes(new)}
            write_json(new / _RECORD, record)
            with (place.parent / "champion.lock").open(
                "w"
            ) as lock:  # the one before stays until this is whole
                fcntl.flock(lock, fcntl.LOCK_EX)
                shutil.rmtree(place, ignore_errors=True)
                new.rename(place)
        finally:
            shutil.rmtree(new, ignore_errors=True)
    return _checked(place, read_json(place / _RECORD))


def _is_copy_of(place: Path, wanted: dict[str, str]) -> bool:
    """Whether the copy is of that version of that server, every byte as it was fetched."""
    if not (place / _RECORD).is_file():
        return False
    record = read_json(place / _RECORD)
    return wanted.items() <= record.items() and bool(_hashes(place) == record["files"])


def _kept(workspace: Workspace) -> ChampionFiles | None:
    """The copy, every byte as it was fetched; None where there is none.

    Raises:
        StateError: It is damaged.
    """
    place = workspace.root / _COPIES
    if not (place / _RECORD).is_file():
        return None
    record = read_json(place / _RECORD)
    return replace(_checked(place, record), fetched=record["fetched"])


def _checked(place: Path, record: dict[str, Any]) -> ChampionFiles:
    if _hashes(place) != record["files"]:
        raise StateError(
            f"the copy of the champion in {place} is damaged; delete it, and it is fetched again"
        )
    return ChampionFiles(_bank_in(place), record["model"], record["version"])


def _hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256_file(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != _RECORD
    }


def _bank_in(folder: Path) -> Path:
    """The bank's folder inside a pyfunc model."""
    return next(path.parent for path in sorted(folder.rglob("bank.json")))

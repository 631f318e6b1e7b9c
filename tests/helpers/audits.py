"""A workspace to audit, ways to damage it and to mend it.

PYTEST_DONT_REWRITE: the tests import it before pytest registers its fixtures.
"""

import re
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from evernorm.files import sha256_file
from tasks.audit.records import md5
from tasks.audit.report import Report
from tasks.audit.walk import audit
from tests.helpers.workspaces import MODEL, dvc, git, lock

CLASSES = ("cloth", "metal")
IMAGE = "data/cloth/train/good/000.png"
_MOVED = (
    "UPDATE experiments SET artifact_location = replace(artifact_location, ?, ?)",
    "UPDATE runs SET artifact_uri = replace(artifact_uri, ?, ?)",
    "UPDATE model_versions SET source = replace(source, ?, ?)",
    "UPDATE model_versions SET storage_location = replace(storage_location, ?, ?)",
)


@pytest.fixture(scope="session")
def audited(adapted, tmp_path_factory) -> Iterator[Path]:
    """A copy of a workspace with structure and prompts, pushed to a remote; whoever damages it mends it."""
    workspace = tmp_path_factory.mktemp("audited") / "workspace"
    shutil.copytree(adapted[0], workspace, symlinks=True)
    moved(workspace, str(adapted[0]), str(workspace))
    dvc(workspace, "remote", "add", "--local", "--default", "store", str(workspace.parent / "store"))
    dvc(workspace, "push", "--quiet")
    yield workspace
    assert audit(workspace, "2").verdict == "clean", "a test did not mend what it had damaged"


@pytest.fixture
def changeable(audited, tmp_path) -> Path:
    """A copy of it to change; its registered banks are those of the original."""
    folder = shutil.copytree(audited.parent, tmp_path / "copy", symlinks=True)
    config = folder / "workspace/.dvc/config.local"
    config.write_text(config.read_text().replace(str(audited.parent), str(folder)))
    return folder / "workspace"


def moved(workspace: Path, before: str, after: str) -> None:
    """Tell MLflow that its artifacts are elsewhere; it keeps absolute addresses."""
    with closing(sqlite3.connect(workspace / "mlflow.db")) as database, database:
        for statement in _MOVED:
            database.execute(statement, (before, after))


def mlflow_of(workspace: Path) -> MlflowClient:
    """Its runs and versions."""
    return MlflowClient(f"sqlite:///{workspace / 'mlflow.db'}")


def located(workspace: Path, name: str) -> Path:
    """A file: ``{path}`` in its name is the object of a file or of an output, ``<bank>`` the registered one."""
    if found := re.search(r"\{(.*)\}", name):
        oid = hash_of(workspace, found[1])
        return workspace / name.replace(found[0], f"files/md5/{oid[:2]}/{oid[2:]}")
    run = mlflow_of(workspace).get_model_version(MODEL, "2").run_id
    return workspace / name.replace("<bank>", f"mlartifacts/{run}/artifacts/bank")


def hash_of(workspace: Path, path: str) -> str:
    """DVC's hash of a file or an output."""
    if (workspace / path).is_file():
        return md5((workspace / path).read_bytes())
    if path.startswith("data/"):
        return str(yaml.safe_load((workspace / f"{path}.dvc").read_text())["outs"][0]["md5"])
    return next(
        out["md5"] for stage in lock(workspace).values() for out in stage["outs"] if out["path"] == path
    )


@contextmanager
def kept(*paths: Path) -> Iterator[None]:
    """Put files back as they were, and take away those that were not there."""
    before = {path: (path.read_bytes(), path.stat().st_mode) if path.is_file() else None for path in paths}
    for path in paths:
        if path.is_file():
            path.chmod(0o644)  # DVC's objects are read-only
    try:
        yield
    finally:
        for path, content in before.items():
            if content is None:
                path.unlink(missing_ok=True)
            elif path.suffix == ".db":
                # MLflow's open connections trust what they have read while SQLite's counter of changes stands
                # where they left it; written in place, the file would turn it back.
                with closing(sqlite3.connect(":memory:")) as old, closing(sqlite3.connect(path)) as database:
                    old.deserialize(content[0])
                    old.backup(database)
            else:
                path.write_bytes(content[0])
                path.chmod(content[1])


@contextmanager
def reset(workspace: Path) -> Iterator[None]:
    """Go back to the commit and its files."""
    head = git(workspace, "rev-parse", "HEAD").strip()
    try:
        yield
    finally:
        git(workspace, "reset", "-q", "--hard", head)


def restamp(workspace: Path) -> None:
    """Commit what is there and let version 2 and its run name it."""
    git(workspace, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-q", "-a", "-m", "Forged")
    client, run = mlflow_of(workspace), mlflow_of(workspace).get_model_version(MODEL, "2").run_id
    tags = {
        "evernorm.git_commit": git(workspace, "rev-parse", "HEAD").strip(),
        "evernorm.dvc_lock": sha256_file(workspace / "dvc.lock"),
    }
    for tag, value in tags.items():
        client.set_tag(run, tag, value)
        client.set_model_version_tag(MODEL, "2", tag, value)


def flip(path: Path) -> None:
    """Change a bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def told(report: Report) -> set[tuple[str, str]]:
    """Place and thing of every finding."""
    return {(finding.place, finding.what) for finding in report.findings}

"""Where a builder works: checkouts of its own, one for each build at a time, each with what its last class needed."""

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from itertools import count
from pathlib import Path

from prefect import task

from evernorm.errors import PipelineError
from evernorm.files import START, write_json
from tasks.faults import PassingError
from tasks.fleet.snapshot import REFS
from tasks.retries import RETRIED, waited
from tasks.stages import BUILT
from tasks.workspace.workspace import MARKER, Workspace

FOLDER = "EVERNORM_CHECKOUTS"
_DEFAULT = "~/.cache/evernorm/checkouts"


@contextmanager
def checked_out(repository: str, commit: str) -> Iterator[Workspace]:
    """A checkout of a commit that nobody else works in; held until the end.

    Args:
        repository: Address of the Git remote.
        commit: What `hand_over` gave.

    Raises:
        PassingError: The Git remote is out of reach.
        PipelineError: Git refuses.
    """
    base = (
        Path(os.environ.get(FOLDER) or _DEFAULT).expanduser() / sha256(repository.encode()).hexdigest()[:16]
    )
    base.mkdir(parents=True, exist_ok=True)
    for number in count():
        with (base / f"{number}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield _at(base / str(number), repository, commit)
            return


def _at(root: Path, repository: str, commit: str) -> Workspace:
    root.mkdir(exist_ok=True)
    workspace = Workspace(root)
    if not (root / ".git").is_dir():
        workspace.git("init", "-q")
    if not (root / MARKER).is_file():
        write_json(root / MARKER, {"schema": 1, "id": uuid.uuid4().hex})
    with workspace.locked():  # mends what a killed build left
        waited(lambda: _fetch_commit(workspace, repository, commit))
        workspace.git("checkout", "-q", "--force", "--detach", commit)
    return workspace


def _fetch_commit(workspace: Workspace, repository: str, commit: str) -> None:
    try:
        workspace.git("fetch", "-q", "--depth", "1", repository, f"{REFS}/{commit}")
    except PipelineError as error:
        raise PassingError(f"the Git remote {repository} gives nothing: {error}") from error


@task(task_run_name="fetch {name}", **RETRIED)
def fetch(workspace: Workspace, name: str) -> None:
    """Bring the data of a class here, and what others have built already; what is left of other classes goes.

    All of that was handed back, and a class that is built again at once finds its own.

    Raises:
        PassingError: The DVC remote is out of reach.
        PipelineError: It refuses.
    """
    with workspace.dvc.ask("dvc fetch") as repo:
        if not workspace.paths.data(name).is_dir():
            _empty(workspace.root, Path(repo.cache.local.path))
        data = [f"data/{name}.dvc"]
        repo.fetch(targets=data, run_cache=True)
        repo.checkout(targets=data, force=True)


def _empty(root: Path, cache: Path) -> None:
    """Remove what DVC brought to a checkout, and its cache where it is no other's too."""
    for kind in ("data", "masks", "bank", "features"):
        for folder in (root / kind).glob("*/"):
            if folder.name != START:
                shutil.rmtree(folder)
    if cache.is_relative_to(root):
        shutil.rmtree(cache, ignore_errors=True)


@task(task_run_name="hand back {name}", **RETRIED)
def hand_back(workspace: Workspace, name: str) -> None:
    """Bring what was built to the DVC remote, and the run cache, by which others find it.

    Raises:
        PassingError: The DVC remote is out of reach, or did not take everything.
        PipelineError: It refuses.
    """
    with workspace.dvc.ask("dvc push") as repo:
        repo.push(targets=[f"{stage}@{name}" for stage in BUILT], run_cache=True)

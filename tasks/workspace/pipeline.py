"""DVC, called in this process: the only cache, and the only thing that decides whether a stage runs."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import task

from evernorm.errors import DataError, FitError, PipelineError
from evernorm.files import read_json
from tasks.faults import PassingError, UnfitError, causes, of_a_server, out_of_reach
from tasks.retries import RETRIED
from tasks.stages.stage import ERROR_FILE, seconds_file
from tasks.workspace.repository import open_repo

if TYPE_CHECKING:
    from dvc.repo import Repo

STAGES = ("masks", "prompts", "knowledge", "weibull", "evaluate")


@dataclass(frozen=True)
class StageRun:
    """How a stage went.

    Attributes:
        stage: Its name.
        ran: False where DVC found it up to date or restored it.
        seconds: What it took when it last ran here; None where that is not known.
    """

    stage: str
    ran: bool
    seconds: float | None


@task(task_run_name="{stage}@{name}", **RETRIED)
def reproduce(root: Path, stage: str, name: str) -> StageRun:
    """Bring one stage of one class up to date.

    Raises:
        PassingError: The repository is locked or a remote is out of reach.
        UnfitError: The stage failed, and the images are at fault; with what it said.
        PipelineError: It failed otherwise.
    """
    note = seconds_file(root, stage, name)
    before = note.stat().st_mtime_ns if note.is_file() else None
    try:
        with _repo(root, f"stage {stage}@{name}") as repo:
            repo.reproduce([f"{stage}@{name}"], single_item=True)
    except UnfitError as error:
        error.name = name
        raise
    seconds = read_json(note)["seconds"] if note.is_file() else None
    return StageRun(stage, note.is_file() and note.stat().st_mtime_ns != before, seconds)


def track(root: Path, folders: Sequence[Path]) -> None:
    """Put class folders under DVC, in one go.

    Raises:
        PassingError: The repository is locked.
        PipelineError: DVC refused.
    """
    with _repo(root, "dvc add") as repo:
        repo.add([str(folder) for folder in folders])


def check_out(root: Path) -> None:
    """Bring back from DVC's cache what dvc.lock and the .dvc files name.

    Raises:
        PassingError: The repository is locked.
        PipelineError: DVC refused.
    """
    with _repo(root, "dvc checkout") as repo:
        repo.checkout(force=True)


def data_hash(root: Path, name: str) -> str:
    """DVC's hash of a class's data (``<md5>.dir``), from its .dvc file."""
    import yaml

    record = yaml.safe_load((root / "data" / f"{name}.dvc").read_text())
    return str(record["outs"][0]["md5"])


@task(task_run_name="push", **RETRIED)
def push(root: Path) -> int:
    """Bring everything that dvc.lock names, and the run cache, to the default remote; nothing where there is none.

    Returns:
        How many objects were sent.

    Raises:
        PassingError: The remote is out of reach, or did not take everything.
        PipelineError: It refuses.
    """
    with _repo(root, "dvc push") as repo:
        return int(repo.push(run_cache=True)) if repo.config["core"].get("remote") else 0


@contextmanager
def _repo(root: Path, what: str) -> "Iterator[Repo]":
    """The DVC repository of a workspace; its faults are told as evernorm's."""
    from dvc.exceptions import DvcException, FileTransferError

    (root / ERROR_FILE).unlink(missing_ok=True)
    try:
        with open_repo(root) as repo:
            yield repo
    except FileTransferError as error:  # it does not say why; DVC has tried each several times
        raise PassingError(f"{what}: {error}; check the remote and run again") from error
    except DvcException as error:
        raise _explained(error, root, what) from error
    except Exception as error:  # of the package that talks to the remote
        if out_of_reach(error):
            raise PassingError(f"{what}: the remote is out of reach; check it and run again") from error
        if of_a_server(error):
            raise PipelineError(
                f"{what} failed: {error}; check the remote, its credentials and the disk"
            ) from error
        raise


def _explained(error: Exception, root: Path, what: str) -> PipelineError:
    from dvc.lock import LockError

    chain = causes(error)
    if out_of_reach(error) or any(isinstance(cause, LockError) for cause in chain):
        return PassingError(f"{what} could not start: {chain[-1]}")
    file = root / ERROR_FILE
    if not file.is_file():
        return PipelineError(f"{what} failed: {'; '.join(dict.fromkeys(str(cause) for cause in chain))}")
    told = read_json(file)
    # Images at fault, rather than weights, parameters or the machine.
    kind = UnfitError if told["kind"] in {DataError.__name__, FitError.__name__} else PipelineError
    return kind(f"{what} failed: {told['said']}")

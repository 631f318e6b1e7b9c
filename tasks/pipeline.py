"""DVC, called in this process: the only cache, and the only thing that decides whether a stage runs."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from evernorm.errors import PipelineError
from evernorm.files import read_json
from tasks.faults import PassingError, causes, is_passing, out_of_reach
from tasks.repository import open_repo
from tasks.stage import ERROR_FILE, seconds_file

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


@task(
    task_run_name="{stage}@{name}",
    cache_policy=NO_CACHE,  # DVC is the only cache
    retries=4,
    retry_delay_seconds=[1, 2, 5, 10],
    retry_condition_fn=is_passing,
)
def reproduce(root: Path, stage: str, name: str) -> StageRun:
    """Bring one stage of one class up to date.

    Raises:
        PassingError: The repository is locked or a remote is out of reach.
        PipelineError: The stage failed; with what it said.
    """
    from dvc.exceptions import DvcException

    note = seconds_file(root, stage, name)
    before = note.stat().st_mtime_ns if note.is_file() else None
    (root / ERROR_FILE).unlink(missing_ok=True)
    try:
        with open_repo(root) as repo:
            repo.reproduce([f"{stage}@{name}"], single_item=True)
    except DvcException as error:
        raise _explained(error, root, f"stage {stage}@{name}") from error
    seconds = read_json(note)["seconds"] if note.is_file() else None
    return StageRun(stage, note.is_file() and note.stat().st_mtime_ns != before, seconds)


def track(root: Path, folders: Sequence[Path]) -> None:
    """Put class folders under DVC, in one go.

    Raises:
        PassingError: The repository is locked.
        PipelineError: DVC refused.
    """
    from dvc.exceptions import DvcException

    (root / ERROR_FILE).unlink(missing_ok=True)
    try:
        with open_repo(root) as repo:
            repo.add([str(folder) for folder in folders])
    except DvcException as error:
        raise _explained(error, root, "dvc add") from error


def data_hash(root: Path, name: str) -> str:
    """DVC's hash of a class's data (``<md5>.dir``), from its .dvc file."""
    import yaml

    record = yaml.safe_load((root / "data" / f"{name}.dvc").read_text())
    return str(record["outs"][0]["md5"])


def _explained(error: Exception, root: Path, what: str) -> PipelineError:
    from dvc.lock import LockError

    chain = causes(error)
    if out_of_reach(error) or any(isinstance(cause, LockError) for cause in chain):
        return PassingError(f"{what} could not start: {chain[-1]}")
    said = root / ERROR_FILE
    reason = (
        said.read_text().strip()
        if said.is_file()
        else "; ".join(dict.fromkeys(str(cause) for cause in chain))
    )
    return PipelineError(f"{what} failed: {reason}")

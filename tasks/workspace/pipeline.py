"""The stages of a class, and what else DVC does: the only cache, and the only thing that decides whether a stage runs."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prefect import task

from evernorm.files import read_json
from evernorm.params.yaml12 import load
from tasks.faults import UnfitError
from tasks.logs import progress_told, run_log
from tasks.retries import RETRIED
from tasks.stages import STAGES
from tasks.workspace.paths import PROGRESS_FILE, seconds_file
from tasks.workspace.workspace import Workspace


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
def reproduce(workspace: Workspace, stage: str, name: str) -> StageRun:
    """Bring one stage of one class up to date.

    Raises:
        PassingError: The repository is locked or a remote is out of reach.
        UnfitError: The stage failed, and the images are at fault; with what it said.
        PipelineError: It failed otherwise.
    """
    note = seconds_file(workspace.root, stage, name)
    before = note.stat().st_mtime_ns if note.is_file() else None
    log = run_log()
    try:
        with (
            progress_told(workspace.root / PROGRESS_FILE, log),
            workspace.dvc.ask(f"stage {stage}@{name}") as repo,
        ):
            # What a builder has made is found by the run cache, and comes from the remote.
            repo.reproduce([f"{stage}@{name}"], single_item=True, pull=bool(workspace.params.fleet.builders))
    except UnfitError as error:
        error.name = name
        raise
    seconds = read_json(note)["seconds"] if note.is_file() else None
    ran = note.is_file() and note.stat().st_mtime_ns != before
    log.info("%s of %s: %s", stage, name, f"{seconds:.1f} s" if ran and seconds else "up to date")
    return StageRun(stage, ran, seconds)


def up_to_date(workspace: Workspace, names: Iterable[str]) -> list[str]:
    """Which of these classes have no stage that is to be run or restored.

    Raises:
        PassingError: The repository is locked.
        PipelineError: DVC cannot say.
    """
    stages = {name: {f"{stage}@{name}" for stage in STAGES} for name in names}
    unchanged = workspace.dvc.unchanged(set().union(*stages.values()))
    return [name for name, wanted in stages.items() if wanted <= unchanged]


def track(workspace: Workspace, folders: Sequence[Path]) -> None:
    """Put class folders under DVC, in one go.

    Raises:
        PassingError: The repository is locked.
        PipelineError: DVC refused.
    """
    with workspace.dvc.ask("dvc add") as repo:
        repo.add([str(folder) for folder in folders])


def check_out(workspace: Workspace) -> None:
    """Bring back from DVC's cache what dvc.lock and the .dvc files name.

    Raises:
        PassingError: The repository is locked.
        PipelineError: DVC refused.
    """
    with workspace.dvc.ask("dvc checkout") as repo:
        repo.checkout(force=True)


def pull(workspace: Workspace) -> None:
    """Bring everything that dvc.lock and the .dvc files name from the default remote.

    Raises:
        PassingError: The repository is locked, or the remote is out of reach.
        PipelineError: DVC refused.
    """
    with workspace.dvc.ask("dvc pull") as repo:
        repo.pull(force=True)


def data_hash(root: Path, name: str) -> str:
    """DVC's hash of a class's data (``<md5>.dir``), from its .dvc file."""
    return str(load((root / "data" / f"{name}.dvc").read_bytes())["outs"][0]["md5"])


@task(task_run_name="push", **RETRIED)
def push(workspace: Workspace) -> int:
    """Bring everything that dvc.lock names, and the run cache, to the default remote; nothing where there is none.

    Returns:
        How many objects were sent.

    Raises:
        PassingError: The remote is out of reach, or did not take everything.
        PipelineError: It refuses.
    """
    with workspace.dvc.ask("dvc push") as repo:
        return int(repo.push(run_cache=True)) if repo.config["core"].get("remote") else 0

"""What a builder needs of a workspace: a commit of its present state in the Git remote, its data in the DVC remote.

The commit moves no branch and no index: it is a leaf of its own, below ``refs/evernorm/builds``. Its name is noted before
it is there, so that what a killed run has left there is taken down by the next.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from prefect import task

from evernorm.errors import ParamsError, PipelineError
from evernorm.files import read_json, write_json
from tasks.faults import PassingError
from tasks.retries import RETRIED, waited
from tasks.workspace.workspace import Workspace

REMOTE = "origin"
REFS = "refs/evernorm/builds"
_NOTE = ".evernorm/handed-over.json"  # commits, until they are taken down


@task(task_run_name="hand over to builders", **RETRIED)
def hand_over(workspace: Workspace, source: Workspace, names: Sequence[str]) -> tuple[str, str]:
    """Bring the data of some classes to the DVC remote, and a commit of a workspace's present state to the Git remote.

    Args:
        workspace: Held by the caller; it notes the commit.
        source: Where the data are, which is committed.
        names: The classes.

    Returns:
        The address of the Git remote, and the commit.

    Raises:
        ParamsError: The workspace has no remote of either kind.
        PassingError: One of them is out of reach.
        PipelineError: One of them refuses.
    """
    repository = workspace.git("config", "--default", "", f"remote.{REMOTE}.url")
    with source.dvc.ask("dvc push") as repo:
        if not repository or not repo.config["core"].get("remote"):
            raise ParamsError(
                f"builders need remotes of {workspace.root}: a Git remote {REMOTE} (git remote add {REMOTE} URL) and a "
                "default DVC remote (dvc remote add -d NAME URL)"
            )
        repo.push(targets=[f"data/{name}.dvc" for name in names])
    with TemporaryDirectory() as folder:
        commit = source.snapshot(f"To build: {', '.join(names)}", Path(folder) / "index")
    write_json(workspace.root / _NOTE, [*_noted(workspace), commit])
    try:
        source.git("push", "-q", REMOTE, f"{commit}:{REFS}/{commit}")
    except PipelineError as error:
        raise PassingError(f"the Git remote {repository} takes nothing: {error}") from error
    return repository, commit


def take_down(workspace: Workspace) -> None:
    """Remove from the Git remote what was handed over, by this run or by one that was killed; nobody builds it any more.

    No task, as the Prefect server may be lost.

    Args:
        workspace: Held by the caller.

    Raises:
        PassingError: The Git remote is out of reach.
    """
    if commits := _noted(workspace):
        waited(lambda: _delete(workspace, commits))
        (workspace.root / _NOTE).unlink()


def _delete(workspace: Workspace, commits: Sequence[str]) -> None:
    try:
        for ref in (f"{REFS}/{commit}" for commit in commits):
            if workspace.git("ls-remote", REMOTE, ref):
                workspace.git("push", "-q", REMOTE, "--delete", ref)
    except PipelineError as error:
        raise PassingError(f"the Git remote {REMOTE} does not answer: {error}") from error


def _noted(workspace: Workspace) -> list[str]:
    path = workspace.root / _NOTE
    commits: list[str] = read_json(path) if path.is_file() else []
    return commits

"""What a builder needs of a workspace: a commit of its present state in the Git remote, its data in the DVC remote.

The commit moves no branch and no index: it is a leaf of its own, below ``refs/evernorm/builds``.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from prefect import task

from evernorm.errors import ParamsError, PipelineError
from tasks.faults import PassingError
from tasks.retries import RETRIED, waited
from tasks.workspace.workspace import Workspace

REMOTE = "origin"
REFS = "refs/evernorm/builds"


@task(task_run_name="hand over to builders", **RETRIED)
def hand_over(workspace: Workspace, names: Sequence[str]) -> tuple[str, str]:
    """Bring the data of some classes to the DVC remote, and a commit of what is here to the Git remote.

    Args:
        workspace: Held by the caller.
        names: The classes.

    Returns:
        The address of the Git remote, and the commit.

    Raises:
        ParamsError: The workspace has no remote of either kind.
        PassingError: One of them is out of reach.
        PipelineError: One of them refuses.
    """
    repository = workspace.git("config", "--default", "", f"remote.{REMOTE}.url")
    with workspace.dvc.ask("dvc push") as repo:
        if not repository or not repo.config["core"].get("remote"):
            raise ParamsError(
                f"builders need remotes of {workspace.root}: a Git remote {REMOTE} (git remote add {REMOTE} URL) and a "
                "default DVC remote (dvc remote add -d NAME URL)"
            )
        repo.push(targets=[f"data/{name}.dvc" for name in names])
    with TemporaryDirectory() as folder:
        commit = workspace.snapshot(f"To build: {', '.join(names)}", Path(folder) / "index")
    try:
        workspace.git("push", "-q", REMOTE, f"{commit}:{REFS}/{commit}")
    except PipelineError as error:
        raise PassingError(f"the Git remote {repository} takes nothing: {error}") from error
    return repository, commit


def take_down(workspace: Workspace, commit: str) -> None:
    """Remove a commit from the Git remote that nobody builds any more; no task, as the Prefect server may be lost.

    Raises:
        PassingError: The Git remote is out of reach.
    """
    waited(lambda: _remove(workspace, f"{REFS}/{commit}"))


def _remove(workspace: Workspace, ref: str) -> None:
    try:
        if workspace.git("ls-remote", REMOTE, ref):
            workspace.git("push", "-q", REMOTE, "--delete", ref)
    except PipelineError as error:
        raise PassingError(f"the Git remote {REMOTE} does not answer: {error}") from error

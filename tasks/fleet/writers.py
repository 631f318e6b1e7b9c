"""Several writers of one workspace, each with a checkout of its own: the Git remote decides who was first.

A writer that has made a version pushes the commit which describes it before the gate decides on that version. A push
that is no fast-forward is refused by Git, so of two writers that began from the same commit one wins. The other's
version is never served, its commits stay below ``refs/evernorm/overtaken``, and its next run begins with what the
winner has made; what it has built itself is still in the run cache.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from prefect import task

from evernorm.errors import EvernormError, PipelineError
from evernorm.files import write_bytes
from evernorm.params.file import parse_params
from evernorm.params.yaml12 import load
from tasks.faults import PassingError
from tasks.fleet.snapshot import REMOTE
from tasks.inbox.arrivals import arriving, give_up
from tasks.logs import run_log
from tasks.retries import RETRIED
from tasks.workspace.forget import erase
from tasks.workspace.pipeline import pull
from tasks.workspace.workspace import FORGETTING, Workspace

_PARAMS = "params.yaml"
_KEPT = "refs/evernorm/overtaken"


class OvertakenError(PipelineError):
    """Another writer has pushed first; the next run goes on from what it has made."""


def follow(workspace: Workspace) -> None:
    """Take over what another writer has made since, if any has; nothing where there is no Git remote.

    Args:
        workspace: Held by the caller.

    Raises:
        PassingError: A remote is out of reach.
        PipelineError: The remote's history is another one, or more differs here from the last commit than parameters
            which the other writer has left alone.
    """
    if not (branch := _branch(workspace)):
        return
    theirs, ours = _fetched(workspace, branch), workspace.head
    if not theirs or _holds(workspace, ours, theirs):
        return
    place = f"{branch} of the Git remote {REMOTE}"
    if not _related(workspace, ours, theirs):
        raise PipelineError(
            f"{place} has another history than {workspace.root}; name the right one (git remote set-url {REMOTE} URL)"
        )
    if (begun := arriving(workspace)) is not None:  # it is still in the inbox
        give_up(workspace, begun)
    changed = workspace.git("diff", "--name-only", "HEAD").split()
    params = _merged(workspace, theirs) if changed == [_PARAMS] else None
    if changed and params is None:
        raise PipelineError(
            f"another writer has gone ahead on {place}, and here {', '.join(changed)} differ from the last commit; "
            f"undo that (git -C {workspace.root} checkout .) and run again"
        )
    known = {*workspace.params.stream}
    if not _holds(workspace, theirs, ours):
        workspace.git("update-ref", f"{_KEPT}/{ours}", ours)
    workspace.git("reset", "-q", "--hard", theirs)
    if params is not None:
        write_bytes(workspace.root / _PARAMS, params)
    (workspace.root / FORGETTING).unlink(missing_ok=True)
    pull(workspace)
    for name in known - {*workspace.params.stream}:
        erase(workspace, name)
    run_log().info("took over %s from %s", theirs[:8], place)


@task(task_run_name="take over what another writer has made", **RETRIED)
def catch_up(workspace: Workspace) -> None:
    """`follow`, tried again where a remote is out of reach.

    Raises:
        PassingError, PipelineError: See `follow`.
    """
    follow(workspace)


@task(task_run_name="push commits", **RETRIED)
def push_commits(workspace: Workspace) -> None:
    """Bring the commits to the Git remote, as the first to do so; nothing where there is none.

    Args:
        workspace: Held by the caller.

    Raises:
        OvertakenError: Another writer was faster.
        PassingError: The Git remote is out of reach, or refuses.
    """
    if not (branch := _branch(workspace)):
        return
    try:
        workspace.git("push", "-q", REMOTE, f"HEAD:refs/heads/{branch}")
    except PipelineError as error:
        theirs = _fetched(workspace, branch)
        if not theirs or _holds(workspace, workspace.head, theirs):
            raise PassingError(f"the Git remote {REMOTE} takes nothing: {error}") from error
        raise OvertakenError(
            f"another writer was first: {workspace.git('log', '-1', '--format=%s', theirs)!r} is on {branch} of the Git "
            f"remote {REMOTE}; nothing of this run is served; run again: it goes on from there, and what it has built is kept"
        ) from error


def _branch(workspace: Workspace) -> str:
    """The branch that is shared with the Git remote; empty where there is no remote."""
    shared = workspace.git("config", "--default", "", f"remote.{REMOTE}.url")
    return workspace.git("branch", "--show-current") if shared else ""


def _fetched(workspace: Workspace, branch: str) -> str:
    """The remote's commit of a branch, brought here; empty where it has none."""
    try:
        if not workspace.git("ls-remote", REMOTE, f"refs/heads/{branch}"):
            return ""
        workspace.git("fetch", "-q", REMOTE, f"refs/heads/{branch}")
    except PipelineError as error:
        raise PassingError(f"the Git remote {REMOTE} does not answer: {error}") from error
    return workspace.git("rev-parse", "FETCH_HEAD")


def _holds(workspace: Workspace, commit: str, other: str) -> bool:
    """Whether a commit is another one, or made after it."""
    return not workspace.git("rev-list", "-1", other, f"^{commit}")


def _merged(workspace: Workspace, theirs: str) -> bytes | None:
    """The remote's params.yaml with what was changed here since the last commit; None where both changed the same."""
    with TemporaryDirectory() as folder:
        sides = {"mine": (workspace.root / _PARAMS).read_text()}
        sides |= {
            name: workspace.git("show", f"{commit}:{_PARAMS}") + "\n"
            for name, commit in (("base", "HEAD"), ("theirs", theirs))
        }
        for name, text in sides.items():
            (Path(folder) / name).write_text(text)
        try:
            merged = workspace.git("merge-file", "-p", *(str(Path(folder) / name) for name in sides)) + "\n"
            parse_params(load(merged))
        except EvernormError:
            return None
    return merged.encode()


def _related(workspace: Workspace, one: str, other: str) -> bool:
    roots = (set(workspace.git("rev-list", "--max-parents=0", each).split()) for each in (one, other))
    return bool(set.intersection(*roots))

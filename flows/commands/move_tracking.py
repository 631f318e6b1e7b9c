"""Make another MLflow the one that keeps a workspace's history."""

from pathlib import Path

from flows.commands.environment import prepare
from flows.commands.runner import say


def move_tracking_of(root: Path) -> None:
    """Note the MLflow that is named now, and say what that means.

    Raises:
        EvernormError: It cannot be used; nothing has changed.
    """
    prepare(root)
    from tasks.workspace.workspace import Workspace

    workspace = Workspace.open(root)  # before Prefect is imported, which would make its home there
    workspace.check_writable()
    from tasks.tracking.moving import move_tracking
    from tasks.tracking.server import named_server, noted_server

    before, after = noted_server(workspace), named_server(workspace)
    if before == after:
        say(f"the history of {workspace.root} is in {after} already")
        return
    with workspace.locked():
        champion = move_tracking(workspace)
    say(f"the history of {workspace.root} is in {after} from now on")
    if before is not None:
        say(f"what was recorded before stays in {before}: runs, versions, promotions")
    say(
        f"champion there: version {champion.version}"
        if champion
        else "no version is champion there: `evernorm learn` or `evernorm watch --once` registers the bank, seeing no image again"
    )

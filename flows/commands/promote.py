"""A person's word on the champion: promote a version, or take the present one back."""

from pathlib import Path

from flows.commands.environment import prepare
from flows.commands.runner import run_flow, say


def promote_in_workspace(root: Path, version: str, reason: str) -> None:
    """Make a version champion and say so.

    Raises:
        EvernormError: Anything the user can cure; nothing has changed then.
    """
    prepare(root)
    from tasks.workspace.workspace import Workspace

    workspace = Workspace.open(root)
    workspace.check_writable()
    from flows.promote import promote_version
    from tasks.workspace.forget import reason_line

    reason = reason_line(reason)
    change, decision = run_flow(lambda: promote_version(workspace.root, version, reason))
    say(
        f"champion: version {change.before} → {version}"
        if change
        else f"version {version} is champion already"
    )
    if decision is not None:
        say(f"with all classes: {decision.model} version {decision.version} is {decision.alias}")


def roll_back_in_workspace(root: Path, reason: str) -> None:
    """Make the champion before the present one champion again and say so.

    Raises:
        EvernormError: Anything the user can cure; nothing has changed then.
    """
    prepare(root)
    from tasks.workspace.workspace import Workspace

    workspace = Workspace.open(root)
    workspace.check_writable()
    from flows.promote import roll_back_champion
    from tasks.workspace.forget import reason_line

    reason = reason_line(reason)
    change = run_flow(lambda: roll_back_champion(workspace.root, reason))
    say(f"champion: version {change.before} → {change.after}")

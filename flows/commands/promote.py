"""A person's word on the champion: promote a version, or take the present one back."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from evernorm.errors import ParamsError
from flows.commands.environment import prepare
from flows.commands.runner import run_flow, say

if TYPE_CHECKING:
    from tasks.tracking.exchange import Exchange
    from tasks.tracking.ownership import Registry
    from tasks.workspace.workspace import Workspace


def promote_in_workspace(root: Path, version: str, reason: str, *, yes: bool) -> None:
    """Make a version champion and say so; asks first where it changes which classes are served.

    Args:
        root: The workspace.
        version: The version's number.
        reason: Why.
        yes: Whether to go on without asking.

    Raises:
        EvernormError: Anything the user can cure; nothing has changed then.
    """
    workspace, reason = _opened(root, reason)
    from flows.promote import promote_version
    from tasks.tracking.exchange import promotion

    seen = _agree(workspace, lambda registry: promotion(registry, version), yes=yes).before
    change, decision = run_flow(
        lambda: promote_version(workspace.root, version, reason, seen, return_state=True)
    )
    say(
        f"champion: version {change.before} → {version}"
        if change
        else f"version {version} is champion already"
    )
    if decision is not None:
        say(f"with all classes: {decision.model} version {decision.version} is {decision.alias}")


def roll_back_in_workspace(root: Path, reason: str, *, yes: bool) -> None:
    """Make the champion before the present one champion again and say so; asks first as `promote_in_workspace` does.

    Raises:
        EvernormError: Anything the user can cure; nothing has changed then.
    """
    workspace, reason = _opened(root, reason)
    from flows.promote import roll_back_champion
    from tasks.tracking.exchange import rollback

    seen = _agree(workspace, rollback, yes=yes).before
    change = run_flow(lambda: roll_back_champion(workspace.root, reason, seen, return_state=True))
    say(f"champion: version {change.before} → {change.after}")


def _opened(root: Path, reason: str) -> "tuple[Workspace, str]":
    prepare(root)
    from tasks.workspace.workspace import Workspace

    workspace = Workspace.open(root)  # before Prefect is imported, which would make its home there
    workspace.check_writable()
    from tasks.workspace.forget import reason_line

    return workspace, reason_line(reason)


def _agree(workspace: "Workspace", look: "Callable[[Registry], Exchange]", *, yes: bool) -> "Exchange":
    """Name the classes that are lost, gained, or known from other images then; ask whoever can be asked.

    Raises:
        ParamsError: There is nobody to ask, and `yes` was not said.
        Exit: The answer is no.
    """
    from tasks.tracking.ownership import registry_of

    with registry_of(workspace) as registry:
        exchange = look(registry)
    if not exchange.matters:
        return exchange
    changes = {
        "no longer served": exchange.lost,
        "served from then on": exchange.gained,
        "known from other images": exchange.other,
    }
    say(f"version {exchange.before or 'none'} → {exchange.after}:")
    for what, names in changes.items():
        if names:
            say(f"  {what}: {', '.join(workspace.display(name) for name in names)}")
    if exchange.lost:
        say("  images of a class that is not served are taken for another one, or for an unknown product")
    if yes:
        return exchange
    if not sys.stdin.isatty():
        raise ParamsError("nothing was changed; say --yes if this is meant")
    if not typer.confirm("Go on?"):
        say("nothing was changed")
        raise typer.Exit(1)
    return exchange

"""Forget a class, and say what is left of it where."""

from pathlib import Path

from flows.commands.environment import prepare
from flows.commands.runner import run_flow, say


def forget_in_workspace(root: Path, name: str, reason: str) -> None:
    """Forget a class and say what is left of it where.

    Raises:
        EvernormError: Anything the user can cure; nothing has changed if the class cannot be forgotten.
    """
    prepare(root)
    from tasks.workspace.workspace import Workspace

    workspace = Workspace.open(root)  # before Prefect is imported, which would make its home there
    workspace.check_writable()

    from flows.forget import forget_class, give_up_delivery, show_forgotten
    from tasks.inbox.arrivals import arriving
    from tasks.workspace.forget import check, reason_line

    name = workspace.key(name)
    if (begun := arriving(workspace)) is not None and begun.name == name:
        reason_line(reason)
        run_flow(lambda: give_up_delivery(workspace.root, reason, return_state=True))
        say(f"the delivery of {name} was given up; it is not taken in before it changes")
        if not begun.update:
            return
    check(workspace, name, reason)
    forgot, decision = run_flow(lambda: forget_class(workspace.root, name, reason, return_state=True))
    show_forgotten(workspace, forgot, decision)

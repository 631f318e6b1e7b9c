"""New classes arrive in an inbox and are learned with nobody touching anything."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import flow
from prefect.artifacts import create_markdown_artifact

from evernorm.errors import EvernormError
from flows.learn import learn_from
from tasks.arrivals import (
    arriving,
    begin,
    check_delivery,
    fetch_delivery,
    finish,
    give_up,
    look_into,
    place,
    refuse,
)
from tasks.faults import PassingError
from tasks.forget import refuse_unfinished
from tasks.gate import Decision
from tasks.inbox import Refusal
from tasks.stage import result_params
from tasks.tracking import record_report
from tasks.workspace import Workspace

if TYPE_CHECKING:
    from tasks.arrivals import Arriving
    from tasks.inbox import Delivery


@dataclass(frozen=True)
class Taken:
    """A delivery that was taken in.

    Attributes:
        name: The class.
        update: Whether it was learned before.
        decision: What the gate made of the version with it; None where nothing had changed.
    """

    name: str
    update: bool
    decision: Decision | None


@flow(name="watch-inbox")
def watch_inbox(root: Path) -> tuple[list[Taken], list[Refusal]]:
    """Take what has arrived whole, one class after another, in order of arrival; report the rest.

    Killed at any point, it goes on when it is run again, and ends as if it had not been killed.

    Returns:
        What was taken in, and what was left in the inbox and why.

    Raises:
        PassingError: Inbox, remote or MLflow are out of reach; the next run goes on from there.
    """
    workspace = Workspace.open(root)
    with workspace.locked():
        refuse_unfinished(workspace)
        deliveries, refusals = look_into(workspace.root)
        taken = []
        begun = arriving(workspace)
        if begun is not None and begun.name not in {each.name for each in deliveries}:
            taken.append(_learn(workspace, begun))  # it has left the inbox in the meantime
        for delivery in deliveries:
            if faults := fetch_delivery(workspace.root, delivery):
                refusals.append(Refusal(delivery.name, tuple(faults)))
                continue
            try:
                taken.append(_take(workspace, delivery))
            except PassingError:
                raise
            except EvernormError as error:
                reasons = error.faults or (error.message,)
                refuse(workspace, delivery, reasons)
                refusals.append(Refusal(delivery.name, reasons))
        if refusals:
            _report(workspace, refusals)
    return taken, refusals


def _take(workspace: Workspace, delivery: "Delivery") -> Taken:
    manifest = check_delivery(workspace, delivery.name)
    begun = begin(workspace, delivery)
    try:
        place(workspace, begun, manifest)
        return _learn(workspace, begun)
    except PassingError:
        raise
    except EvernormError:
        give_up(workspace, begun)
        raise


def _learn(workspace: Workspace, begun: "Arriving") -> Taken:
    """Learn the class and what follows it, as far as that is not done."""
    order = workspace.params.order
    first = min(order.index(begun.name), len(workspace.learned())) if begun.name in order else len(order)
    if result_params(workspace.committed_params()) != result_params(workspace.params):
        first = 0  # what was learned with other parameters is learned again
    _, decision = learn_from(workspace, first, "Update" if begun.update else "Learn")
    finish(workspace, begun)
    return Taken(begun.name, begun.update, decision)


def _report(workspace: Workspace, refusals: Sequence[Refusal]) -> None:
    lines = [f"# Left in {workspace.params.watch.inbox}"]
    for refusal in refusals:
        lines += ["", f"## {refusal.name}", "", *(f"- {fault}" for fault in refusal.faults)]
    report = "\n".join(lines) + "\n"
    create_markdown_artifact(report, key="inbox", description="Deliveries that were not taken in, and why.")
    record_report(workspace.root, "inbox", report)

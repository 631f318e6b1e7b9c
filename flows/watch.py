"""New classes arrive in an inbox and are learned with nobody touching anything."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from prefect import flow
from prefect.runtime import flow_run
from rich.console import Console

from evernorm.errors import DataError, PipelineError
from flows.ahead import build_arrivals
from flows.commands.environment import prepare
from flows.learn import learn_from
from flows.report import report
from tasks.faults import UnfitError
from tasks.fleet.news import tell_decision, tell_left
from tasks.fleet.writers import catch_up, push_commits
from tasks.inbox.arrivals import (
    begin,
    check_delivery,
    fetch_delivery,
    finish,
    give_up,
    look_into,
    place,
    refuse,
    refuse_unlearned,
    resume,
)
from tasks.inbox.inbox import Refusal
from tasks.outcome import ended
from tasks.stages.stage import result_params
from tasks.tracking.gate import Decision
from tasks.tracking.ownership import claim, registry_of
from tasks.tracking.registry import champion_of
from tasks.tracking.runs import record_bank, record_report
from tasks.workspace.checks import check_machine
from tasks.workspace.forget import refuse_unfinished
from tasks.workspace.workspace import Workspace

if TYPE_CHECKING:
    from evernorm.data.manifest import Manifest
    from tasks.inbox.arrivals import Arriving
    from tasks.inbox.inbox import Delivery


@dataclass(frozen=True)
class Taken:
    """A delivery that was taken in.

    Attributes:
        name: The class.
        update: Whether it was learned before.
        decision: What the gate made of the version with it; None where nothing had changed.
        replaced: What became of the images that were there of it.
    """

    name: str
    update: bool
    decision: Decision | None
    replaced: str

    @property
    def refused(self) -> bool:
        """Whether the gate refused the version with it."""
        return self.decision is not None and self.decision.refused


def _called() -> str:
    """What Prefect's page calls a look into the inbox."""
    return f"{Workspace.open(Path(flow_run.parameters['root'])).params.method}: look into the inbox"


@flow(name="watch-inbox", flow_run_name=_called)
def watch_inbox(root: Path) -> tuple[list[Taken], list[Refusal]]:
    """Take what has arrived whole, one class after another, in order of arrival; report the rest.

    Killed at any point, it goes on when it is run again, and ends as if it had not been killed.

    Returns:
        What was taken in, and what was left in the inbox and why.

    Raises:
        ForeignError: Another workspace has the registered model; nothing is taken in then.
        PassingError: Inbox, remote or MLflow are out of reach.
        EvernormError: Something else stands in the way that is no fault of a delivery, such as missing weights; once
            it is mended, the next run goes on from there.
    """
    prepare(root)  # a worker's process has no command before it
    workspace = Workspace.open(root)
    taken: list[Taken] = []
    refusals: list[Refusal] = []
    with workspace.locked():
        catch_up(workspace)
        refuse_unfinished(workspace)
        claim(workspace)
        if (begun := resume(workspace)) is not None:
            check_machine(workspace.params)
            # How far it came is not known, and looking at what is done costs little.
            _learn(workspace, begun, 0, taken, refusals)
        refuse_unlearned(workspace)
        deliveries, left = look_into(workspace)
        refusals += left
        if deliveries:
            check_machine(workspace.params)
        whole: Iterable[tuple[Delivery, Manifest]] = _fetched(workspace, deliveries, refusals)
        built: Collection[str] = ()
        if workspace.params.fleet.builders:
            whole = list(whole)
            built = build_arrivals(workspace, {each.name: manifest for each, manifest in whole})
        for delivery, manifest in whole:
            begun = begin(workspace, delivery, manifest)
            if begun.replaced:
                said = f"{workspace.display(begun.name)}: {begun.replaced}"
                Console(stderr=True, highlight=False).print(said, markup=False, soft_wrap=True)
            place(workspace, begun, manifest)
            _learn(workspace, begun, _first(workspace, begun), taken, refusals, built)
        decisions = [each.decision for each in taken if each.decision]
        if not decisions and workspace.learned() and not _served(workspace):
            # A new server knows no version of what is learned already.
            _, decision = learn_from(workspace, 0)
            decisions += [decision] if decision else []
        push_commits(workspace)  # where a delivery was given up
        if taken or decisions:
            record_bank(workspace)
        report(workspace, decisions, refusals)
        tell_left(workspace, refusals)
        if refusals:
            told = "\n".join(map(str, refusals))
            record_report(workspace, "inbox", f"# {workspace.params.watch.inbox}\n\n```text\n{told}\n```\n")
    refused = [f"{each.name} is left in the inbox" for each in refusals]
    refused += [each.decision.remarks for each in taken if each.decision and each.refused]
    return ended((taken, refusals), "; ".join(refused))


def _fetched(
    workspace: Workspace, deliveries: "Sequence[Delivery]", refusals: list[Refusal]
) -> "Iterator[tuple[Delivery, Manifest]]":
    """The deliveries that are as they should be, each when it is asked for."""
    for delivery in deliveries:
        if faults := fetch_delivery(workspace, delivery):
            refusals.append(Refusal(delivery.name, tuple(faults)))
            continue
        try:
            yield delivery, check_delivery(workspace, delivery)
        except DataError as error:
            refusals.append(refuse(workspace, delivery.name, delivery.digest, error))


def _served(workspace: Workspace) -> bool:
    with registry_of(workspace) as registry:
        return champion_of(registry) is not None


def _first(workspace: Workspace, begun: "Arriving") -> int:
    """Place in the stream of the first class that is not learned as it should be."""
    if result_params(workspace.committed_params()) != result_params(workspace.params):
        return 0
    return workspace.params.order.index(begun.name)


def _learn(
    workspace: Workspace,
    begun: "Arriving",
    first: int,
    taken: list[Taken],
    refusals: list[Refusal],
    built: Collection[str] = (),
) -> None:
    """Learn a class and what follows it; one that cannot be learned leaves no trace."""
    try:
        subject = f"{'Update' if begun.update else 'Learn'} {begun.name}"
        _, decision = learn_from(workspace, first, subject, built=built)
    except UnfitError as error:
        give_up(workspace, begun)
        if error.name != begun.name:
            raise PipelineError(
                f"{error.name} cannot be learned any more with the parameters as they are, so {begun.name} waits: "
                f"{error.message}"
            ) from error
        refusals.append(refuse(workspace, begun.name, begun.digest, error))
    else:
        finish(workspace, begun)
        if decision is not None:
            tell_decision(workspace, begun.name, decision)
        taken.append(Taken(begun.name, begun.update, decision, begun.replaced))

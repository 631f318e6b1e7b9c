"""A false-alarm rate for one class, set by a person, as a Prefect flow."""

from pathlib import Path

from prefect import flow

from evernorm.errors import PipelineError
from flows.learn import experiences, publish
from flows.report import report
from tasks.fleet.writers import catch_up
from tasks.inbox.arrivals import refuse_arriving
from tasks.outcome import ended
from tasks.tracking.gate import Decision
from tasks.tracking.occasion import Occasion
from tasks.tracking.ownership import claim, registry_of
from tasks.tracking.registry import champion_of, classes_of
from tasks.workspace.forget import refuse_unfinished
from tasks.workspace.versions import record_versions
from tasks.workspace.workspace import Workspace


@flow(name="set-threshold", flow_run_name="threshold of {name}")
def set_threshold(root: Path, name: str, rate: float | None, reason: str) -> Decision:
    """Give a class a false-alarm rate of its own, measure the bank with it, register it as a version.

    No image is seen again. Killed at any point, it goes on when it is run again.

    Args:
        root: The workspace.
        name: A class of the bank.
        rate: In (0, 1); None: that of all classes again.
        reason: Why, in a line.

    Returns:
        What the gate made of the version.

    Raises:
        PipelineError: The champion does not serve the bank that would be measured.
    """
    workspace = Workspace.open(root)
    with workspace.locked():
        refuse_arriving(workspace)
        refuse_unfinished(workspace)
        catch_up(workspace)
        claim(workspace)
        refuse_another_champion(workspace)
        rates = {each: old for each, old in workspace.params.own_rates.items() if each != name}
        workspace.configure(rates=rates if rate is None else {**rates, name: rate})
        record_versions(workspace.params, workspace.paths)
        learned = {each: learn() for each, learn in experiences(workspace, workspace.learned())}
        decision = publish(
            workspace, learned, f"Set the threshold of {name}", Occasion.threshold(name, rate, reason)
        )
        report(workspace, [decision])
        return ended(decision, decision.refusal)


def refuse_another_champion(workspace: Workspace) -> None:
    """A version of the whole bank would take the place of a champion that a person has chosen.

    Raises:
        PipelineError: The champion knows other classes than the bank.
    """
    with registry_of(workspace) as registry:
        champion = champion_of(registry)
    if champion is not None and classes_of(champion) != (learned := workspace.learned()):
        raise PipelineError(
            f"the champion, version {champion.version}, knows {', '.join(classes_of(champion))}, the bank "
            f"{', '.join(learned)}; `evernorm promote VERSION` one that knows them all first"
        )

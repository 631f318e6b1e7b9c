"""Forgetting a class, as a Prefect flow, and what a person reads of it."""

from pathlib import Path

from prefect import flow
from rich.console import Console

from flows.learn import experiences, publish
from flows.report import report
from tasks.faults import without_secrets
from tasks.fleet.writers import catch_up, push_commits
from tasks.inbox.arrivals import arriving, came_by_inbox, let_go, refuse_arriving
from tasks.outcome import ended
from tasks.tracking.gate import Decision
from tasks.tracking.occasion import Occasion
from tasks.tracking.ownership import claim, registry_of
from tasks.tracking.registry import CHAMPION, champion_of, versions_that_know
from tasks.tracking.runs import record_bank
from tasks.tracking.server import tracking_uri
from tasks.workspace.forget import Forgotten, begin, finish, reason_line, remove
from tasks.workspace.versions import record_versions
from tasks.workspace.workspace import Workspace


@flow(name="forget-class", flow_run_name="forget {name}")
def forget_class(root: Path, name: str, reason: str) -> tuple[Forgotten, Decision]:
    """Remove a class, bring the rest of the stream up to date, register the bank that remains.

    Only later classes change, and of those only what depends on the class: their evaluation, and whatever
    their method takes from the class before. Killed at any point, it goes on when it is run again.

    Returns:
        What was forgotten, and what the gate made of the bank without it.
    """
    workspace = Workspace.open(root)
    console = Console(stderr=True, highlight=False)
    with workspace.locked():
        refuse_arriving(workspace)
        catch_up(workspace)
        claim(workspace)
        forgot = begin(workspace, name, reason)
        remove(workspace, name)
        record_versions(workspace.params, workspace.paths)
        learned = {}
        for each, learn in experiences(workspace, workspace.learned()):
            learned[each] = learn()
            ran = [stage.stage for stage in learned[each].ran]
            console.print(f"{each}: {' · '.join(ran) or 'up to date'}", style="dim")
        decision = publish(workspace, learned, f"Forget {name}", Occasion.forgetting(forgot))
        record_bank(workspace)  # in the place of one that shows the class
        finish(workspace)
        report(workspace, [decision])
    return ended((forgot, decision), decision.refusal)


@flow(name="give-up-delivery", flow_run_name="give up the delivery")
def give_up_delivery(root: Path, reason: str) -> None:
    """Let go of the delivery that a run was taking in when it was cut short; the class is as it was before."""
    workspace = Workspace.open(root)
    with workspace.locked():
        if (begun := arriving(workspace)) is not None:
            let_go(workspace, begun, reason_line(reason))
            push_commits(workspace)


def show_forgotten(workspace: Workspace, forgot: Forgotten, decision: Decision) -> None:
    """Say what was removed, who is champion, and where the class still is.

    Raises:
        PassingError: MLflow is out of reach.
        RegistryError: MLflow refuses.
    """
    console = Console(highlight=False, markup=False, soft_wrap=True)
    name, uri = forgot.name, without_secrets(tracking_uri(workspace))
    console.print(
        f"Forgot {name} ({forgot.reason}): its images, entry, features, models and figures are removed from "
        f"{workspace.root}; the bank knows {', '.join(workspace.learned())}."
    )
    said = f"{decision.model} version {decision.version} is {decision.alias}"
    if decision.alias != CHAMPION:
        with registry_of(workspace) as registry:
            champion = champion_of(registry)
        stands = f"version {champion.version}" if champion else "none"
        said += f": {decision.remarks}; champion: {stands}"
    console.print(said)
    console.print(f"{name} is still in")
    if versions := versions_that_know(workspace, name):
        database = uri if uri.startswith("sqlite:") else "DATABASE"
        console.print(
            f"  {decision.model} versions {', '.join(versions)} and their MLflow runs: delete both on MLflow's page, "
            f"then `mlflow gc --tracking-uri {uri} --backend-store-uri {database}`"
        )
    console.print(
        f"  DVC's cache: `dvc gc -w` in {workspace.root} (with `-c`, in the remote too) removes all that the present "
        f"stream does not use"
    )
    if came_by_inbox(workspace, name):
        console.print(
            f"  the inbox, {workspace.params.watch.inbox}/{name}: delete it there; it is not taken in again before it "
            f"changes"
        )
    console.print(
        "  the folder it was learned from: `evernorm learn` learns it again from there unless --order leaves it out"
    )
    console.print(
        "Git's history and MLflow's run of the stream keep its name, hashes and figures, no images."
    )

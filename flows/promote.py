"""A person's word on the champion, promotion and roll-back, as Prefect flows."""

from pathlib import Path

from prefect import flow

from flows.learn import learn_from
from flows.report import report
from tasks.fleet.writers import catch_up, push_commits
from tasks.outcome import ended
from tasks.tracking.gate import Decision, bring_back, promote, roll_back, standing_champion
from tasks.tracking.ownership import claim
from tasks.tracking.promotions import Change
from tasks.workspace.workspace import Workspace


@flow(name="promote-version", flow_run_name="promote version {version}")
def promote_version(
    root: Path, version: str, reason: str, instead_of: str | None = None
) -> tuple[Change | None, Decision | None]:
    """Make a version champion, whatever the gate said of it; what it knows is set aside no more.

    Args:
        root: The workspace.
        version: Its number.
        reason: Why.
        instead_of: The champion in whose place it is put; refused where another stands. None: whichever it is.

    Returns:
        The change, None where it is champion already; and what became of the bank of all classes that were brought
        back and others, None where there were none.
    """
    workspace = Workspace.open(root)
    with workspace.locked():
        catch_up(workspace)
        claim(workspace)
        change = promote(workspace, version, reason, instead_of)
        back = bring_back(workspace, version)
        push_commits(workspace)
        if len(learned := workspace.learned()) == len(workspace.params.order):
            return change, None
        _, decision = learn_from(workspace, len(learned), f"Bring back {', '.join(back)}" if back else "")
        report(workspace, [decision] if decision else [])
        return ended((change, decision), decision.refusal if decision else "")


@flow(name="roll-back", flow_run_name="roll back")
def roll_back_champion(root: Path, reason: str, from_version: str | None = None) -> Change:
    """Make the champion before the present one champion again.

    Args:
        root: The workspace.
        reason: Why.
        from_version: The champion that is to be left; refused where it is no longer the one. None: whichever it is.
    """
    workspace = Workspace.open(root)
    with workspace.locked():
        catch_up(workspace)
        claim(workspace)
        return roll_back(workspace, reason, from_version or standing_champion(workspace))

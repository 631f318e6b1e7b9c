"""A person's word on the champion, promotion and roll-back, as Prefect flows."""

from pathlib import Path

from prefect import flow

from tasks.tracking.gate import promote, roll_back, standing_champion
from tasks.tracking.promotions import Change
from tasks.workspace.workspace import Workspace


@flow(name="promote-version", flow_run_name="promote version {version}")
def promote_version(root: Path, version: str, reason: str) -> Change | None:
    """Make a version champion, whatever the gate said of it; None where it is champion already."""
    with Workspace.open(root).locked():
        return promote(root, version, reason)


@flow(name="roll-back")
def roll_back_champion(root: Path, reason: str) -> Change:
    """Make the champion before the present one champion again."""
    with Workspace.open(root).locked():
        return roll_back(root, reason, standing_champion(root))

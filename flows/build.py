"""One class, built on any machine in a checkout of its own: all of its stages but the evaluation."""

import json
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed

from flows.commands.environment import prepare
from tasks.fleet.checkout import checked_out, fetch, hand_back
from tasks.stages import BUILT
from tasks.workspace.checks import check_machine
from tasks.workspace.pipeline import reproduce


@flow(name="build-class", flow_run_name="build {name}")
def build_class(repository: str, commit: str, name: str) -> State[Any]:
    """Build a class and hand it back by the DVC remote and its run cache.

    Args:
        repository: Address of the workspace's Git remote.
        commit: Of the workspace, below `tasks.fleet.snapshot.REFS`.
        name: The class.

    Returns:
        The seconds of each stage, as JSON in the message of the state.

    Raises:
        EvernormError: This machine cannot run what is asked, a remote is out of reach, or the class cannot be learned.
    """
    prepare()
    with checked_out(repository, commit) as workspace, workspace.locked():
        check_machine(workspace.params)
        fetch(workspace, name)
        stages = [reproduce(workspace, stage, name) for stage in BUILT]
        hand_back(workspace, name)
    return Completed(message=json.dumps({each.stage: each.seconds for each in stages}))
